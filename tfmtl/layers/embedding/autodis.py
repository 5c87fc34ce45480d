"""Numbers as vectors, by a soft choice among vectors that are learnt."""

import keras
import tensorflow as tf
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class AutoDis(Layer):
    """Embeds each number as a mixture of meta-embeddings of its own.

        h = LeakyReLU(w x)
        p = softmax((W h + alpha h) / tau)
        v(x) = sum_h p_h m_h

    with m_1, ..., m_H the meta-embeddings of the number, w, W and m trainable. Where a
    `PiecewiseLinear` cuts at quantiles that must be known, this finds out itself what
    belongs together, and needs numbers that are scaled.

    Deviations from the paper: the temperature tau is a constant, where the paper's
    adapts to the field. A missing number (NaN or infinite) has a trainable vector of
    its own.

    Args:
        dim: Integer. Width of the vectors. Defaults to 16.
        meta_embeddings: Integer. H, how many a number has. Defaults to 16.
        temperature: Float. tau; the lower, the nearer to a choice of one. Defaults to
            0.1.
        skip: Float. alpha, weight of the skip connection. Defaults to 0.8.

    Input shape: (batch, numbers). Output shape: (batch, numbers, dim).

    Example:
    >>> AutoDis(dim=4)(keras.ops.array([[0.5, -1.0], [0.1, float("nan")]])).shape
    TensorShape([2, 2, 4])

    References:
        - [AutoDis](https://arxiv.org/abs/2012.08986), section 3.2.
    """

    def __init__(self, dim=16, meta_embeddings=16, temperature=0.1, skip=0.8, **kwargs):
        # Autocasting would make inf, and so a missing number, of a large one.
        super().__init__(autocast=False, **kwargs)
        _errors.check_positive("dim", dim)
        _errors.check_positive("meta_embeddings", meta_embeddings)
        if not _errors.is_number(temperature) or temperature <= 0:
            raise ValueError(
                f"temperature must be a number above 0. Received: {temperature!r}."
            )
        _errors.check_number("skip", skip)
        self.dim = dim
        self.meta_embeddings = meta_embeddings
        self.temperature = temperature
        self.skip = skip

    def build(self, input_shape):
        """Creates w (N, 1, H), W (N, H, H), m (N, H, dim) and missing (N, 1, dim)."""
        _errors.check_rank(self, input_shape, 2)
        numbers, size = input_shape[1], self.meta_embeddings
        self.weigh = self.add_weight(
            name="weigh", shape=(numbers, 1, size), initializer=_one_by_one
        )
        self.kernel = self.add_weight(
            name="kernel", shape=(numbers, size, size), initializer=_one_by_one
        )
        self.meta = self.add_weight(
            name="meta", shape=(numbers, size, self.dim), initializer="uniform"
        )
        self.missing = self.add_weight(
            name="missing", shape=(numbers, 1, self.dim), initializer="zeros"
        )

    def call(self, inputs):
        """Maps (batch, numbers) to (batch, numbers, dim)."""
        x = ops.cast(inputs, keras.backend.result_type(self.compute_dtype, "float32"))
        x = ops.expand_dims(ops.transpose(x), 2)  # (N, B, 1)
        known = ops.isfinite(x)
        x = tf.saturate_cast(ops.where(known, x, ops.zeros_like(x)), self.compute_dtype)
        weigh, kernel, meta, missing = (
            ops.cast(w, self.compute_dtype)
            for w in (self.weigh, self.kernel, self.meta, self.missing)
        )
        hidden = ops.leaky_relu(x * weigh, negative_slope=0.01)  # (N, B, H)
        scores = ops.matmul(hidden, kernel) + self.skip * hidden
        vectors = ops.matmul(ops.softmax(scores / self.temperature), meta)  # (N, B, D)
        return ops.transpose(ops.where(known, vectors, missing), (1, 0, 2))

    def compute_output_shape(self, input_shape):
        """Returns (batch, numbers, dim)."""
        return (input_shape[0], input_shape[1], self.dim)


def _one_by_one(shape, dtype=None):
    """Draws each number's matrix by itself: Glorot's fan is that of one Dense."""
    draw = keras.initializers.GlorotUniform
    return ops.stack([draw()(shape[1:], dtype) for _ in range(shape[0])])
