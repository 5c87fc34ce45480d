"""APG: dense layers of low rank, their core made for each row."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import hidden_units


class GeneratedDense(Layer):
    """A dense layer of low rank whose core is made for each row.

        S = reshape(A z + a)                    (rank, rank)
        y = activation(((x U) S) V + b),  U = U_l U_r,  V = V_l V_r

    Args:
        units: Integer. Width of the output.
        rank: Integer. At most; a layer has none above its own widths.
        inner_units: Integer. Width between U_l and U_r, V_l and V_r; 0: U and V are one
            matrix each.
        activation: String or callable.
    """

    def __init__(self, units, rank, inner_units, activation, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.rank = rank
        self.inner_units = inner_units
        self.activation = keras.activations.get(activation)

    def build(self, inputs_shape, condition_shape):
        """Creates A, a, U, V and b; S starts near the identity."""
        width = inputs_shape[-1]
        self.rank = min(self.rank, width, self.units)

        def factors(name, rows, columns, last):
            widths = [rows, *[self.inner_units] * bool(self.inner_units), columns]
            return [
                self.add_weight(
                    name=f"{name}_{i}",
                    shape=(widths[i], widths[i + 1]),
                    initializer="lecun_normal" if i + 2 < len(widths) else last,
                )
                for i in range(len(widths) - 1)
            ]

        self.left = factors("u", width, self.rank, "lecun_normal")
        self.right = factors("v", self.rank, self.units, "he_normal")
        self.bias = self.add_weight(
            name="bias", shape=(self.units,), initializer="zeros"
        )

        def identity(shape, dtype=None):
            return ops.reshape(ops.eye(self.rank, dtype=dtype), shape)

        self.core = keras.layers.Dense(
            self.rank * self.rank,
            bias_initializer=identity,
            dtype=self.dtype_policy,
            name="core",
        )
        self.core.build(condition_shape)

    def call(self, inputs, condition):
        """Maps (batch, width) and (batch, any) to (batch, units)."""
        core = ops.reshape(self.core(condition), (-1, self.rank, self.rank))
        x = ops.matmul(inputs, _product(self.left))  # (B, rank)
        x = ops.squeeze(ops.matmul(ops.expand_dims(x, 1), core), 1)
        x = self.activation(ops.matmul(x, _product(self.right)) + self.bias)
        hidden_units.note(self.path, (x, 0))
        return x


@keras.saving.register_keras_serializable("tfmtl")
class APG(Layer):
    """Adaptive Parameter Generation: a network whose weights are made for each row.

        S_i = reshape(A z_i + a)
        y_i = activation(U (S_i (V x_i)) + b),  U = U_l U_r,  V = V_l V_r

    z_i is the condition, by which rows are told apart: the domain ("group-wise"), user
    and item ("mix-wise"), or the layer's own input ("self-wise"). U and V are common to
    all rows; each is the product of two matrices, wider in between than the rank
    (over-parametrisation). The products are taken from the right, so W_i = U S_i V is
    never made.

    Deviations from the paper: S_i is made by one linear layer and starts near the
    identity, the bias is common to all rows. The paper has one task; here the network
    is shared by all.

    Args:
        tasks: List of strings. Names of the tasks, which share the network.
        units: Tuple of integers. Layer widths. Defaults to (256, 128).
        rank: Integer. Width of S, at most that of a layer. Defaults to 32.
        inner_units: Integer. Width between the factors of U and of V; 0: one matrix
            each. Defaults to 64.
        activation: String or callable. Defaults to "relu".

    Call arguments:
        inputs: Tensor of shape (batch, width).
        condition: Tensor of shape (batch, any), z. Defaults to each layer's own input.

    Output: dict {task: (batch, units[-1])}, the same tensor for each task.

    Example:
    >>> ops = keras.ops
    >>> out = APG(["click"], (8,), rank=4)(ops.ones((4, 5)), ops.ones((4, 3)))
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (4, 8)}

    References:
        - [APG](https://arxiv.org/abs/2203.16218)
    """

    def __init__(
        self,
        tasks,
        units=(256, 128),
        rank=32,
        inner_units=64,
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.units = _errors.check_units("units", units)
        _errors.check_positive("rank", rank)
        if inner_units != 0:
            _errors.check_positive("inner_units, if there are some,", inner_units)
        self.layers = [
            GeneratedDense(
                width,
                rank,
                inner_units,
                activation,
                dtype=self.dtype_policy,
                name=f"generated_{i}",
            )
            for i, width in enumerate(self.units)
        ]

    def build(self, inputs_shape, condition_shape=None):
        """Builds the layers."""
        _errors.check_rank(self, inputs_shape, 2)
        for layer in self.layers:
            layer.build(inputs_shape, condition_shape or inputs_shape)
            inputs_shape = (*inputs_shape[:-1], layer.units)

    def call(self, inputs, condition=None):
        """Maps (batch, width) and (batch, any) to {task: (batch, units[-1])}."""
        x = inputs
        for layer in self.layers:
            x = layer(x, x if condition is None else condition)
        return dict.fromkeys(self.tasks, x)

    def compute_output_shape(self, inputs_shape, condition_shape=None):
        """Returns {task: (batch, units[-1])}."""
        width = self.units[-1] if self.units else inputs_shape[-1]
        return dict.fromkeys(self.tasks, (inputs_shape[0], width))


def _product(factors):
    """Returns the matrix that one or two factors make."""
    return factors[0] if len(factors) == 1 else ops.matmul(*factors)
