"""Sub-Network Routing: learnt connections between layers of small networks."""

import math

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.dnn import DNN
from tfmtl.layers.blocks.experts import Experts
from tfmtl.layers.blocks.gates import note_gate
from tfmtl.layers.blocks.layer import Layer

# The hard concrete distribution, with the usual numbers of Louizos et al.
_TEMPERATURE, _LOW, _HIGH = 2 / 3, -0.1, 1.1  # beta, gamma, zeta
# Connections start nearly open (z = .96): half open, the noise drowns the first steps.
_START = 2.0


class _ExpectedOpen(keras.regularizers.Regularizer):
    """Gives lambda times the expected number of switches that are not 0."""

    def __init__(self, penalty):
        self.penalty = penalty

    def __call__(self, log_alpha):
        shift = _TEMPERATURE * math.log(-_LOW / _HIGH)
        return self.penalty * ops.sum(ops.sigmoid(log_alpha - shift))


@keras.saving.register_keras_serializable("tfmtl")
class SubNetworkRouting(Layer):
    """Connects every sender to every receiver by a switch that can learn to be off.

        v_i = sum_j z_ij W_ij u_j  ("trans"),   v_i = sum_j z_ij u_j  ("aver")

    z_ij follows the hard concrete distribution, for a uniform number u of one draw a
    batch in training:

        s = sigmoid((log u - log(1 - u) + log alpha_ij) / beta)
        z = clip(s (zeta - gamma) + gamma, 0, 1)

    In inference there is no noise: z = clip(sigmoid(log alpha) (zeta - gamma) + gamma,
    0, 1). The expected number of open switches is part of the model's loss:

        lambda sum_ij sigmoid(log alpha_ij - beta log(-gamma / zeta))

    Args:
        receivers: List of strings. Names of what the outputs feed.
        connection: "trans" or "aver". Defaults to "trans".
        penalty: Float. lambda. Defaults to 1e-4.

    Input shape: (batch, senders, units). Output shape: (batch, receivers, units).

    Example:
    >>> SubNetworkRouting(["click", "like"])(keras.ops.ones((4, 3, 8))).shape
    TensorShape([4, 2, 8])

    References:
        - [SNR](https://doi.org/10.1609/aaai.v33i01.3301216)
        - [Learning Sparse Neural Networks through L0
          Regularization](https://arxiv.org/abs/1712.01312), eq. 10 to 13.
    """

    def __init__(self, receivers, connection="trans", penalty=1e-4, **kwargs):
        super().__init__(**kwargs)
        self.receivers = list(receivers)
        _errors.check_positive("Number of receivers", len(self.receivers))
        _errors.check_choice("connection", connection, ("trans", "aver"))
        self.connection = connection
        if not penalty >= 0:
            raise ValueError(f"penalty must be >= 0. Received: {penalty!r}.")
        self.penalty = penalty
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape):
        """Creates log alpha, (receivers, senders), and the W_ij."""
        _errors.check_rank(self, input_shape, 3)
        senders, width = input_shape[1:]
        self.log_alpha = self.add_weight(
            name="log_alpha",
            shape=(len(self.receivers), senders),
            initializer=keras.initializers.RandomNormal(_START, 0.01),
            regularizer=_ExpectedOpen(self.penalty) if self.penalty else None,
            autocast=False,
        )
        if self.connection == "trans":
            # Glorot's range of one W_ij; the stack would have the fan of all.
            limit = math.sqrt(6 / (2 * width))
            self.kernel = self.add_weight(
                name="kernel",
                shape=(senders, width, len(self.receivers), width),
                initializer=keras.initializers.RandomUniform(-limit, limit),
            )

    def switches(self, training=None):
        """Returns z, (receivers, senders), drawn anew in training.

        Args:
            training: Boolean. Whether to draw; defaults to False.
        """
        logits = ops.convert_to_tensor(self.log_alpha)
        if training:
            u = keras.random.uniform(
                logits.shape, 1e-6, 1 - 1e-6, "float32", seed=self.seed_generator
            )
            logits = (ops.log(u) - ops.log(1 - u) + logits) / _TEMPERATURE
        return ops.clip(ops.sigmoid(logits) * (_HIGH - _LOW) + _LOW, 0, 1)

    def call(self, inputs, training=None):
        """Maps (batch, senders, units) to (batch, receivers, units)."""
        z = self.switches(training)  # (R, S)
        labels = [str(j) for j in range(inputs.shape[1])]
        for name, row in zip(self.receivers, ops.unstack(z), strict=True):
            note_gate(f"{self.path}/{name}", row, labels)
        z = ops.cast(z, self.compute_dtype)
        if self.connection == "aver":
            return ops.matmul(z, inputs)
        senders, width = inputs.shape[1:]
        receivers = len(self.receivers)
        kernel = self.kernel * ops.reshape(ops.transpose(z), (senders, 1, receivers, 1))
        kernel = ops.reshape(kernel, (senders * width, receivers * width))
        x = ops.matmul(ops.reshape(inputs, (-1, senders * width)), kernel)
        return ops.reshape(x, (-1, receivers, width))

    def compute_output_shape(self, input_shape):
        """Returns (batch, receivers, units)."""
        return (input_shape[0], len(self.receivers), input_shape[2])


