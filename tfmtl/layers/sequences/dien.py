"""DIEN's encoder: how interest moves towards the target."""

import keras
import tensorflow as tf
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.sequences.softmax import masked_softmax


@keras.saving.register_keras_serializable("tfmtl")
class DIEN(Layer):
    """Reads a sequence by a GRU, then by a GRU whose updates the target weighs.

        h_t = GRU(x_t, h_{t-1})                          interest extraction  (2)-(5)
        a_t = softmax over t of h_t W q                  attention            (8)
        h'_t = AUGRU(h_t, h'_{t-1}, a_t)                 interest evolution   (10)-(11)
        v = h'_T

    with q the target's embedding and x_t those of the sequence, the oldest first. One
    step of either GRU, with a_t = 1 in the first, is

        u = sigma(W_u x + U_u h + b_u),  r = sigma(W_r x + U_r h + b_r)
        n = tanh(W_n x + r * U_n h + b_n)
        h <- (1 - a u) * h + a u * n

    Padding is a step with a = 0, which leaves the state as it is.

    Deviations from the paper: its auxiliary loss, which has each h_t tell the next item
    from a drawn one, is left out, since an encoder sees embeddings and no catalogue to
    draw from. The authors' code multiplies the carry gate by 1 - a; this is the
    paper's formula.

    Args:
        units: Integer. Width of both states. Defaults to that of the items.

    Call arguments:
        target: (batch, width).
        sequence: (batch, length, dim).
        present: (batch, length). 1 or True where there is an item, 0 for padding.

    Output shape: (batch, units); zeros for a row without items.

    Example:
    >>> ops = keras.ops
    >>> DIEN(3)(ops.ones((2, 4)), ops.ones((2, 5, 4)), ops.ones((2, 5))).shape
    TensorShape([2, 3])

    References:
        - [DIEN](https://arxiv.org/abs/1809.03672), section 4.
    """

    takes_target = True

    def __init__(self, units=None, **kwargs):
        super().__init__(**kwargs)
        if units is not None:
            _errors.check_positive("units", units)
        self.units = units

    def build(self, target_shape, sequence_shape=None, present_shape=None):
        """Creates the two GRUs and the attention's matrix."""
        width = sequence_shape[-1]
        units = self.units or width
        self.extract = self._gru("extract", width, units)
        self.evolve = self._gru("evolve", units, units)
        self.attend = self.add_weight(name="attend", shape=(units, target_shape[-1]))

    def _gru(self, name, width, units):
        kernel = self.add_weight(name=f"{name}_kernel", shape=(width, 3 * units))
        state = self.add_weight(
            name=f"{name}_state", shape=(units, 3 * units), initializer="orthogonal"
        )
        bias = self.add_weight(
            name=f"{name}_bias", shape=(3 * units,), initializer="zeros"
        )
        return kernel, state, bias

    def call(self, target, sequence, present):
        """Maps (batch, width), (batch, length, dim), (batch, length) to (batch, U)."""
        mask = ops.cast(present, sequence.dtype)
        states = _run_gru(self.extract, sequence, mask)  # (B, L, U)
        query = ops.matmul(target, ops.transpose(self.attend))  # (B, U)
        scores = ops.squeeze(ops.matmul(states, ops.expand_dims(query, 2)), 2)
        weights = masked_softmax(scores, present)  # (B, L)
        return _run_gru(self.evolve, states, weights)[:, -1]

    def compute_output_shape(self, target_shape, sequence_shape, present_shape):
        """Returns (batch, units)."""
        return (sequence_shape[0], self.units or sequence_shape[2])


def _run_gru(weights, inputs, updates):
    """Returns all states of a GRU from zeros, (B, L, U).

    Args:
        weights: Kernel of the inputs, of the state, and the biases, of u, r and n.
        inputs: (B, L, W).
        updates: (B, L). What the update gate is multiplied by.
    """
    kernel, state_kernel, bias = weights
    length, units = inputs.shape[1], state_kernel.shape[0]
    # One product for all steps, (L, B, 3 U).
    read = ops.transpose(ops.matmul(inputs, kernel) + bias, (1, 0, 2))
    updates = ops.expand_dims(ops.transpose(updates), 2)  # (L, B, 1)
    state_kernel = ops.convert_to_tensor(state_kernel)
    first = ops.zeros_like(read[0, :, :units])

    def step(t, h, states):
        # Not `read[t, :, ...]`, of which XLA takes another slice.
        gates, candidate = ops.split(tf.gather(read, t), [2 * units], axis=1)
        of_gates, of_candidate = ops.split(
            ops.matmul(h, state_kernel), [2 * units], axis=1
        )
        update, reset = ops.split(ops.sigmoid(gates + of_gates), 2, axis=1)
        candidate = ops.tanh(candidate + reset * of_candidate)
        update *= tf.gather(updates, t)
        h = (1 - update) * h + update * candidate
        return t + 1, h, states.write(t, h)

    # Not `ops.scan`, whose gradient XLA cannot compile: it wants a bound of the steps.
    *_, states = tf.while_loop(
        lambda t, *_: t < length,
        step,
        (0, first, tf.TensorArray(first.dtype, length, element_shape=first.shape)),
        maximum_iterations=length,
    )
    return ops.transpose(states.stack(), (1, 0, 2))
