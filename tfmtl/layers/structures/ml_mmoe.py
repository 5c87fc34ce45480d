"""MMoE of several levels."""

import keras

from tfmtl import _errors
from tfmtl.layers.blocks.gates import SoftmaxGate
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.interactions.registry import (
    check_experts,
    flat,
    flat_shape,
    make_experts,
    takes_fields,
)


@keras.saving.register_keras_serializable("tfmtl")
class MLMMoE(Layer):
    """Multi-level MMoE: each expert above the first level has a gate of its own.

        E_i^1 = f_i^1(x)
        E_i^l = f_i^l(sum_j softmax(W_i^l x)_j E_j^{l-1})    for each expert of level l
        tower_k <- sum_j softmax(W_k x)_j E_j^L

    Every gate's selector is the raw input x; in PLE it is the output of the level
    below.

    Args:
        tasks: List of strings. Names of the tasks.
        experts: Integer, the number of DNN experts of each level, or list of
            interactions: names, or dicts {"name": name, **options}, see
            `HeterogeneousExperts`. Interactions of fields need a single level.
            Defaults to 4.
        expert_units: Tuple of tuples of integers. One entry a level: the layer widths
            of its experts. Defaults to ((256,), (128,)); one level is MMoE.
        activation: String or callable of the experts. Defaults to "relu".

    Input shape: (batch, width), or (batch, fields, dim) if an interaction takes fields.
    Output: dict `{task: (batch, expert_units[-1][-1])}`.

    Example:
    >>> layer = MLMMoE(["click", "like"], expert_units=((16,), (8,)))
    >>> {task: tuple(x.shape) for task, x in layer(keras.ops.ones((4, 5))).items()}
    {'click': (4, 8), 'like': (4, 8)}

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236),
          fig. 1 h).
    """

    def __init__(
        self,
        tasks,
        experts=4,
        expert_units=((256,), (128,)),
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.experts = check_experts("experts", experts)
        kinds = self.experts if isinstance(self.experts, list) else None
        self.expert_units = _errors.check_levels("expert_units", expert_units)
        self.activation = keras.activations.get(activation)

        def bank(experts, level, name):
            return make_experts(
                experts,
                self.expert_units[level - 1],
                self.activation,
                dtype=self.dtype_policy,
                name=name,
            )

        self.first = bank(self.experts, 1, "level_1")
        self.takes_fields = takes_fields(self.first)
        if self.takes_fields and len(self.expert_units) > 1:
            raise ValueError(
                "Experts that read fields need a single level: levels above the first "
                f"read (batch, width). Received: {len(self.expert_units)} levels with "
                f"experts {experts!r}."
            )
        self.labels = self.first.labels

        self.upper = {}  # {name: an expert that reads a mix of the level below}
        self.gates = {}  # {name of the reader: gate}

        def add_gate(level, reader):
            self.gates[reader] = SoftmaxGate(
                len(self.labels),
                [f"level_{level}_{label}" for label in self.labels],
                dtype=self.dtype_policy,
                name=f"{reader}_gate",
            )

        for level in range(2, len(self.expert_units) + 1):
            for i, name in enumerate(self._names(level)):
                self.upper[name] = bank([kinds[i]] if kinds else 1, level, name)
                add_gate(level - 1, name)
        for task in self.tasks:
            add_gate(len(self.expert_units), f"task_{task}")

    def _names(self, level):
        return [f"level_{level}_{label}" for label in self.labels]

    def build(self, input_shape):
        """Builds the experts and gates."""
        self.first.build(input_shape)
        selector, experts = flat_shape(input_shape), len(self.labels)
        widths = [units[-1] for units in self.expert_units]
        for level, width in enumerate(widths[:-1], start=2):
            for name in self._names(level):
                self.gates[name].build(selector, (None, experts, width))
                self.upper[name].build((None, width))
        for task in self.tasks:
            self.gates[f"task_{task}"].build(selector, (None, experts, widths[-1]))

    def call(self, inputs):
        """Maps (batch, width) to {task: (batch, units)}."""
        experts = self.first(inputs)  # (B, E, U)
        x = flat(inputs)  # (B, width)
        for level in range(2, len(self.expert_units) + 1):
            experts = [
                self.upper[name](self.gates[name](x, experts))
                for name in self._names(level)
            ]  # E of (B, 1, U)
        return {task: self.gates[f"task_{task}"](x, experts) for task in self.tasks}

    def compute_output_shape(self, input_shape):
        """Returns `{task: (batch, expert_units[-1][-1])}`."""
        return dict.fromkeys(self.tasks, (input_shape[0], self.expert_units[-1][-1]))
