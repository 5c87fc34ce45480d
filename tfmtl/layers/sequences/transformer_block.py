"""A block of a transformer over a padded sequence."""

import keras
import numpy as np
from keras import ops

from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.sequences.softmax import masked_softmax


@keras.saving.register_keras_serializable("tfmtl")
class TransformerBlock(Layer):
    """Self-attention of several heads, then two layers at each position.

        A(x) = [softmax(Q_i K_i^T / sqrt(d)) V_i for each head i] W
        F(x) = W_2 act(W_1 x + b_1) + b_2
        normalised after:  s = norm(x + A(x)),  y = norm(s + F(s))
        normalised first:  s = x + A(norm(x)),  y = s + F(norm(s))

    Args:
        heads: Integer. A head has width / heads units, rounded up.
        hidden_units: Integer. Width of W_1.
        dropout: Float in [0, 1). Of A and F in training.
        activation: String or callable.
        norm_first: Boolean. Which of the two.
        is_causal: Boolean. Whether a position sees itself and earlier ones alone.

    Call arguments:
        sequence: (batch, length, width).
        present: (batch, length). 1 or True for what may be seen.

    Output shape: (batch, length, width).
    """

    def __init__(
        self,
        heads,
        hidden_units,
        dropout=0.0,
        activation="relu",
        norm_first=False,
        is_causal=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.heads = heads
        self.hidden_units = hidden_units
        self.norm_first = norm_first
        self.is_causal = is_causal
        self.activation = keras.activations.get(activation)
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, sequence_shape, present_shape=None):
        """Creates the projections, the two layers and the normalisations."""
        width = sequence_shape[-1]
        self.head_units = -(-width // self.heads)
        inner = self.heads * self.head_units
        # Without a bias, which for keys no softmax sees.
        self.project = self._dense("project", width, 3 * inner, use_bias=False)
        self.join = self._dense("join", inner, width, use_bias=False)
        self.widen = self._dense("widen", width, self.hidden_units)
        self.narrow = self._dense("narrow", self.hidden_units, width)
        self.norms = []
        for name in ("first_norm", "second_norm"):
            norm = keras.layers.LayerNormalization(dtype=self.dtype_policy, name=name)
            norm.build((None, None, width))
            self.norms.append(norm)

    def _dense(self, name, width, units, use_bias=True):
        layer = keras.layers.Dense(
            units, use_bias=use_bias, dtype=self.dtype_policy, name=name
        )
        layer.build((None, None, width))
        return layer

    def call(self, sequence, present, training=None):
        """Maps (batch, length, width), (batch, length) to (batch, length, width)."""
        first, second = self.norms
        if self.norm_first:
            x = sequence + self._attend(first(sequence), present, training)
            return x + self._feed_forward(second(x), training)
        x = first(sequence + self._attend(sequence, present, training))
        return second(x + self._feed_forward(x, training))

    def _attend(self, x, present, training):
        length = x.shape[1]
        parts = ops.reshape(
            self.project(x), (-1, length, 3, self.heads, self.head_units)
        )
        query, key, value = ops.unstack(ops.transpose(parts, (2, 0, 3, 1, 4)))
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))  # (B, H, L, L)
        seen = ops.cast(present, "bool")[:, None, None, :]
        if self.is_causal:
            seen = ops.logical_and(seen, np.tri(length, dtype=bool))
        weights = masked_softmax(scores / self.head_units**0.5, seen)
        value = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
        value = ops.reshape(value, (-1, length, self.heads * self.head_units))
        return self.dropout(self.join(value), training=training)

    def _feed_forward(self, x, training):
        x = self.narrow(self.activation(self.widen(x)))
        return self.dropout(x, training=training)

    def compute_output_shape(self, sequence_shape, present_shape):
        """Returns the shape of the sequence."""
        return tuple(sequence_shape)
