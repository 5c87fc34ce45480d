"""Banks of expert networks."""

import functools

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import hidden_units


@keras.saving.register_keras_serializable("tfmtl")
class Experts(Layer):
    """A bank of independent DNN experts that read the same input.

    e_i(x) = activation(... activation(x W_i1 + b_i1) ... W_il + b_il), i = 1..experts.

    The first layer of all experts is one wide matrix product, the others are batched
    products. Each expert's kernel is drawn on its own, with the fan of a single dense
    layer.

    Args:
        experts: Integer. Number of experts.
        units: Tuple of integers. Layer widths of each expert.
        activation: String or callable. Defaults to "relu".

    Input shape: (batch, width). Output shape: (batch, experts, units[-1]).

    Example:
    >>> Experts(3, (16, 8))(keras.ops.ones((4, 5))).shape
    TensorShape([4, 3, 8])
    """

    def __init__(self, experts, units, activation="relu", **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("experts", experts)
        self.experts = experts
        self.units = _errors.check_units("units", units)
        if not self.units:
            raise ValueError("An expert needs at least one layer. Received: units=().")
        self.activation = keras.activations.get(activation)

    @property
    def labels(self):
        """Names of the experts in a gate report."""
        return [f"expert_{i}" for i in range(self.experts)]

    def build(self, input_shape):
        """Creates the kernels (in, experts * out) and (experts, in, out)."""
        _errors.check_rank(self, input_shape, 2)
        self.kernels, self.biases = [], []
        fan_in = input_shape[-1]
        for i, width in enumerate(self.units):
            shape = (self.experts, fan_in, width)
            if i == 0:
                shape = (fan_in, self.experts * width)
            self.kernels.append(
                self.add_weight(
                    name=f"kernel_{i}",
                    shape=shape,
                    initializer=functools.partial(
                        draw_kernels, self.experts, fan_in, width
                    ),
                )
            )
            self.biases.append(
                self.add_weight(
                    name=f"bias_{i}", shape=(self.experts, width), initializer="zeros"
                )
            )
            fan_in = width

    def call(self, inputs):
        """Maps (batch, width) to (batch, experts, units[-1])."""
        x = ops.matmul(inputs, self.kernels[0])  # (B, E*U)
        x = ops.reshape(x, (-1, self.experts, self.units[0]))  # (B, E, U)
        x = self.activation(x + self.biases[0])
        hidden_units.note(f"{self.path}/layer_0", (x, 0))
        if len(self.units) == 1:
            return x
        x = ops.transpose(x, (1, 0, 2))  # (E, B, U)
        deeper = zip(self.kernels[1:], self.biases[1:], strict=True)
        for i, (kernel, bias) in enumerate(deeper, start=1):
            x = self.activation(ops.matmul(x, kernel) + ops.expand_dims(bias, 1))
            hidden_units.note(f"{self.path}/layer_{i}", (x, 1))
        return ops.transpose(x, (1, 0, 2))  # (B, E, U)

    def compute_output_shape(self, input_shape):
        """Returns (batch, experts, units[-1])."""
        return (input_shape[0], self.experts, self.units[-1])


def draw_kernels(experts: int, fan_in: int, fan_out: int, shape, dtype=None):
    """Draws each expert's kernel by itself: Glorot's fan is that of one Dense."""
    draw = keras.initializers.GlorotUniform
    kernels = [draw()((fan_in, fan_out), dtype=dtype) for _ in range(experts)]
    if len(shape) == 2:
        return ops.concatenate(kernels, axis=1)  # (in, E*out)
    return ops.stack(kernels)  # (E, in, out)