@keras.saving.register_keras_serializable("tfmtl")
class SNR(Layer):
    """Levels of sub-networks with learnt routing between them and to the tasks.

        u_j^1 = f_j^1(x),  u_i^l = f_i^l(v_i^l),  tower_k <- v_k

    where v^l and v are `SubNetworkRouting` of the level below.

    Deviations from the paper: only its abstract and the hard concrete distribution
    were at hand. Two levels, four sub-networks a level, connections that start open
    (log alpha about 2) and the weight of the penalty are our reconstruction: they
    train steadily, and whoever has data should search them.

    Args:
        tasks: List of strings. Names of the tasks.
        subnetworks: Integer. Sub-networks of each level. Defaults to 4.
        units: Tuple of tuples of integers. One entry a level: the layer widths of its
            sub-networks. Defaults to ((256,), (128,)).
        connection: "trans" (with a matrix W_ij for each connection) or "aver". Defaults
            to "trans".
        penalty: Float. lambda. Defaults to 1e-4.
        activation: String or callable. Defaults to "relu".

    Input shape: (batch, width). Output: dict `{task: (batch, units[-1][-1])}`.

    Example:
    >>> layer = SNR(["click", "like"], units=((8,), (8,)))
    >>> {task: tuple(x.shape) for task, x in layer(keras.ops.ones((4, 5))).items()}
    {'click': (4, 8), 'like': (4, 8)}

    References:
        - [SNR](https://doi.org/10.1609/aaai.v33i01.3301216)
    """

    def __init__(
        self,
        tasks,
        subnetworks=4,
        units=((256,), (128,)),
        connection="trans",
        penalty=1e-4,
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        _errors.check_positive("subnetworks", subnetworks)
        self.subnetworks = subnetworks
        self.units = _errors.check_levels("units", units)
        self.connection = connection
        self.penalty = penalty
        self.activation = keras.activations.get(activation)
        self.first = Experts(
            subnetworks,
            self.units[0],
            self.activation,
            dtype=self.dtype_policy,
            name="level_1",
        )
        names = [f"subnetwork_{i}" for i in range(subnetworks)]
        self.routings = [
            SubNetworkRouting(
                self.tasks if level == len(self.units) else names,
                connection,
                penalty,
                dtype=self.dtype_policy,
                name=f"routing_{level}",
            )
            for level in range(1, len(self.units) + 1)
        ]
        self.upper = [
            DNN(
                units,
                self.activation,
                dtype=self.dtype_policy,
                name=f"level_{level}_{name}",
            )
            for level, units in enumerate(self.units[1:], start=2)
            for name in names
        ]

    def build(self, input_shape):
        """Builds the sub-networks and the routings."""
        self.first.build(input_shape)
        for level, routing in enumerate(self.routings, start=1):
            width = self.units[level - 1][-1]
            routing.build((None, self.subnetworks, width))
            for network in self._level(level + 1):
                network.build((None, width))

    def _level(self, level):
        """Returns the sub-networks of a level above the first."""
        start = (level - 2) * self.subnetworks
        return self.upper[start : start + self.subnetworks]

    def call(self, inputs, training=None):
        """Maps (batch, width) to {task: (batch, units)}."""
        u = self.first(inputs)  # (B, M, U)
        for level, routing in enumerate(self.routings[:-1], start=2):
            v = ops.unstack(routing(u, training=training), axis=1)  # M times (B, U)
            pairs = zip(self._level(level), v, strict=True)
            u = ops.stack([network(x) for network, x in pairs], axis=1)
        v = self.routings[-1](u, training=training)  # (B, K, U)
        return dict(zip(self.tasks, ops.unstack(v, axis=1), strict=True))

    def compute_output_shape(self, input_shape):
        """Returns `{task: (batch, units[-1][-1])}`."""
        return dict.fromkeys(self.tasks, (input_shape[0], self.units[-1][-1]))
