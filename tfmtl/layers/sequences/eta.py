"""ETA's encoder of long sequences: search by hash, then attention."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.sequences.search import best
from tfmtl.layers.sequences.target_attention import TargetAttention


@keras.saving.register_keras_serializable("tfmtl")
class ETA(Layer):
    """Finds the items nearest to the target by hash; attention sees these alone.

        sig(x) = sign(R x)                               SimHash, R fixed and random
        S = the k items with most bits of sig(x_j) equal to sig(q)
        v = TargetAttention(q, x_j for j in S)

    Two vectors have a bit in common with probability 1 - angle / pi, so the number of
    such bits ranks items by the angle to the target. Of items that have equally many,
    the last ones are taken. The attention's cost does not grow with the length; what
    does is a product of 0s and 1s. A sequence of at most k items is all attended to.

    Deviations from the paper: the attention is DIN's (`TargetAttention`), not a
    multi-head one, so that on short sequences this equals it. The short history, to
    which the paper gives a branch of its own, is another `Sequence`.

    Args:
        items: Integer. k, how many items are found. Defaults to 16.
        bits: Integer. Length of a signature. Defaults to 32.
        units: Integer. Width of the attention's hidden layer. Defaults to 36.
        activation: String or callable of that layer. Defaults to "relu".

    Call arguments:
        target: (batch, dim).
        sequence: (batch, length, dim).
        present: (batch, length). 1 or True where there is an item, 0 for padding.

    Output shape: (batch, dim); zeros for a row without items.

    Example:
    >>> ops = keras.ops
    >>> ETA(items=2)(ops.ones((2, 4)), ops.ones((2, 50, 4)), ops.ones((2, 50))).shape
    TensorShape([2, 4])

    References:
        - [ETA](https://arxiv.org/abs/2108.04468), section 4.
        - [SIM](https://arxiv.org/abs/2006.05639), the two stages.
    """

    takes_target = True

    def __init__(self, items=16, bits=32, units=36, activation="relu", **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("items", items)
        _errors.check_positive("bits", bits)
        self.items = items
        self.bits = bits
        self.attention = TargetAttention(
            units, activation, dtype=self.dtype_policy, name="attention"
        )

    def build(self, target_shape, sequence_shape=None, present_shape=None):
        """Draws R, and builds the attention."""
        self.planes = self.add_weight(
            name="planes",
            shape=(target_shape[-1], self.bits),
            initializer=keras.initializers.RandomNormal(stddev=1.0, seed=0),
            trainable=False,
            dtype="float32",
        )
        self.attention.build(target_shape, sequence_shape, present_shape)

    def call(self, target, sequence, present):
        """Maps (batch, dim), (batch, length, dim), (batch, length) to (batch, dim)."""
        length = sequence.shape[1]
        if length > self.items:
            equal = ops.matmul(
                self._signature(sequence), ops.expand_dims(self._signature(target), 2)
            )  # (B, L, 1): bits that are equal, less those that are not
            # Less than the 2 that a bit is worth, for the last of equals.
            rank = ops.squeeze(equal, 2) + ops.arange(length, dtype="float32") / length
            sequence, present = best(sequence, present, rank, self.items)
        return self.attention(target, sequence, present)

    def _signature(self, vectors):
        """Returns 1 or -1 for each bit, in float32: half precision cannot count."""
        products = ops.matmul(ops.cast(vectors, "float32"), self.planes.value)
        return ops.where(products >= 0, 1.0, -1.0)

    def compute_output_shape(self, target_shape, sequence_shape, present_shape):
        """Returns (batch, dim)."""
        return (sequence_shape[0], sequence_shape[2])
