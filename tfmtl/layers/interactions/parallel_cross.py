"""PHN's cross layer: the cross terms of DCN and DCN-V2 side by side."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class ParallelCross(Layer):
    """Crosses the input with itself, degree by degree, in two ways at once.

        x_{i+1} = x_0 * (Omega_i x_i) + x_0 (w_i . x_i) + b_i + a_i * x_i

    The first term is DCN-V2's, bit by bit; the second is DCN's, one scalar a row.

    Deviations from the paper: it writes each of the two parts with its own "+ x_i"
    (PHN, eq. 1 and 2) and draws a residual link "with trainable parameters" around the
    layer, whose form it does not give. The single term a_i * x_i, with a_i one number a
    unit that starts at 1, is our reconstruction of both.

    Args:
        depth: Integer. Number of layers; the output holds products of up to depth + 1
            units. Defaults to 3, as in the paper.

    Input shape: (batch, width). Output shape: the same.

    Example:
    >>> ParallelCross(2)(keras.ops.ones((4, 6))).shape
    TensorShape([4, 6])

    References:
        - [PHN](https://arxiv.org/abs/2206.09184), eq. 1 and 2.
        - [DEPHN](https://arxiv.org/abs/2307.12519)
    """

    multiplies = True

    def __init__(self, depth=3, **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("depth", depth)
        self.depth = depth

    def build(self, input_shape):
        """Creates Omega (width, width), w, b and a (width,) of each layer."""
        _errors.check_rank(self, input_shape, 2)
        width = input_shape[-1]

        def weights(name, shape, initializer):
            return [
                self.add_weight(
                    name=f"{name}_{i}", shape=shape, initializer=initializer
                )
                for i in range(self.depth)
            ]

        # By name, so that each weight has an initializer, and numbers, of its own.
        self.kernels = weights("kernel", (width, width), "glorot_uniform")
        self.vectors = weights("vector", (width, 1), "glorot_uniform")
        self.biases = weights("bias", (width,), "zeros")
        self.residuals = weights("residual", (width,), "ones")

    def call(self, inputs):
        """Maps (batch, width) to (batch, width)."""
        x = inputs
        for kernel, vector, bias, residual in zip(
            self.kernels, self.vectors, self.biases, self.residuals, strict=True
        ):
            # x_0 (w . x) and x_0 * (Omega x) share their left factor.
            crossed = ops.matmul(x, kernel) + ops.matmul(x, vector)  # (B, W) + (B, 1)
            x = inputs * crossed + bias + residual * x
        return x

    def compute_output_shape(self, input_shape):
        """Returns the input's shape."""
        return tuple(input_shape)
