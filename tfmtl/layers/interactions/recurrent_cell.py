"""Recurrent cells whose copies may share a part of their units."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.partial_sharing import PartialDense

CELLS = {
    "gru": {"update": "sigmoid", "reset": "sigmoid", "candidate": "tanh"},
    "lstm": {
        "input": "sigmoid",
        "forget": "sigmoid",
        "output": "sigmoid",
        "candidate": "tanh",
    },
    "simple": {"candidate": "tanh"},
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
                units,
                copies,
                shared_ratio,
                activation,
                dtype=self.dtype_policy,
                name=name,
            )
            for name, activation in CELLS[cell].items()
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
        h = states[0]
        both = ops.concatenate([inputs, h], axis=-1)
        if self.cell == "simple":
            return [h + self.gates["candidate"](both)]
        if self.cell == "gru":
            update = self.gates["update"](both)
            h_reset = self.gates["reset"](both) * h
            candidate = self.gates["candidate"](
                ops.concatenate([inputs, h_reset], axis=-1)
            )
            return [update * h + (1 - update) * candidate]
        gate = {name: layer(both) for name, layer in self.gates.items()}
        memory = gate["forget"] * states[1] + gate["input"] * gate["candidate"]
        return [gate["output"] * ops.tanh(memory), memory]

    def compute_output_shape(self, inputs_shape, states_shape):
        """Returns the shapes of the states."""
        shape = (self.copies, *inputs_shape[1:-1], self.units)
        return [shape] * (2 if self.cell == "lstm" else 1)
