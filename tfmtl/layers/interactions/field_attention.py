"""Self-attention over fields."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class FieldAttention(Layer):
    """AutoInt's interacting layers: every field attends to every field.

        a_mk = softmax_k(<W_Q e_m, W_K e_k>)          for each head
        e'_m = relu([sum_k a_mk W_V e_k, all heads] + W_res e_m)

    As in AutoInt, the products are not divided by the root of the width.

    Args:
        depth: Integer. Number of layers. Defaults to 2.
        heads: Integer. Heads of each layer. Defaults to 2.
        units: Integer. Width of each head. Defaults to 16.

    Input shape: (batch, fields, dim). Output shape: (batch, fields, heads * units).

    Example:
    >>> FieldAttention(1, heads=2, units=4)(keras.ops.ones((3, 5, 8))).shape
    TensorShape([3, 5, 8])

    References:
        - [AutoInt](https://doi.org/10.1145/3357384.3357925)
    """

    takes_fields = True

    def __init__(self, depth=2, heads=2, units=16, **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("depth", depth)
        _errors.check_positive("heads", heads)
        _errors.check_positive("units", units)
        self.depth = depth
        self.heads = heads
        self.units = units

    def build(self, input_shape):
        """Creates the projections of each layer."""
        _errors.check_rank(self, input_shape, 3)
        self.projections = {}
        for i in range(self.depth):
            for part in ("query", "key", "value", "residual"):
                projection = self.projections[f"{part}_{i}"] = keras.layers.Dense(
                    self.heads * self.units,
                    use_bias=False,
                    dtype=self.dtype_policy,
                    name=f"{part}_{i}",
                )
                projection.build(input_shape)
            input_shape = self.compute_output_shape(input_shape)

    def call(self, inputs):
        """Maps (batch, fields, dim) to (batch, fields, heads * units)."""
        fields = inputs.shape[1]
        x = inputs

        def split(x):  # (B, F, H*U) -> (B, H, F, U)
            x = ops.reshape(x, (-1, fields, self.heads, self.units))
            return ops.transpose(x, (0, 2, 1, 3))

        for i in range(self.depth):
            query, key, value = (
                split(self.projections[f"{part}_{i}"](x))
                for part in ("query", "key", "value")
            )
            scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
            mixed = ops.matmul(ops.softmax(scores), value)  # (B, H, F, U)
            mixed = ops.reshape(
                ops.transpose(mixed, (0, 2, 1, 3)),
                (-1, fields, self.heads * self.units),
            )
            x = ops.relu(mixed + self.projections[f"residual_{i}"](x))
        return x

    def compute_output_shape(self, input_shape):
        """Returns (batch, fields, heads * units)."""
        return (*input_shape[:-1], self.heads * self.units)
