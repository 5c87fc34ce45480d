"""From declared features to vectors."""

import keras
import tensorflow as tf
from keras import ops

from tfmtl import _errors
from tfmtl.features import Categorical, Numeric, Sequence, check_features

MAX_ROWS = 2**31 - 1


@keras.saving.register_keras_serializable("tfmtl")
class FeatureEmbedding(keras.layers.Layer):
    """Embeds every feature; a feature's vector can be found by its name.

    A categorical id is looked up in its table, a sequence is pooled over the ids
    other than 0 in the table of the feature it shares, a number stays one number.
    Ids outside a table of known vocabulary are looked up as 0, missing or unknown.

    The tables of one embedding width are one variable, `tables[width]`: one lookup, one
    gradient and one update serve all of them, and each feature has rows of its own in
    it (`place`, `table`, `set_table`).

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        initializer: String or initializer of the tables. Defaults to "uniform"
            (between -0.05 and 0.05).

    Input: dict {name: tensor}; (batch,) or (batch, 1) for categorical and numeric
    features, (batch, max_length) for sequences. Keys of other names are ignored.

    Output: dict {name: (batch, embedding_dim)}, in the order of the features;
    (batch, 1) for a numeric feature.

    Example:
    >>> from tfmtl import Categorical, Numeric
    >>> layer = FeatureEmbedding([Categorical("id", vocabulary_size=9), Numeric("x")])
    >>> out = layer({"id": keras.ops.array([1, 2]), "x": keras.ops.array([0.5, 1.0])})
    >>> {name: tuple(vector.shape) for name, vector in out.items()}
    {'id': (2, 16), 'x': (2, 1)}
    """

    def __init__(self, features, initializer="uniform", **kwargs):
        super().__init__(**kwargs)
        check_features(features)
        self.features = list(features)
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape=None):
        """Creates one table an embedding width, with the rows of all its features."""
        sizes = {}  # {embedding_dim: [table sizes]}
        self._starts = {}
        for feature in self.features:
            if isinstance(feature, Categorical):
                before = sizes.setdefault(feature.embedding_dim, [])
                self._starts[feature.name] = sum(before)
                before.append(feature.table_size)
        self.tables = {}
        for dim, rows in sizes.items():
            if sum(rows) > MAX_ROWS:
                raise ValueError(
                    f"Tables of one embedding_dim hold at most {MAX_ROWS} rows, so "
                    f"that int32 can count them. Received: {sum(rows)} rows with "
                    f"embedding_dim={dim}."
                )
            self.tables[dim] = self.add_weight(
                name=f"table_{dim}",
                shape=(sum(rows), dim),
                initializer=self._initialize(rows),
                # Autocasting would cast, and so copy, the whole table in every step.
                autocast=False,
            )

    def _initialize(self, rows):
        """Returns an initializer that treats each feature's rows as a table."""

        def initialize(shape, dtype=None):
            # An initializer object used twice gives the same numbers twice.
            parts = [self.initializer.clone()((n, shape[1]), dtype) for n in rows]
            return ops.concatenate(parts)

        return initialize

    def place(self, name):
        """Returns the variable that holds a feature's table, and the slice of its rows.

        Args:
            name: String. A categorical feature.
        """
        known = {f.name: f for f in self.features if isinstance(f, Categorical)}
        _errors.check_choice("A feature with a table", name, known)
        start, feature = self._starts[name], known[name]
        rows = slice(start, start + feature.table_size)
        return self.tables[feature.embedding_dim], rows

    def table(self, name):
        """Returns a categorical feature's table as an array (rows, embedding_dim)."""
        variable, rows = self.place(name)
        return variable.value[rows].numpy()

    def set_table(self, name, values):
        """Gives a categorical feature's table new values, (rows, embedding_dim)."""
        variable, rows = self.place(name)
        variable.value[rows].assign(ops.convert_to_tensor(values, variable.dtype))

    def call(self, inputs):
        """Maps {name: ids or numbers} to {name: (batch, dim)}."""
        by_name = {feature.name: feature for feature in self.features}
        vectors = {}
        ids = {dim: {} for dim in self.tables}  # {dim: {name: (B,)}}
        for feature in self.features:
            if feature.name not in inputs:
                raise ValueError(
                    f"Feature {feature.name!r} is missing from the inputs."
                    f"{_errors.nearest(feature.name, inputs)}"
                )
            x = inputs[feature.name]
            if isinstance(feature, Numeric):
                vectors[feature.name] = ops.cast(
                    ops.reshape(x, (-1, 1)), self.compute_dtype
                )
            elif isinstance(feature, Categorical):
                rows = rows_of_table(ops.reshape(x, (-1,)), feature)
                ids[feature.embedding_dim][feature.name] = (
                    rows + self._starts[feature.name]
                )
            else:
                vectors[feature.name] = self._pool(x, feature, by_name[feature.of])
        for dim, rows in ids.items():
            # Fields first: apart again without a copy, which (B, F, D) is not.
            found = self._look_up(dim, ops.stack([*rows.values()]))  # (F, B, D)
            vectors |= zip(rows, ops.unstack(found), strict=True)
        return {feature.name: vectors[feature.name] for feature in self.features}

    def _look_up(self, dim, rows):
        # Not `ops.take`, which reads, and after a sparse update copies, the table.
        found = tf.gather(self.tables[dim].value, rows)
        return ops.cast(found, self.compute_dtype)

    def _pool(self, x, sequence: Sequence, item: Categorical):
        if x.shape[-1] != sequence.max_length:
            raise ValueError(
                f"Sequence {sequence.name!r} must have shape (batch, "
                f"{sequence.max_length}). Received: {tuple(x.shape)}."
            )
        ids = rows_of_table(x, item)  # (B, L)
        mask = ops.cast(ops.not_equal(ids, 0), self.compute_dtype)
        found = self._look_up(item.embedding_dim, ids + self._starts[item.name])
        # A product with the mask row is the masked sum, without a (B, L, D) temporary.
        total = ops.squeeze(ops.matmul(ops.expand_dims(mask, 1), found), 1)  # (B, D)
        if sequence.pooling == "sum":
            return total
        return total / ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1)

    def compute_output_shape(self, input_shape):
        """Returns {name: (batch, dim)}."""
        dims = {
            f.name: f.embedding_dim for f in self.features if isinstance(f, Categorical)
        }
        batch = next(iter(input_shape.values()))[0]
        return {
            f.name: (batch, dims.get(getattr(f, "of", f.name), 1))
            for f in self.features
        }

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


def rows_of_table(ids, feature: Categorical):
    """Returns the row of the feature's table for each id."""
    if feature.num_buckets is not None:
        ids = ops.mod(ids, feature.num_buckets)
    else:
        known = ops.logical_and(ids >= 0, ids < feature.vocabulary_size)
        ids = ops.where(known, ids, ops.zeros_like(ids))
    # Keras reads ids modulo 2**31 otherwise; tables stay below that size.
    return ops.cast(ids, "int32")
