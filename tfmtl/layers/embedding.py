"""From declared features to vectors."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.features import Categorical, Numeric, Sequence, check_features


@keras.saving.register_keras_serializable("tfmtl")
class FeatureEmbedding(keras.layers.Layer):
    """Embeds every feature; a feature's vector can be found by its name.

    A categorical id is looked up in its table, a sequence is pooled over the ids
    other than 0 in the table of the feature it shares, a number stays one number.
    Ids outside a table of known vocabulary are looked up as 0, missing or unknown.

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
        """Creates one table a categorical feature."""
        self.tables = {}
        for feature in self.features:
            if isinstance(feature, Categorical):
                table = keras.layers.Embedding(
                    feature.table_size,
                    feature.embedding_dim,
                    # An initializer object used twice gives the same numbers twice.
                    embeddings_initializer=self.initializer.clone(),
                    dtype=self.dtype_policy,
                    name=feature.name,
                )
                table.build(None)
                self.tables[feature.name] = table

    def call(self, inputs):
        """Maps {name: ids or numbers} to {name: (batch, dim)}."""
        by_name = {feature.name: feature for feature in self.features}
        vectors = {}
        for feature in self.features:
            if feature.name not in inputs:
                raise ValueError(
                    f"Feature {feature.name!r} is missing from the inputs."
                    f"{_errors.nearest(feature.name, inputs)}"
                )
            x = inputs[feature.name]
            if isinstance(feature, Numeric):
                vector = ops.cast(ops.reshape(x, (-1, 1)), self.compute_dtype)
            elif isinstance(feature, Categorical):
                ids = rows_of_table(ops.reshape(x, (-1,)), feature)
                vector = self.tables[feature.name](ids)  # (B, D)
            else:
                vector = self._pool(x, feature, by_name[feature.of])
            vectors[feature.name] = vector
        return vectors

    def _pool(self, x, sequence: Sequence, item: Categorical):
        if x.shape[-1] != sequence.max_length:
            raise ValueError(
                f"Sequence {sequence.name!r} must have shape (batch, "
                f"{sequence.max_length}). Received: {tuple(x.shape)}."
            )
        ids = rows_of_table(x, item)  # (B, L)
        mask = ops.cast(ops.not_equal(ids, 0), self.compute_dtype)
        # A product with the mask row is the masked sum, without a (B, L, D) temporary.
        total = ops.squeeze(
            ops.matmul(ops.expand_dims(mask, 1), self.tables[item.name](ids)), 1
        )  # (B, D)
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
