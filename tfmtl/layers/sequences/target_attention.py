"""DIN's pooling: a sequence as the target sees it."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class TargetAttention(Layer):
    """Pools a sequence by how each of its items goes with a target (DIN, eq. 3).

        v(q) = sum_j a(k_j, q) k_j
        a(k, q) = sigmoid(w . act(W [q, k, q * k] + b) + c)

    with q the target's embedding, k_j those of the sequence and * the element-wise
    product. The weights do not sum to 1: much of what the target resembles gives a
    longer vector than little, which is DIN's reason against a softmax.

    Deviations from the paper: a sigmoid bounds each weight; q - k is left out, since
    W [q, k, q - k, q * k] is a function of the same kind, and the product stands for
    the outer product that the paper's figure names.

    Args:
        units: Integer. Width of the hidden layer. Defaults to 36, the paper's.
        activation: String or callable of the hidden layer. Defaults to "relu".

    Call arguments:
        target: (batch, dim).
        sequence: (batch, length, dim).
        present: (batch, length). 1 or True where there is an item, 0 for padding.

    Output shape: (batch, dim); zeros for a row without items.

    Example:
    >>> ops = keras.ops
    >>> present = ops.array([[1, 1, 0], [0, 0, 0]])
    >>> TargetAttention()(ops.ones((2, 4)), ops.ones((2, 3, 4)), present).shape
    TensorShape([2, 4])

    References:
        - [DIN](https://arxiv.org/abs/1706.06978), section 4.3.
    """

    takes_target = True

    def __init__(self, units=36, activation="relu", **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("units", units)
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, target_shape, sequence_shape=None, present_shape=None):
        """Creates the two layers of a(k, q)."""
        dim = target_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(3 * dim, self.units))
        self.bias = self.add_weight(
            name="bias", shape=(self.units,), initializer="zeros"
        )
        self.weigh = keras.layers.Dense(1, dtype=self.dtype_policy, name="weigh")
        self.weigh.build((None, None, self.units))

    def call(self, target, sequence, present):
        """Maps (batch, dim), (batch, length, dim), (batch, length) to (batch, dim)."""
        query, key, product = ops.split(self.kernel, 3)
        # Block by block, without a (B, L, 3 dim) temporary; q's block is the row's.
        hidden = ops.expand_dims(ops.matmul(target, query) + self.bias, 1)  # (B, 1, U)
        hidden += ops.matmul(sequence, key)  # (B, L, U)
        hidden += ops.matmul(ops.expand_dims(target, 1) * sequence, product)
        weights = ops.sigmoid(self.weigh(self.activation(hidden)))  # (B, L, 1)
        weights *= ops.expand_dims(ops.cast(present, weights.dtype), 2)
        weights = ops.transpose(weights, (0, 2, 1))  # (B, 1, L)
        return ops.squeeze(ops.matmul(weights, sequence), 1)

    def compute_output_shape(self, target_shape, sequence_shape, present_shape):
        """Returns (batch, dim)."""
        return tuple(target_shape)
