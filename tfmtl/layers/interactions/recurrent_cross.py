"""RNN-cross: a cross network whose layers are the steps of a recurrent network."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.partial_sharing import PartialDense, spread
from tfmtl.layers.interactions.recurrent_cell import CELLS, RecurrentCell


@keras.saving.register_keras_serializable("tfmtl")
class RecurrentCross(Layer):
    """Crosses x_0 with the state of a recurrent network, again and again.

        c_l = x_0 * (W_c h_l + b_c),   W_c = U V^T of rank r, if `rank` is given
        h_{l+1} = Cell(c_l, h_l),   h_0 = x_0, or P x_0 if `units` is given

    A reconstruction: of the DCRNN paper, which has "the idea of the cross network +
    RNN", only the abstract is public. DCN-V2's x_0 * (W x + b) + x is already a
    recurrence that brings x_0 in again. Here its residual becomes the carry gate of a
    cell, whose gates filter noise, and all steps use the same weights, so that depth
    costs no parameters.

    Args:
        steps: Integer >= 0. Number of steps; 0 returns h_0. Defaults to 3.
        units: Integer. Width of the state. Defaults to the width of the input.
        cell: "gru", "lstm" or "simple", see `RecurrentCell`. Defaults to "gru".
        rank: Integer. r. Defaults to a full W_c.
        copies: Integer. Networks side by side, one a task, with an output of shape
            (batch, copies, units). Defaults to None, a single network without that
            axis.
        shared_ratio: Float in [0, 1]. Part of the units of each matrix that the copies
            have in common. Defaults to 0.5.

    Input shape: (batch, width). Output shape: (batch, units).

    Example:
    >>> RecurrentCross(2)(keras.ops.ones((4, 5))).shape
    TensorShape([4, 5])

    See Also: `FieldRecurrentCross`, the other reading; `CrossV2`.

    References:
        - [DCRNN](https://arxiv.org/abs/2310.11777) (abstract)
        - [DCN V2](https://doi.org/10.1145/3442381.3450078)
    """

    def __init__(
        self,
        steps=3,
        units=None,
        cell="gru",
        rank=None,
        copies=None,
        shared_ratio=0.5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if steps != 0:
            _errors.check_positive("steps, if not 0,", steps)
        for what, value in (("units", units), ("rank", rank), ("copies", copies)):
            if value is not None:
                _errors.check_positive(what, value)
        _errors.check_choice("cell", cell, CELLS)
        _errors.check_ratio("shared_ratio", shared_ratio)
        self.steps = steps
        self.units = units
        self.cell = cell
        self.rank = rank
        self.copies = copies
        self.shared_ratio = shared_ratio

    def build(self, input_shape):
        """Creates the cell, the cross and the projection to the state."""
        _errors.check_rank(self, input_shape, 2)
        width = input_shape[-1]
        units = self.units or width
        x_shape = (1, input_shape[0], width)
        h_shape = (self.copies or 1, input_shape[0], units)
        sharing = {
            "copies": self.copies or 1,
            "shared_ratio": self.shared_ratio if self.copies else 1,
            "dtype": self.dtype_policy,
        }
        self.projection, self.cross = None, []
        if self.units:
            self.projection = PartialDense(
                units, use_bias=False, name="projection", **sharing
            )
            self.projection.build(x_shape)
        if self.steps == 0:
            return
        if self.rank:
            self.cross.append(
                PartialDense(self.rank, use_bias=False, name="down", **sharing)
            )
        self.cross.append(PartialDense(width, name="cross", **sharing))
        shape = h_shape
        for layer in self.cross:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.recurrent = RecurrentCell(units, self.cell, name="cell", **sharing)
        self.recurrent.build(shape, h_shape)

    def call(self, inputs):
        """Maps (batch, width) to (batch, units) or (batch, copies, units)."""
        x = ops.expand_dims(inputs, 0)  # (1, B, W)
        h = self.projection(x) if self.projection else spread(x, self.copies or 1)
        if self.steps:
            states = self.recurrent.start(h)  # each (K, B, U)
            for _ in range(self.steps):
                crossed = states[0]
                for layer in self.cross:
                    crossed = layer(crossed)
                states = self.recurrent(x * crossed, states)
            h = states[0]
        return ops.squeeze(h, 0) if self.copies is None else ops.swapaxes(h, 0, 1)

    def compute_output_shape(self, input_shape):
        """Returns (batch, units) or (batch, copies, units)."""
        copies = () if self.copies is None else (self.copies,)
        return (input_shape[0], *copies, self.units or input_shape[-1])


@keras.saving.register_keras_serializable("tfmtl")
class FieldRecurrentCross(Layer):
    """Crosses each field with the state of a recurrent network that reads the fields.

        s_f = Cell(e_f, s_{f-1}),   s_0 = 0
        o_f = e_f * (W s_f + b)

    A reconstruction, the other reading of "RNN network to cross-process the features"
    in the abstract of DCRNN; see `RecurrentCross`. Its steps are the fields in order,
    one after the other, so that its time grows with their number.

    Args:
        units: Integer. Width of the state. Defaults to 32.
        cell: "gru", "lstm" or "simple", see `RecurrentCell`. Defaults to "gru".
        bidirectional: Boolean. Whether a second cell reads the fields backwards; W then
            reads both states. Defaults to False.
        copies: Integer. Networks side by side, one a task, with an output of shape
            (batch, copies, fields * dim). Defaults to None, a single network.
        shared_ratio: Float in [0, 1]. Part of the units of each matrix that the copies
            have in common. Defaults to 0.5.

    Input shape: (batch, fields, dim). Output shape: (batch, fields, dim).

    Example:
    >>> FieldRecurrentCross(16)(keras.ops.ones((4, 3, 8))).shape
    TensorShape([4, 3, 8])

    References:
        - [DCRNN](https://arxiv.org/abs/2310.11777) (abstract)
    """

    takes_fields = True

    def __init__(
        self,
        units=32,
        cell="gru",
        bidirectional=False,
        copies=None,
        shared_ratio=0.5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _errors.check_positive("units", units)
        if copies is not None:
            _errors.check_positive("copies", copies)
        _errors.check_ratio("shared_ratio", shared_ratio)
        self.units = units
        self.cell = cell
        self.bidirectional = bidirectional
        # XLA takes minutes to compile a step for each of dozens of fields, so "auto"
        # must not choose it.
        self.supports_jit = False
        self.copies = copies
        self.shared_ratio = shared_ratio
        self.sharing = {
            "copies": copies or 1,
            "shared_ratio": shared_ratio if copies else 1,
            "dtype": self.dtype_policy,
        }
        self.cells = [
            RecurrentCell(units, cell, name=name, **self.sharing)
            for name in (("forward", "backward") if bidirectional else ("forward",))
        ]

    def build(self, input_shape):
        """Builds the cells and creates W."""
        _errors.check_rank(self, input_shape, 3)
        batch, _, dim = input_shape
        lead = (self.copies or 1, batch)
        for cell in self.cells:
            cell.build((*lead, dim), (*lead, self.units))
        self.cross = PartialDense(dim, name="cross", **self.sharing)
        self.cross.build((*lead, self.units * len(self.cells)))

    def call(self, inputs):
        """Maps (batch, fields, dim) to the same, or (batch, copies, fields * dim)."""
        x = ops.expand_dims(ops.swapaxes(inputs, 0, 1), 1)  # (F, 1, B, D)
        start = ops.repeat(ops.zeros_like(x[0, ..., :1]), self.units, axis=-1)
        start = spread(start, self.copies or 1)  # (K, B, U)
        contexts = []
        for cell, order in zip(self.cells, (1, -1), strict=False):
            states, seen = cell.start(start), []
            for read in ops.unstack(cell.read(x))[::order]:  # F of (K, B, gates * U)
                states = cell.step(read, states)
                seen.append(states[0])
            contexts.append(ops.stack(seen[::order]))  # (F, K, B, U)
        x = x * self.cross(ops.concatenate(contexts, axis=-1))
        if self.copies is None:
            return ops.swapaxes(ops.squeeze(x, 1), 0, 1)  # (B, F, D)
        x = ops.transpose(x, (2, 1, 0, 3))  # (B, K, F, D)
        return ops.reshape(x, (-1, self.copies, x.shape[2] * x.shape[3]))

    def compute_output_shape(self, input_shape):
        """Returns (batch, fields, dim) or (batch, copies, fields * dim)."""
        batch, fields, dim = input_shape
        if self.copies is None:
            return (batch, fields, dim)
        return (batch, self.copies, fields * dim)
