"""Features of any width as fields of one width."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class FieldStack(Layer):
    """Stacks the vectors of features into (batch, fields, dim).

    A feature of another width than `dim` is multiplied with a matrix of its own. A
    number x becomes x v, with a trainable vector v.

    Args:
        dim: Integer. Width of every field. Defaults to that of the widest feature.

    Input: dict {feature: (batch, width)}, as from `FeatureEmbedding`.

    Output shape: (batch, fields, dim), the fields in the order of the features.

    Example:
    >>> ops = keras.ops
    >>> FieldStack()({"item": ops.ones((4, 8)), "age": ops.ones((4, 1))}).shape
    TensorShape([4, 2, 8])
    """

    def __init__(self, dim=None, **kwargs):
        super().__init__(**kwargs)
        if dim is not None:
            _errors.check_positive("dim", dim)
        self.dim = dim

    def build(self, input_shape):
        """Creates a matrix for each feature of another width."""
        _errors.check_vectors(self, input_shape)
        dim = self._width(input_shape)
        self.projections = {}
        for name, shape in input_shape.items():
            if shape[-1] != dim:
                projection = keras.layers.Dense(
                    dim, use_bias=False, dtype=self.dtype_policy, name=name
                )
                projection.build(shape)
                self.projections[name] = projection

    def call(self, inputs):
        """Maps {feature: (batch, width)} to (batch, fields, dim)."""
        fields = [
            self.projections[name](vector) if name in self.projections else vector
            for name, vector in inputs.items()
        ]
        return ops.stack(fields, axis=1)  # (B, F, D)

    def compute_output_shape(self, input_shape):
        """Returns (batch, fields, dim)."""
        batch = next(iter(input_shape.values()))[0]
        return (batch, len(input_shape), self._width(input_shape))

    def _width(self, input_shape):
        return self.dim or max(shape[-1] for shape in input_shape.values())
