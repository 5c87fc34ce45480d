"""Banks of expert networks: plain ones, and those that are normalised."""

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


@keras.saving.register_keras_serializable("tfmtl")
class NormalisedExperts(Layer):
    """A bank of experts of one layer behind a feature gate, as in HoME.

        E(x) = swish(BN(F(x) W)),  F(x) = x * 2 sigmoid(x B A)

    BN normalises each unit over the batch in training, and by what it has seen there
    else: so the experts' outputs are of one scale, and a gate can weigh them. With ReLU
    some experts are nearly always 0. F, one for the bank, with B and A of low rank,
    starts near 1 and learns which part of the input the bank looks at.

    Args:
        experts: Integer. Number of experts.
        units: Integer. Width of each.
        gate_rank: Integer. Rank of F, columns of B. Defaults to 16.

    Input shape: (batch, width). Output shape: (batch, experts, units).

    Example:
    >>> NormalisedExperts(3, 8)(keras.ops.ones((4, 5))).shape
    TensorShape([4, 3, 8])

    References:
        - [HoME](https://arxiv.org/abs/2408.05430)
    """

    def __init__(self, experts, units, gate_rank=16, **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("experts", experts)
        _errors.check_positive("units", units)
        _errors.check_positive("gate_rank", gate_rank)
        self.experts = experts
        self.units = units
        self.gate_rank = gate_rank
        # Keras's 0.99 would leave a model of some fifty steps with the 0 and 1 that
        # the kept statistics start at.
        self.normalization = keras.layers.BatchNormalization(
            momentum=0.9, dtype=self.dtype_policy, name="normalization"
        )

    @property
    def labels(self):
        """Names of the experts in a gate report."""
        return [f"expert_{i}" for i in range(self.experts)]

    def build(self, input_shape):
        """Creates B, A and W, (width, experts * units)."""
        _errors.check_rank(self, input_shape, 2)
        width, out = input_shape[-1], self.experts * self.units
        self.down = self.add_weight(name="down", shape=(width, self.gate_rank))
        self.up = self.add_weight(name="up", shape=(self.gate_rank, width))
        self.kernel = self.add_weight(
            name="kernel",
            shape=(width, out),
            initializer=functools.partial(
                draw_kernels, self.experts, width, self.units
            ),
        )
        self.normalization.build((None, out))

    def call(self, inputs, training=None):
        """Maps (batch, width) to (batch, experts, units)."""
        scale = 2 * ops.sigmoid(ops.matmul(ops.matmul(inputs, self.down), self.up))
        x = ops.matmul(inputs * scale, self.kernel)  # (B, E*U)
        x = ops.silu(self.normalization(x, training=training))
        x = ops.reshape(x, (-1, self.experts, self.units))
        hidden_units.note(self.path, (x, 0))
        return x

    def compute_output_shape(self, input_shape):
        """Returns (batch, experts, units)."""
        return (input_shape[0], self.experts, self.units)


def draw_kernels(experts: int, fan_in: int, fan_out: int, shape, dtype=None):
    """Draws each expert's kernel by itself: Glorot's fan is that of one Dense."""
    draw = keras.initializers.GlorotUniform
    kernels = [draw()((fan_in, fan_out), dtype=dtype) for _ in range(experts)]
    if len(shape) == 2:
        return ops.concatenate(kernels, axis=1)  # (in, E*out)
    return ops.stack(kernels)  # (E, in, out)
