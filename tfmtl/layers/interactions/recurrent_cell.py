"""Recurrent cells whose copies may share a part of their units."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.partial_sharing import PartialDense, product

# The gates, of which the candidate has a tanh and the others a sigmoid.
CELLS = {
    "gru": ("update", "reset", "candidate"),
    "lstm": ("input", "forget", "output", "candidate"),
    "simple": ("candidate",),
}


@keras.saving.register_keras_serializable("tfmtl")
class RecurrentCell(Layer):
    """One step of a recurrent network; calling it again uses the same weights.

        gru     u = sigma(W_u [c; h] + b_u),  r = sigma(W_r [c; h] + b_r)
                n = tanh(W_n [c; r * h] + b_n),  h' = u * h + (1 - u) * n
        lstm    m' = f * m + i * n,  h' = o * tanh(m'),  gates i, f, o, n of [c; h]
        simple  h' = h + tanh(W [c; h] + b)

    c is the input, h the state, m the LSTM's memory, which starts at h. Each W is a
    `PartialDense`: the copies have `shared_ratio` of every gate's units in common.

    Args:
        units: Integer. Width of the state.
        cell: "gru", "lstm" or "simple". Defaults to "gru".
        copies: Integer. Number of copies, one a task. Defaults to 1.
        shared_ratio: Float in [0, 1]. Defaults to 0.5.

    Call arguments:
        inputs: Tensor of shape (copies, batch, width).
        states: List of tensors of shape (copies, batch, units), as from `start` or the
            last step; the first is h.

    Returns the list of new states.

    Example:
    >>> cell = RecurrentCell(8)
    >>> states = cell.start(keras.ops.zeros((1, 4, 8)))
    >>> cell(keras.ops.ones((1, 4, 5)), states)[0].shape
    TensorShape([1, 4, 8])
    """

    def __init__(self, units, cell="gru", copies=1, shared_ratio=0.5, **kwargs):
        super().__init__(**kwargs)
        _errors.check_choice("cell", cell, CELLS)
        self.units = units
        self.cell = cell
        self.copies = copies
        self.shared_ratio = shared_ratio
        self.gates = {
            name: PartialDense(
                units, copies, shared_ratio, dtype=self.dtype_policy, name=name
            )
            for name in CELLS[cell]
        }

    def build(self, inputs_shape, states_shape=None):
        """Builds the gates, which read the input and the state."""
        for gate in self.gates.values():
            gate.build((*inputs_shape[:-1], inputs_shape[-1] + self.units))

    def start(self, state):
        """Returns the list of states to begin with, from (copies, batch, units)."""
        return [state, state] if self.cell == "lstm" else [state]

    def call(self, inputs, states):
        """Takes one step; see the class."""
        return self.step(self.read(inputs), states)

    def read(self, inputs):
        """Returns the inputs' part of what all gates sum up, W [c; 0] + b.

        Where all inputs are known before the first step, one product serves all steps.

        Args:
            inputs: Tensor of shape (..., copies, batch, width).

        Returns:
            A tensor of shape (..., copies, batch, gates * units), for `step`.
        """
        kernels, biases = zip(*(g.whole() for g in self.gates.values()), strict=True)
        kernel = ops.concatenate([k[..., : -self.units, :] for k in kernels], axis=-1)
        return product(inputs, kernel) + ops.concatenate(biases, axis=-1)

    def step(self, read, states):
        """Takes one step, as a call does, from what `read` made of the input."""
        h = states[0]
        # (copies, units, units) a gate, which read the state.
        kernels = [g.whole()[0][..., -self.units :, :] for g in self.gates.values()]
        if self.cell == "gru":
            read, of_input = ops.split(read, [2 * self.units], axis=-1)
            both = product(h, ops.concatenate(kernels[:2], axis=-1))
            update, reset = ops.split(ops.sigmoid(read + both), 2, axis=-1)
            candidate = ops.tanh(of_input + product(reset * h, kernels[2]))
            return [update * h + (1 - update) * candidate]
        x = read + product(h, ops.concatenate(kernels, axis=-1))
        if self.cell == "simple":
            return [h + ops.tanh(x)]
        gates, candidate = ops.split(x, [3 * self.units], axis=-1)
        enter, forget, leave = ops.split(ops.sigmoid(gates), 3, axis=-1)
        memory = forget * states[1] + enter * ops.tanh(candidate)
        return [leave * ops.tanh(memory), memory]

    def compute_output_shape(self, inputs_shape, states_shape):
        """Returns the shapes of the states."""
        shape = (self.copies, *inputs_shape[1:-1], self.units)
        return [shape] * (2 if self.cell == "lstm" else 1)
