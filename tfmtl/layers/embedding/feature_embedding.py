"""From declared features to vectors."""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfmtl import _errors
from tfmtl.features import (
    Categorical,
    Multivalued,
    Numeric,
    NumericSequence,
    Sequence,
    Vector,
    check_features,
    column_of,
    side_fields,
)
from tfmtl.ids import as_integers
from tfmtl.layers.embedding import initial_rows
from tfmtl.layers.embedding.autodis import AutoDis
from tfmtl.layers.embedding.event_encoder import EventEncoder
from tfmtl.layers.embedding.exchange import of_all_replicas, replicas
from tfmtl.layers.embedding.multivalued_pooling import pool
from tfmtl.layers.embedding.piecewise_linear import PiecewiseLinear
from tfmtl.layers.embedding.scored_rows import ScoredRows
from tfmtl.layers.embedding.sharded_table import ShardedTable
from tfmtl.layers.embedding.table_rows import rows_of_table
from tfmtl.layers.embedding.vector_embedding import VectorEmbedding

MAX_ROWS = 2**31 - 1
_SHARDED = "sharded_"


@keras.saving.register_keras_serializable("tfmtl")
class FeatureEmbedding(keras.layers.Layer):
    """Embeds every feature; a feature's vector can be found by its name.

    A categorical id is looked up in its table; several are pooled, see `Multivalued`. A
    sequence is looked up in the table of the feature it shares; what its side fields
    say of an event stands behind its id's vector, and its encoder makes one vector of
    the events. A number stays one number, or 0 if it is not finite, unless it is
    embedded: see `PiecewiseLinear` and `AutoDis`. A vector stays what it is, or is
    projected: see `VectorEmbedding`. Ids outside a table of known vocabulary are looked
    up as 0, missing or unknown.

    The tables of one embedding width are one variable, such as `tables["table_16"]`:
    one lookup, one gradient and one update serve all of them, and each feature has rows
    of its own in it (`place`, `table`, `set_table`). The sharded ones are another, such
    as "sharded_table_16": a `ShardedTable` under a strategy with several replicas.

    In training, rows of a feature with a `capacity` go from id to id. Each is then set
    anew, and `on_replaced(table, rows)` is called if it is given: a function of the
    variable and of rows (n,) in it, for what else belongs to a row, such as an
    optimizer's momentum.

    Args:
        features: List of features, see `tfmtl.features`.
        initializer: String or initializer of the tables. Defaults to "uniform"
            (between -0.05 and 0.05).

    Input: dict {name: tensor}; (batch,) or (batch, 1) for categorical and numeric
    features, (batch, max_length) for sequences, several ids and their weights, (batch,
    dim) for vectors. Ids and numbers may have any type, see `tfmtl.features`. Keys of
    other names are ignored.

    Output: dict {name: (batch, embedding_dim)}, in the order of the features;
    (batch, 1) for a numeric feature that is not embedded, (batch, dim) for a vector
    without projection. A side field has none of its own.

    Example:
    >>> from tfmtl import Categorical, Numeric
    >>> layer = FeatureEmbedding([Categorical("id", vocabulary_size=9), Numeric("x")])
    >>> out = layer({"id": keras.ops.array([1, 2]), "x": keras.ops.array([0.5, 1.0])})
    >>> {name: tuple(vector.shape) for name, vector in out.items()}
    {'id': (2, 16), 'x': (2, 1)}
    """

    def __init__(self, features, initializer="uniform", **kwargs):
        # Autocasting would make a float16 of an id or a number before it is read.
        super().__init__(autocast=False, **kwargs)
        check_features(features)
        self.features = list(features)
        self.initializer = keras.initializers.get(initializer)
        self.on_replaced = None
        self._categorical = {f.name: f for f in features if isinstance(f, Categorical)}
        self.encoders = {  # {sequence: what encodes it and its side fields}
            name: self._encoder(name, fields)
            for name, fields in side_fields(features).items()
        }

    def _encoder(self, name, fields):
        sequence = next(f for f in self.features if f.name == name)
        widths = {
            f.name: self._categorical[f.of].embedding_dim
            for f in (sequence, *fields)
            if isinstance(f, Sequence)
        }
        return EventEncoder(
            sequence, fields, widths, dtype=self.dtype_policy, name=name
        )

    def build(self, input_shape=None):
        """Creates one table an embedding width, with the rows of all its features."""
        sizes = {}  # {variable: [table sizes]}
        dims = {}
        self._starts = {}  # {table: its first row}
        self.scored = {}
        for feature in self._categorical.values():
            if feature.table_name in self._starts:
                continue
            dims[_variable(feature)] = feature.embedding_dim
            before = sizes.setdefault(_variable(feature), [])
            self._starts[feature.table_name] = sum(before)
            before.append(feature.table_size)
            if feature.capacity is not None:
                scored = ScoredRows(
                    feature.capacity,
                    feature.min_score,
                    feature.decay,
                    feature.pass_steps,
                    name=feature.table_name,
                )
                scored.build(None)
                self.scored[feature.table_name] = scored
        # Counting ids is not for XLA.
        self.supports_jit = not self.scored
        self.tables = {}
        for name, rows in sizes.items():
            dim = dims[name]
            if sum(rows) > MAX_ROWS:
                raise ValueError(
                    f"Tables of one embedding_dim hold at most {MAX_ROWS} rows, so "
                    f"that int32 can count them. Received: {sum(rows)} rows with "
                    f"embedding_dim={dim}."
                )
            initialize = initial_rows.as_tables(self.initializer, rows)
            if name.startswith(_SHARDED):
                dtype = self.variable_dtype
                parts = initial_rows.in_parts(self.initializer, rows, dim, dtype)
                if replicas() > 1:
                    table = ShardedTable(parts, sum(rows), dim, dtype=dtype, name=name)
                    self.tables[name] = table
                    continue
                initialize = initial_rows.joined(parts)
            self.tables[name] = self.add_weight(
                name=name,
                shape=(sum(rows), dim),
                initializer=initialize,
                # Autocasting would cast, and so copy, the whole table in every step.
                autocast=False,
            )
        self.piecewise = {}  # {embedding_dim: the layer of all numbers of that width}
        self.autodis = {}  # the same, of numbers with as many meta-embeddings
        for (size, dim), group in self._embedded_numbers().items():
            given = {"dim": dim, "dtype": self.dtype_policy}
            if size is None:
                boundaries = [f.boundaries for f in group]
                name = f"piecewise_linear_{dim}"
                layer = PiecewiseLinear(boundaries, name=name, **given)
                self.piecewise[str(dim)] = layer
            else:
                name = f"autodis_{size}_{dim}"
                layer = AutoDis(meta_embeddings=size, name=name, **given)
                self.autodis[f"{size}_{dim}"] = layer
            layer.build((None, len(group)))
        self.vectors = {}
        for feature in self.features:
            if isinstance(feature, Vector):
                layer = VectorEmbedding(
                    feature.embedding_dim, dtype=self.dtype_policy, name=feature.name
                )
                layer.build((None, feature.dim))
                self.vectors[feature.name] = layer
        for encoder in self.encoders.values():
            encoder.build()

    def _embedded_numbers(self):
        """Returns {(meta-embeddings, embedding_dim): the numeric features of these}."""
        groups = {}
        for feature in self.features:
            if isinstance(feature, Numeric) and feature.embedding_dim:
                key = feature.autodis, feature.embedding_dim
                groups.setdefault(key, []).append(feature)
        return groups

    @property
    def owners(self):
        """{table: a categorical feature}; a table of one feature has its name."""
        return {f.table_name: f.name for f in self._categorical.values()}

    def place(self, name):
        """Returns the variable that holds a feature's table, and the slice of its rows.

        Args:
            name: String. A categorical feature.
        """
        _errors.check_choice("A feature with a table", name, self._categorical)
        feature = self._categorical[name]
        start = self._starts[feature.table_name]
        rows = slice(start, start + feature.table_size)
        return self.tables[_variable(feature)], rows

    def table(self, name):
        """Returns a categorical feature's table as an array (rows, embedding_dim).

        Of a sharded table under a strategy, all workers call this.
        """
        variable, rows = self.place(name)
        if isinstance(variable, ShardedTable):
            return variable.read(rows.start, rows.stop)
        return variable.value[rows].numpy()

    def set_table(self, name, values):
        """Gives a categorical feature's table new values, (rows, embedding_dim)."""
        variable, rows = self.place(name)
        if isinstance(variable, ShardedTable):
            variable.write(rows.start, values)
        else:
            variable.value[rows].assign(ops.convert_to_tensor(values, variable.dtype))

    def call(self, inputs, training=None):
        """Maps {name: ids or numbers} to {name: (batch, dim)}."""
        x = {f.name: self._read(f, inputs) for f in self.features}
        if training:
            self._admit(x)
        vectors = self._numbers(x) | self._embed_numbers(x)
        vectors |= {name: layer(x[name]) for name, layer in self.vectors.items()}
        given = self._exchange(x)
        single = [f for f in self._categorical.values() if not f.shape]
        vectors |= {f.name: given[f.name] for f in single if f.name in given}
        single = [f for f in single if f.name not in given]
        for name in dict.fromkeys(map(_variable, single)):
            group = [f for f in single if _variable(f) == name]
            vectors |= self._look_up_all(name, group, x)
        for feature in self.features:
            if isinstance(feature, Multivalued):
                found, weights = self._items(feature, feature, x, given)
                if feature.weights:
                    weights = weights * self._weights(feature, inputs)
                vectors[feature.name] = pool(found, weights, feature.pooling)
        for name, encoder in self.encoders.items():
            vectors[name] = self._encode(encoder, x, vectors, given)
        return {f.name: vectors[f.name] for f in self.features if f.name in vectors}

    def _read(self, feature, inputs):
        """Returns (B,) ids or numbers, a (B, L) sequence or a (B, dim) vector."""
        x = tf.convert_to_tensor(column_of(feature.name, inputs))
        if feature.shape:
            if x.shape[1:] != feature.shape:
                raise ValueError(
                    f"{type(feature).__name__} {feature.name!r} must have shape "
                    f"(batch, {feature.shape[0]}). Received: {tuple(x.shape)}."
                )
        elif x.shape.rank is not None and x.shape[1:] not in ((), (1,), (None,)):
            raise ValueError(
                f"{type(feature).__name__} {feature.name!r} must have shape (batch,) "
                f"or (batch, 1). Received: {tuple(x.shape)}."
            )
        if isinstance(feature, Vector | NumericSequence):
            return x
        if isinstance(feature, Numeric):
            return x if x.shape.rank == 1 else tf.reshape(x, (-1,))
        owner = self._categorical[getattr(feature, "of", feature.name)]
        if owner.vocabulary is None:
            x = as_integers(x, feature.name)
        if feature.shape or x.shape.rank == 1:
            return x
        return tf.reshape(x, (-1,))

    def _weights(self, feature, inputs):
        """Returns (B, L) weights; 0 of those that are not above 0, or not finite."""
        weights = tf.convert_to_tensor(column_of(feature.weights, inputs))
        if weights.shape[1:] != feature.shape:
            raise ValueError(
                f"Weights {feature.weights!r} of {feature.name!r} must have shape "
                f"(batch, {feature.max_length}). Received: {tuple(weights.shape)}."
            )
        wide = keras.backend.result_type(self.compute_dtype, "float32")
        weights = ops.cast(weights, wide)
        counts = ops.logical_and(ops.isfinite(weights), weights > 0)
        weights = ops.where(counts, weights, ops.zeros_like(weights))
        return tf.saturate_cast(weights, self.compute_dtype)

    def _numbers(self, x):
        """Returns {name: (B, 1)} numbers, all finite."""
        numeric = (f for f in self.features if isinstance(f, Numeric))
        scales = {f.name: f.normalization for f in numeric if not f.embedding_dim}
        if not scales:
            return {}
        wide = keras.backend.result_type(self.compute_dtype, "float32")
        # All at once: a few ops, however many the features.
        numbers = ops.stack([ops.cast(x[name], wide) for name in scales])  # (F, B)
        numbers = ops.expand_dims(numbers, -1)
        if any(scales.values()):
            pairs = [scale or (0.0, 1.0) for scale in scales.values()]
            means, stds = np.array(pairs, wide).T[..., None, None]  # (F, 1, 1) each
            numbers = (numbers - means) / stds
        known = ops.isfinite(numbers)
        numbers = ops.where(known, numbers, ops.zeros_like(numbers))
        numbers = tf.saturate_cast(numbers, self.compute_dtype)
        return dict(zip(scales, ops.unstack(numbers), strict=True))

    def _embed_numbers(self, x):
        """Returns {name: (B, dim)} of the numbers that are embedded."""
        vectors = {}
        wide = keras.backend.result_type(self.compute_dtype, "float32")
        for (size, dim), group in self._embedded_numbers().items():
            layer = self.autodis[f"{size}_{dim}"] if size else self.piecewise[str(dim)]
            numbers = [ops.cast(x[f.name], wide) for f in group]
            numbers = ops.stack(numbers, axis=1)  # (B, N)
            if any(f.normalization for f in group):
                pairs = [f.normalization or (0.0, 1.0) for f in group]
                means, stds = np.array(pairs, wide).T
                numbers = (numbers - means) / stds
            found = layer(numbers)  # (B, N, dim)
            found = ops.unstack(found, axis=1)
            vectors |= {f.name: v for f, v in zip(group, found, strict=True)}
        return vectors

    def _admit(self, x):
        """Counts the batch's ids; a new owner finds its row as row 0 was."""
        for table, scored in self.scored.items():
            own = [f for f in self.features if self._table_of(f) == table]
            ids = [ops.cast(x[f.name], "int64") for f in own]
            # All replicas count the same, and so give ids the same rows.
            ids = [ops.reshape(of_all_replicas(i), (-1,)) for i in ids]
            variable, place = self.place(self._owner(own[0]).name)
            rows = place.start + scored.update(ops.concatenate(ids))
            first = tf.constant([place.start])
            if isinstance(variable, ShardedTable):
                shared = variable.look_up({table: first})[table]
                rows = variable.own(rows)
            else:
                shared = tf.gather(variable.value, first)
            shared = tf.repeat(shared, tf.size(rows), 0)
            variable.value.scatter_update(tf.IndexedSlices(shared, rows))
            if self.on_replaced:
                self.on_replaced(variable, rows)

    def _table_of(self, feature):
        owner = self._owner(feature)
        return owner and owner.table_name

    def _owner(self, feature):
        """Returns the feature whose table a feature's ids are looked up in, or None."""
        return self._categorical.get(getattr(feature, "of", feature.name))

    def _exchange(self, x):
        """Returns {feature: vectors} of those that the replicas look up together."""
        found = {}
        for name, table in self.tables.items():
            if isinstance(table, ShardedTable):
                owners = {f.name: self._owner(f) for f in self.features}
                own = [n for n, f in owners.items() if f and _variable(f) == name]
                rows = {n: ops.stack(self._rows(owners[n], x[n])) for n in own}
                for n, vectors in table.look_up(rows).items():
                    vectors = ops.cast(vectors, self.compute_dtype)
                    found[n] = _sum(iter(tf.unstack(vectors)), owners[n].num_hashes)
        return found

    def _look_up_all(self, name, group, x):
        """Returns the vectors of the features of one width by a single lookup."""
        plain = [f for f in group if f.has_plain_ids]
        others = [f for f in group if not f.has_plain_ids]
        rows = [row for f in others for row in self._rows(f, x[f.name])]
        rows = [ops.stack(rows)] if rows else []
        if plain:
            rows.insert(0, self._plain_rows(plain, x))
        # Fields first: apart again without a copy, which (B, F, D) is not.
        found = iter(ops.unstack(self._look_up(name, ops.concatenate(rows))))
        return {f.name: _sum(found, f.num_hashes) for f in plain + others}

    def _plain_rows(self, group, x):
        """Returns the rows (F, B) of features with a vocabulary, with a few ops."""
        ids = [x[f.name] for f in group]
        if any(i.dtype != "int32" for i in ids):
            ids = [ops.cast(i, "int64") for i in ids]
        ids = ops.stack(ids)  # (F, B)
        sizes = ops.array([[f.vocabulary_size] for f in group], ids.dtype)
        starts = ops.array([[self._starts[f.table_name]] for f in group], "int32")
        known = ops.logical_and(ids >= 0, ids < sizes)
        return starts + ops.cast(ops.where(known, ids, ops.zeros_like(ids)), "int32")

    def _rows(self, feature, ids):
        """Returns the rows of the width's table for each of the hash functions."""
        if feature.capacity is not None:
            rows = [self.scored[feature.table_name](ids)]
        else:
            rows = [rows_of_table(ids, feature, i) for i in range(feature.num_hashes)]
        return [self._starts[feature.table_name] + r for r in rows]

    def _look_up(self, name, rows):
        # Not `ops.take`, which reads, and after a sparse update copies, the table.
        found = tf.gather(self.tables[name].value, rows)
        return ops.cast(found, self.compute_dtype)

    def _items(self, item, feature, x, given):
        """Returns the vectors (B, L, D) of ids (B, L), and 1 where there is one."""
        ids = x[feature.name]
        rows = self._rows(item, ids)  # hashes x (B, L)
        mask = self._known(item, ids, rows)
        if feature.name in given:
            return given[feature.name], mask
        found = iter([self._look_up(_variable(item), r) for r in rows])
        return _sum(found, item.num_hashes), mask

    def _known(self, item, ids, rows):
        """Returns 1 where an id is one, 0 where it is missing or unknown."""
        if item.vocabulary_size is None:  # other ids than 0 may share its row
            known = ops.not_equal(ids, 0)
        else:
            known = ops.not_equal(rows[0], self._starts[item.table_name])
        return ops.cast(known, self.compute_dtype)

    def _encode(self, encoder, x, vectors, given):
        """Returns the vector (B, width) of a sequence and its side fields."""
        values, targets, masks = {}, {}, []
        for field in encoder.fields:
            values[field.name] = x[field.name]
            if isinstance(field, Sequence):
                item = self._categorical[field.of]
                values[field.name], mask = self._items(item, field, x, given)
                masks.append(mask)
                if field.target:
                    targets[field.name] = vectors[field.target]
        present = functools.reduce(ops.maximum, masks)  # any id is known
        same = self._same(encoder, x)
        return encoder(values, targets, present, same)

    def _same(self, encoder, x):
        """Returns which events (B, L) are of the target's category; None: not asked."""
        wanted = encoder.fields[0].category
        field = next((f for f in encoder.fields if f.name == wanted), None)
        if field is None:
            return None
        item = self._categorical[field.of]
        ids = x[field.name]
        rows = self._rows(item, ids)
        known = self._known(item, ids, rows)
        targets = self._rows(self._categorical[field.target], x[field.target])
        pairs = zip(rows, targets, strict=True)  # for each hash function
        equal = [ops.equal(events, ops.expand_dims(one, 1)) for events, one in pairs]
        return ops.cast(functools.reduce(ops.logical_and, equal), known.dtype) * known

    def compute_output_shape(self, input_shape):
        """Returns {name: (batch, dim)}."""
        batch = next(iter(input_shape.values()))[0]
        widths = {f.name: _width(f) for f in self.features}
        for name, encoder in self.encoders.items():
            widths[name] = encoder.compute_output_shape()[-1]
        sides = {f.name for f in self.features if getattr(f, "side_of", None)}
        return {name: (batch, w) for name, w in widths.items() if name not in sides}

    def get_config(self):
        """Returns every argument."""
        return {
            **super().get_config(),
            "features": [
                keras.saving.serialize_keras_object(feature)
                for feature in self.features
            ],
            "initializer": keras.initializers.serialize(self.initializer),
        }

    @classmethod
    def from_config(cls, config):
        """Builds the layer from `get_config`'s dict."""
        features = keras.saving.deserialize_keras_object(config["features"])
        return cls(**{**config, "features": features})


def _variable(feature):
    """Returns the name of the variable that holds a feature's table."""
    sharded = _SHARDED if feature.sharded else ""
    return f"{sharded}table_{feature.embedding_dim}"


def _width(feature):
    return getattr(feature, "embedding_dim", None) or getattr(feature, "dim", 1)


def _sum(vectors, count):
    """Returns the sum of the next `count` vectors of an iterator."""
    total = next(vectors)
    for _ in range(count - 1):
        total = total + next(vectors)
    return total
