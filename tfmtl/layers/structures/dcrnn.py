"""DCRNN: recurrent crosses, partly shared networks, and a recurrence over tasks."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.partial_sharing import PartialDense, floor_share, spread
from tfmtl.layers.interactions.recurrent_cell import RecurrentCell
from tfmtl.layers.interactions.recurrent_cross import (
    FieldRecurrentCross,
    RecurrentCross,
)


@keras.saving.register_keras_serializable("tfmtl")
class DCRNN(Layer):
    """Each task's RNN-cross and dense layers share a part of the other tasks'.

        x -> RNN-cross        h_k       one copy a task, partly shared
          -> dense layers     z_k = relu([W_s h_k + b_s ; W_k h_k + b_k])
          -> tasks in order   s_k = Cell(z_k, s_{k-1}),  s_0 = 0

    A reconstruction: only the abstract of the paper is public, and no code. It speaks
    of a cross network combined with an RNN, of partial parameter sharing, and of the
    latent correlation between tasks (click, then consume). Everything else is read
    into it: hard sharing "cannot express each target well" and soft sharing grows with
    the number of tasks, so the tasks share a fraction of their units; "click, then
    consume" is a sequence, so a recurrent cell with the same weights for all tasks
    carries what is known of a task to the next.

    Args:
        tasks: List of strings. Names of the tasks, in the order of the funnel.
        cross: "steps", `RecurrentCross` over (batch, width), or "fields",
            `FieldRecurrentCross` over (batch, fields, dim). Defaults to "steps".
        steps: Integer >= 0. Steps of the former (cross="steps" only); 0 leaves crosses
            out. Defaults to 3.
        state_units: Integer. Width of the cross's state; None is the input's width
            (cross="steps" only). Defaults to 64.
        cell: "gru", "lstm" or "simple", for both recurrences. Defaults to "gru".
        rank: Integer. Rank of the cross matrix (cross="steps" only). Defaults to the
            full matrix.
        bidirectional: Boolean. Whether fields are read backwards too (cross="fields"
            only). Defaults to False.
        units: Tuple of integers, at least one. The dense layers. Defaults to (128,).
        shared_ratio: Float in [0, 1]. 1 is hard sharing, 0 separate networks. Defaults
            to 0.5.
        share_mode: "unit", each layer shares floor(shared_ratio * width) of its units,
            or "layer", the first floor(shared_ratio * layers) layers are wholly shared
            and the rest is not, where the cross is one layer. Defaults to "unit".
        task_recurrence: Boolean. Whether s_k follows on z_k. Defaults to True.

    Input shape: (batch, width), or (batch, fields, dim) for cross="fields".

    Output: dict {task: (batch, units[-1])}.

    Example:
    >>> out = DCRNN(["click", "buy"], units=(8,))(keras.ops.ones((4, 5)))
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (4, 8), 'buy': (4, 8)}

    References:
        - [DCRNN](https://arxiv.org/abs/2310.11777) (abstract)
    """

    def __init__(
        self,
        tasks,
        cross="steps",
        steps=3,
        state_units=64,
        cell="gru",
        rank=None,
        bidirectional=False,
        units=(128,),
        shared_ratio=0.5,
        share_mode="unit",
        task_recurrence=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        _errors.check_choice("cross", cross, ("steps", "fields"))
        _errors.check_choice("share_mode", share_mode, ("unit", "layer"))
        _errors.check_ratio("shared_ratio", shared_ratio)
        self.units = _errors.check_units("units", units)
        if not self.units:
            raise ValueError("DCRNN needs a dense layer. Received: units=().")
        self.takes_fields = cross == "fields"
        if self.takes_fields:
            _errors.check_positive("state_units with cross='fields'", state_units)
            _check_unused(cross, steps=(steps, 3), rank=(rank, None))
        else:
            _check_unused(cross, bidirectional=(bidirectional, False))
        shares = self._shares(shared_ratio, share_mode)
        if cross == "steps":
            self.cross = RecurrentCross(
                steps, state_units, cell, rank, **shares[0], name="cross"
            )
        else:
            self.cross = FieldRecurrentCross(
                state_units, cell, bidirectional, **shares[0], name="cross"
            )
        self.hidden = [
            PartialDense(width, **share, activation="relu", name=f"dense_{i}")
            for i, (width, share) in enumerate(
                zip(self.units, shares[1:], strict=True), start=1
            )
        ]
        self.recurrent = None
        if task_recurrence:
            self.recurrent = RecurrentCell(
                self.units[-1],
                cell,
                shared_ratio=1,
                dtype=self.dtype_policy,
                name="task_cell",
            )

    def _shares(self, ratio, mode):
        """Returns what the cross and each dense layer share, as their arguments."""
        layers = 1 + len(self.units)
        whole = {"copies": 1, "shared_ratio": 1, "dtype": self.dtype_policy}
        if mode == "unit" and ratio < 1:
            partly = {**whole, "copies": len(self.tasks), "shared_ratio": ratio}
            return [partly] * layers
        # What every task shares is the same for all: one copy computes it.
        own = {**whole, "copies": len(self.tasks), "shared_ratio": 0}
        common = floor_share(ratio, layers)
        return [whole] * common + [own] * (layers - common)

    def build(self, input_shape):
        """Builds the cross, the dense layers and the task cell."""
        self.cross.build(input_shape)
        batch, copies, width = self.cross.compute_output_shape(input_shape)
        shape = (copies, batch, width)
        for layer in self.hidden:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        if self.recurrent:
            self.recurrent.build((1, batch, shape[-1]))

    def call(self, inputs):
        """Maps (batch, width) or (batch, fields, dim) to {task: (batch, units[-1])}."""
        z = ops.swapaxes(self.cross(inputs), 0, 1)  # (copies, B, units)
        for layer in self.hidden:
            z = layer(z)
        z = spread(z, len(self.tasks))  # (K, B, units)
        if not self.recurrent:
            # Apart at once: the gradient of z[k] would be as large as z, for every k.
            return dict(zip(self.tasks, ops.unstack(z), strict=True))
        read = self.recurrent.read(ops.expand_dims(z, 1))  # (K, 1, B, gates * units)
        outputs = {}
        states = self.recurrent.start(ops.zeros_like(z[:1]))
        for task, of_task in zip(self.tasks, ops.unstack(read), strict=True):
            states = self.recurrent.step(of_task, states)
            outputs[task] = ops.squeeze(states[0], 0)
        return outputs

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, units[-1])}."""
        return dict.fromkeys(self.tasks, (input_shape[0], self.units[-1]))


def _check_unused(cross, **options):
    """Raises unless options of the other cross, (value, default), are left alone."""
    for name, (value, default) in options.items():
        if value != default:
            raise ValueError(
                f"{name} is no option of cross={cross!r}. Received: {name}={value!r}; "
                "leave it out, or take the other cross."
            )
