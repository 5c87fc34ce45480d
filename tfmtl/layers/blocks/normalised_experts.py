"""Banks of experts that pick their input and are normalised over the batch."""

import functools

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.experts import draw_kernels
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import hidden_units


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
