"""PEPNet's PPNet: task networks whose hidden units are scaled by user and item."""

import keras

from tfmtl import _errors
from tfmtl.layers.blocks.gate_nu import (
    GateNU,
    check_gate_input,
    gate_input,
    gate_input_width,
    split_scales,
)
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import hidden_units


@keras.saving.register_keras_serializable("tfmtl")
class PPNet(Layer):
    """Parameter Personalized Network: one network a task, scaled layer by layer.

        delta^(l) = GateNU_l(O_prior + stop_gradient(O_ep)),  l = 1..L    (7)
        H^(l)_t = relu(O^(l-1)_t W^(l)_t + b^(l)_t),  O^(0)_t the input
        O^(l)_t = delta^(l)_t * H^(l)_t                                   (8, 9)

    where + joins vectors and O_prior is the embedding of the prior features, those
    of the user, the item and its author. One gate a layer scales the units of all
    tasks at once: its outputs are split into one vector a task. Gradients reach
    O_prior through the gates, but O_ep only through the networks.

    Reconstruction: eq. 9 leaves open whether the input or the output of a layer is
    scaled. Here it is the output, as figure 3 draws it. The paper's last layer, a
    sigmoid unit, is not a part of this layer.

    Args:
        tasks: List of strings. Names of the tasks.
        units: Tuple of integers, or dict {task: tuple}. Hidden layers of each task; a
            task may have fewer than others, or none. Defaults to (100, 64).
        prior_features: List of strings. Names of the features of O_prior. Defaults to
            none: the gates depend on O_ep alone.
        gamma: Float. The largest scale, see `GateNU`. Defaults to 2.
        hidden_units: Integer. Width of each gate's hidden layer. Defaults to the
            number of its outputs.
        embedding_input: String. How the gates read O_ep: "stop_gradient"; "gradient"
            and "none", figure 5d's ablations. Defaults to "stop_gradient".
        activation: String or callable of the networks. Defaults to "relu".

    Call arguments:
        inputs: Tensor (batch, width), which every task's network reads, or a dict
            {task: (batch, width)}.
        vectors: Dict {feature: (batch, dim)}, in which the prior features are.
        scaled: Dict {feature: (batch, dim)}. O_ep, EPNet's output; without EPNet the
            same as `vectors`.

    Output: dict {task: (batch, units[-1])}.

    Example:
    >>> ops = keras.ops
    >>> vectors = {"user": ops.ones((2, 4)), "hour": ops.ones((2, 3))}
    >>> layer = PPNet(["click", "like"], units=(8,), prior_features=["user"])
    >>> out = layer(ops.ones((2, 5)), vectors, vectors)
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (2, 8), 'like': (2, 8)}

    References:
        - [PEPNet](https://arxiv.org/abs/2302.01115), eq. 7 to 9 and figure 3.
    """

    def __init__(
        self,
        tasks,
        units=(100, 64),
        prior_features=(),
        gamma=2.0,
        hidden_units=None,
        embedding_input="stop_gradient",
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        if not isinstance(units, dict):
            units = dict.fromkeys(self.tasks, units)
        if set(units) != set(self.tasks):
            raise ValueError(
                "units must name every task once. Received: "
                f"{sorted(units)} for tasks {sorted(self.tasks)}."
            )
        self.units = {
            task: _errors.check_units(f"units of {task!r}", units[task])
            for task in self.tasks
        }
        if not any(self.units.values()):
            raise ValueError(
                "PPNet scales hidden layers, so a task must have one. Received: "
                f"units={units!r}."
            )
        self.prior_features = check_gate_input(
            "prior_features", prior_features, embedding_input
        )
        self.gamma = gamma
        self.hidden_units = hidden_units
        self.embedding_input = embedding_input
        self.activation = keras.activations.get(activation)
        self.dense = {
            f"{task}_{i}": keras.layers.Dense(
                width,
                activation=self.activation,
                dtype=self.dtype_policy,
                name=f"{task}_{i}",
            )
            for task, widths in self.units.items()
            for i, width in enumerate(widths, start=1)
        }
        self.gates = [
            GateNU(
                sum(self.widths(i).values()),
                gamma,
                hidden_units,
                dtype=self.dtype_policy,
                name=f"gate_{i + 1}",
            )
            for i in range(max(map(len, self.units.values())))
        ]

    @property
    def networks(self) -> dict[str, list[keras.layers.Dense]]:
        """{task: its hidden layers, the lowest first}."""
        return {
            task: [self.dense[f"{task}_{i}"] for i in range(1, len(widths) + 1)]
            for task, widths in self.units.items()
        }

    def widths(self, layer: int) -> dict[str, int]:
        """Returns {task: width} of the tasks that have a layer of this index."""
        return {
            task: widths[layer]
            for task, widths in self.units.items()
            if layer < len(widths)
        }

    def build(self, inputs_shape, vectors_shape, scaled_shape):
        """Builds the networks and the gates."""
        _errors.check_keys(self, inputs_shape, self.tasks)
        for task, network in self.networks.items():
            shape = (
                inputs_shape[task] if isinstance(inputs_shape, dict) else inputs_shape
            )
            for dense in network:
                dense.build(shape)
                shape = dense.compute_output_shape(shape)
        width = gate_input_width(
            self.prior_features, vectors_shape, scaled_shape, self.embedding_input
        )
        for gate in self.gates:
            gate.build((None, width))

    def call(self, inputs, vectors, scaled):
        """Maps (batch, width), or one such tensor a task, to {task: (batch, units)}."""
        selector = gate_input(
            "prior_features",
            self.prior_features,
            vectors,
            scaled,
            self.embedding_input,
        )
        if not isinstance(inputs, dict):
            inputs = dict.fromkeys(self.tasks, inputs)
        outputs = {task: inputs[task] for task in self.tasks}
        for i, gate in enumerate(self.gates):
            deltas = split_scales(gate.path, gate(selector), self.widths(i))
            for task, delta in deltas.items():  # delta: (B, U_t)
                dense = self.dense[f"{task}_{i + 1}"]
                units = dense(outputs[task])
                hidden_units.note(dense.path, (units, 0))
                outputs[task] = delta * units
        return outputs

    def compute_output_shape(self, inputs_shape, vectors_shape, scaled_shape):
        """Returns {task: (batch, units[-1])}."""
        shapes = {}
        for task, widths in self.units.items():
            shape = (
                inputs_shape[task] if isinstance(inputs_shape, dict) else inputs_shape
            )
            shapes[task] = (shape[0], widths[-1] if widths else shape[-1])
        return shapes
