"""MMoE of several levels."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.dnn import DNN
from tfmtl.layers.experts import Experts
from tfmtl.layers.gates import SoftmaxGate


@keras.saving.register_keras_serializable("tfmtl")
class MLMMoE(keras.layers.Layer):
    """Multi-level MMoE: each expert above the first level has a gate of its own.

        E_i^1 = f_i^1(x)
        E_i^l = f_i^l(sum_j softmax(W_i^l x)_j E_j^{l-1})    for each expert of level l
        tower_k <- sum_j softmax(W_k x)_j E_j^L

    Every gate's selector is the raw input x; in PLE it is the output of the level
    below.

    Args:
        tasks: List of strings. Names of the tasks.
        experts: Integer. Experts of each level. Defaults to 4.
        expert_units: Tuple of tuples of integers. One entry a level: the layer widths
            of its experts. Defaults to ((256,), (128,)); one level is MMoE.
        activation: String or callable of the experts. Defaults to "relu".

    Input shape: (batch, width). Output: dict {task: (batch, expert_units[-1][-1])}.

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
        _errors.check_positive("experts", experts)
        self.experts = experts
        self.expert_units = _errors.check_levels("expert_units", expert_units)
        self.activation = keras.activations.get(activation)

        def gate(level, reader):
            return SoftmaxGate(
                experts,
                [f"level_{level}_expert_{i}" for i in range(experts)],
                dtype=self.dtype_policy,
                name=f"{reader}_gate",
            )

        self.first = Experts(
            experts,
            self.expert_units[0],
            self.activation,
            dtype=self.dtype_policy,
            name="level_1",
        )
        self.upper = {}  # {name: an expert that reads a mix of the level below}
        self.gates = {}  # {name of the reader: gate}
        for level, units in enumerate(self.expert_units[1:], start=2):
            for name in self._names(level):
                self.upper[name] = DNN(
                    units, self.activation, dtype=self.dtype_policy, name=name
                )
                self.gates[name] = gate(level - 1, name)
        for task in self.tasks:
            self.gates[f"task_{task}"] = gate(len(self.expert_units), task)

    def _names(self, level):
        return [f"level_{level}_expert_{i}" for i in range(self.experts)]

    def build(self, input_shape):
        """Builds the experts and gates."""
        self.first.build(input_shape)
        widths = [units[-1] for units in self.expert_units]
        for level, width in enumerate(widths[:-1], start=2):
            for name in self._names(level):
                self.gates[name].build(input_shape, (None, self.experts, width))
                self.upper[name].build((None, width))
        for task in self.tasks:
            self.gates[f"task_{task}"].build(
                input_shape, (None, self.experts, widths[-1])
            )

    def call(self, inputs):
        """Maps (batch, width) to {task: (batch, units)}."""
        experts = self.first(inputs)  # (B, E, U)
        for level in range(2, len(self.expert_units) + 1):
            experts = ops.stack(
                [
                    self.upper[name](self.gates[name](inputs, experts))
                    for name in self._names(level)
                ],
                axis=1,
            )
        return {
            task: self.gates[f"task_{task}"](inputs, experts) for task in self.tasks
        }

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, expert_units[-1][-1])}."""
        return dict.fromkeys(self.tasks, (input_shape[0], self.expert_units[-1][-1]))

    def get_config(self):
        """Returns every argument."""
        return {
            **super().get_config(),
            "tasks": self.tasks,
            "experts": self.experts,
            "expert_units": self.expert_units,
            "activation": keras.activations.serialize(self.activation),
        }
