"""From declared features to vectors."""

import functools

import keras
import tensorflow as tf
from keras import ops

from tfmtl import _errors
from tfmtl.features import (
    Categorical,
    Multivalued,
    Numeric,
    Sequence,
    Vector,
    check_features,
    side_fields,
)
from tfmtl.layers.embedding import initial_rows
from tfmtl.layers.embedding.autodis import AutoDis
from tfmtl.layers.embedding.event_encoder import EventEncoder
from tfmtl.layers.embedding.exchange import of_all_replicas, replicas
from tfmtl.layers.embedding.multivalued_pooling import pool
from tfmtl.layers.embedding.piecewise_linear import PiecewiseLinear
from tfmtl.layers.embedding.raw_inputs import (
    finite_numbers,
    read,
    read_weights,
    scaled_numbers,
)
from tfmtl.layers.embedding.scored_rows import ScoredRows
from tfmtl.layers.embedding.sharded_table import (
    ShardedTable,
    read_rows,
    write_rows,
)
from tfmtl.layers.embedding.table_places import SHARDED, TablePlaces, variable_of
from tfmtl.layers.embedding.table_rows import rows_of_table
from tfmtl.layers.embedding.vector_embedding import VectorEmbedding


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
        self.compact = {}  # {variable: what an export looks rows up in instead}
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
        """Creates one table an embedding width, and the layers of other features."""
        self._places = TablePlaces(self._categorical.values())
        self.scored = {}
        for feature in self._categorical.values():
            if feature.capacity is not None and feature.table_name not in self.scored:
                scored = ScoredRows(
                    feature.capacity,
                    feature.min_score,
                    feature.decay,
                    feature.pass_steps,
                    feature.ttl,
                    name=feature.table_name,
                )
                scored.build(None)
                self.scored[feature.table_name] = scored
        # Counting ids is not for XLA.
        self.supports_jit = not self.scored
        self.tables = {}
        for name in self._places.sizes:  # one by one, as files have them in this order
            self.tables[name] = self._table(name)
        self._build_numbers()
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

    def _table(self, name):
        """Returns a new variable of the tables of one width, or a part of it."""
        sizes, dim = self._places.sizes[name], self._places.dims[name]
        initialize = initial_rows.as_tables(self.initializer, sizes)
        if name.startswith(SHARDED):
            dtype = self.variable_dtype
            parts = initial_rows.in_parts(self.initializer, sizes, dim, dtype)
            if replicas() > 1:
                return ShardedTable(parts, sum(sizes), dim, dtype=dtype, name=name)
            initialize = initial_rows.joined(parts)
        return self.add_weight(
            name=name,
            shape=(sum(sizes), dim),
            initializer=initialize,
            # Autocasting would cast, and so copy, the whole table in every step.
            autocast=False,
        )

    def _build_numbers(self):
        """Creates the layers of numbers that are embedded."""
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
        return self.tables[variable_of(feature)], self._places.rows(feature)

    def table(self, name):
        """Returns a categorical feature's table as an array (rows, embedding_dim).

        Of a sharded table under a strategy, all workers call this.
        """
        return read_rows(*self.place(name))

    def set_table(self, name, values):
        """Gives a categorical feature's table new values, (rows, embedding_dim)."""
        write_rows(*self.place(name), values)

    def call(self, inputs, training=None):
        """Maps {name: ids or numbers} to {name: (batch, dim)}."""
        x = {f.name: read(f, self._owner(f), inputs) for f in self.features}
        if training:
            self._admit(x)
        numbers = [f for f in self.features if isinstance(f, Numeric)]
        numbers = [f for f in numbers if not f.embedding_dim]
        vectors = finite_numbers(numbers, x, self.compute_dtype)
        vectors |= self._embed_numbers(x)
        vectors |= {name: layer(x[name]) for name, layer in self.vectors.items()}
        given = self._exchange(x)
        single = [f for f in self._categorical.values() if not f.shape]
        vectors |= {f.name: given[f.name] for f in single if f.name in given}
        single = [f for f in single if f.name not in given]
        for name in dict.fromkeys(map(variable_of, single)):
            group = [f for f in single if variable_of(f) == name]
            vectors |= self._look_up_all(name, group, x)
        for feature in self.features:
            if isinstance(feature, Multivalued):
                found, weights = self._items(feature, feature, x, given)
                if feature.weights:
                    weights = weights * read_weights(
                        feature, inputs, self.compute_dtype
                    )
                vectors[feature.name] = pool(found, weights, feature.pooling)
        for name, encoder in self.encoders.items():
            vectors[name] = self._encode(encoder, x, vectors, given)
        return {f.name: vectors[f.name] for f in self.features if f.name in vectors}

    def _embed_numbers(self, x):
        """Returns {name: (B, dim)} of the numbers that are embedded."""
        vectors = {}
        for (size, dim), group in self._embedded_numbers().items():
            layer = self.autodis[f"{size}_{dim}"] if size else self.piecewise[str(dim)]
            numbers = scaled_numbers(group, x, self.compute_dtype)
            found = layer(ops.transpose(numbers))  # (B, N, dim)
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
                own = [n for n, f in owners.items() if f and variable_of(f) == name]
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
            rows.insert(0, self._places.plain_rows(plain, x))
        # Fields first: apart again without a copy, which (B, F, D) is not.
        found = iter(ops.unstack(self._look_up(name, ops.concatenate(rows))))
        return {f.name: _sum(found, f.num_hashes) for f in plain + others}

    def _rows(self, feature, ids):
        """Returns the rows of the width's table for each of the hash functions."""
        if feature.capacity is not None:
            rows = [self.scored[feature.table_name](ids)]
        else:
            rows = [rows_of_table(ids, feature, i) for i in range(feature.num_hashes)]
        return [self._places.start(feature) + r for r in rows]

    def _look_up(self, name, rows):
        if name in self.compact:
            found = self.compact[name].look_up(rows)
        else:
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
        found = iter([self._look_up(variable_of(item), r) for r in rows])
        return _sum(found, item.num_hashes), mask

    def _known(self, item, ids, rows):
        """Returns 1 where an id is one, 0 where it is missing or unknown."""
        if item.vocabulary_size is None:  # other ids than 0 may share its row
            known = ops.not_equal(ids, 0)
        else:
            known = ops.not_equal(rows[0], self._places.start(item))
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


def _width(feature):
    return getattr(feature, "embedding_dim", None) or getattr(feature, "dim", 1)


def _sum(vectors, count):
    """Returns the sum of the next `count` vectors of an iterator."""
    total = next(vectors)
    for _ in range(count - 1):
        total = total + next(vectors)
    return total
