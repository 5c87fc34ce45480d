"""Pooling of a sequence without weights of its own."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer

POOLINGS = ("mean", "sum", "max")


@keras.saving.register_keras_serializable("tfmtl")
class SequencePooling(Layer):
    """Pools a sequence by the mean, the sum or the maximum over its items.

        mean  v = sum_j m_j x_j / max(sum_j m_j, 1)
        sum   v = sum_j m_j x_j
        max   v_d = max over j with m_j = 1 of x_jd

    with m_j 1 for an item and 0 for padding.

    Args:
        pooling: "mean", "sum" or "max". Defaults to "mean".

    Call arguments:
        sequence: (batch, length, dim).
        present: (batch, length). 1 or True where there is an item, 0 for padding.

    Output shape: (batch, dim); zeros for a row without items.

    Example:
    >>> ops = keras.ops
    >>> sequence = ops.array([[[1.0], [5.0], [9.0]]])
    >>> [float(x) for x in SequencePooling("max")(sequence, ops.array([[1, 1, 0]]))[0]]
    [5.0]
    """

    takes_target = False

    def __init__(self, pooling="mean", **kwargs):
        super().__init__(**kwargs)
        _errors.check_choice("pooling", pooling, POOLINGS)
        self.pooling = pooling

    def build(self, sequence_shape, present_shape=None):
        """Has nothing to create."""

    def call(self, sequence, present):
        """Maps (batch, length, dim), (batch, length) to (batch, dim)."""
        mask = ops.cast(present, sequence.dtype)
        if self.pooling == "max":
            known = ops.expand_dims(ops.cast(present, "bool"), 2)  # (B, L, 1)
            lowest = ops.full_like(sequence, float("-inf"))
            highest = ops.max(ops.where(known, sequence, lowest), axis=1)  # (B, D)
            any_known = ops.any(known, axis=1)  # (B, 1)
            return ops.where(any_known, highest, ops.zeros_like(highest))
        # A product with the mask row is the masked sum, without a (B, L, D) temporary.
        total = ops.squeeze(ops.matmul(ops.expand_dims(mask, 1), sequence), 1)  # (B, D)
        if self.pooling == "sum":
            return total
        return total / ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1)

    def compute_output_shape(self, sequence_shape, present_shape):
        """Returns (batch, dim)."""
        return (sequence_shape[0], sequence_shape[2])
