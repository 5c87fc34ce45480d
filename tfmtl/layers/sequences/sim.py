"""SIM's encoder of long sequences: search by category, then attention."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.sequences.search import best
from tfmtl.layers.sequences.target_attention import TargetAttention


@keras.saving.register_keras_serializable("tfmtl")
class SIM(Layer):
    """Finds the events of the target's category; attention sees these alone.

        S = the last k events j with category_j = category of the target
        v = TargetAttention(q, x_j for j in S)

    SIM's hard search: it costs a comparison an event, so that the history may be of
    thousands. A target whose category is not in the history gives zeros.

    Deviations from the paper: the attention is DIN's (`TargetAttention`), not a
    multi-head one over events and their time intervals; give the interval as a side
    field. The short history, to which the paper gives a DIEN of its own, is another
    `Sequence`, and so is the auxiliary loss left out.

    Args:
        items: Integer. k, how many events are found at most. Defaults to 16.
        units: Integer. Width of the attention's hidden layer. Defaults to 36.
        activation: String or callable of that layer. Defaults to "relu".

    Call arguments:
        target: (batch, dim).
        sequence: (batch, length, dim).
        present: (batch, length). 1 or True where there is an event, 0 for padding.
        same: (batch, length). 1 or True where an event is of the target's category.

    Output shape: (batch, dim); zeros for a row without such events.

    Example:
    >>> ops = keras.ops
    >>> sim, one = SIM(items=2), ops.ones((2, 50))
    >>> sim(ops.ones((2, 4)), ops.ones((2, 50, 4)), one, one).shape
    TensorShape([2, 4])

    References:
        - [SIM](https://arxiv.org/abs/2006.05639), section 3, the hard search.
    """

    takes_target = True
    takes_same = True

    def __init__(self, items=16, units=36, activation="relu", **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("items", items)
        self.items = items
        self.attention = TargetAttention(
            units, activation, dtype=self.dtype_policy, name="attention"
        )

    def build(
        self, target_shape, sequence_shape=None, present_shape=None, same_shape=None
    ):
        """Builds the attention."""
        self.attention.build(target_shape, sequence_shape, present_shape)

    def call(self, target, sequence, present, same):
        """Maps target, sequence, present and same to (batch, dim)."""
        length = sequence.shape[1]
        found = ops.logical_and(ops.cast(present, "bool"), ops.cast(same, "bool"))
        found = ops.cast(found, sequence.dtype)
        if length > self.items:
            place = ops.arange(length, dtype="float32") * ops.ones_like(
                found, dtype="float32"
            )
            sequence, found = best(sequence, found, place, self.items)
        return self.attention(target, sequence, found)

    def compute_output_shape(
        self, target_shape, sequence_shape, present_shape, same_shape
    ):
        """Returns (batch, dim)."""
        return (sequence_shape[0], sequence_shape[2])
