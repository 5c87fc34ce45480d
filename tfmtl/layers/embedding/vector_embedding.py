"""Vectors that are given, as a model takes them in."""

import keras
import tensorflow as tf
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class VectorEmbedding(Layer):
    """Takes in vectors that were made elsewhere, and knows those that are missing.

        v(x) = W x, or x where there is no `units`; m for a missing x

    with W and m trainable, m at first zeros. A vector is missing where any of its
    numbers is NaN, inf or -inf.

    Args:
        units: Integer. Width of v. Defaults to none: that of x.

    Input shape: (batch, dim). Output shape: (batch, units or dim).

    Example:
    >>> import numpy as np
    >>> layer = VectorEmbedding(units=3)
    >>> layer(np.float32([[1, 2], [np.nan, 2]])).shape
    TensorShape([2, 3])
    """

    def __init__(self, units=None, **kwargs):
        # Autocasting would make inf, and so a missing vector, of a large number.
        super().__init__(autocast=False, **kwargs)
        if units is not None:
            _errors.check_positive("units", units)
        self.units = units

    def build(self, input_shape):
        """Creates W (dim, units) and m (units,)."""
        _errors.check_rank(self, input_shape, 2)
        dim = input_shape[-1]
        if self.units is not None:
            self.kernel = self.add_weight(name="kernel", shape=(dim, self.units))
        self.missing = self.add_weight(
            name="missing", shape=(self.units or dim,), initializer="zeros"
        )

    def call(self, inputs):
        """Maps (batch, dim) to (batch, units or dim)."""
        x = ops.cast(inputs, keras.backend.result_type(self.compute_dtype, "float32"))
        known = ops.all(ops.isfinite(x), axis=-1, keepdims=True)  # (B, 1)
        x = tf.saturate_cast(ops.where(known, x, ops.zeros_like(x)), self.compute_dtype)
        if self.units is not None:
            x = ops.matmul(x, ops.cast(self.kernel, self.compute_dtype))
        return ops.where(known, x, ops.cast(self.missing, self.compute_dtype))

    def compute_output_shape(self, input_shape):
        """Returns (batch, units or dim)."""
        return (input_shape[0], self.units or input_shape[-1])
