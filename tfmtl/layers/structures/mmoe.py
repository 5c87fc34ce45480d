"""Mixtures of experts that all tasks share: one gate for all, or one a task."""

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
class MMoE(Layer):
    """Multi-gate Mixture-of-Experts: shared experts, one gate a task.

        g^k(x) = softmax(W_gk x)                                          (7)
        f^k(x) = sum_i g^k(x)_i f_i(x)                                    (6)

    Args:
        tasks: List of strings. Names of the tasks.
        experts: Integer, the number of DNN experts, or list of interactions: names, or
            dicts {"name": name, **options}, see `HeterogeneousExperts`. Defaults to 4.
        expert_units: Tuple of integers. Layer widths of an expert; interactions are
            projected to the last. Defaults to (256, 128).
        activation: String or callable of the experts. Defaults to "relu".

    Input shape: (batch, width), or (batch, fields, dim) if an interaction takes fields.

    Output: dict {task: (batch, expert_units[-1])}.

    Example:
    >>> out = MMoE(["click", "like"], expert_units=(8,))(keras.ops.ones((4, 5)))
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (4, 8), 'like': (4, 8)}

    References:
        - [Multi-gate Mixture-of-Experts](https://doi.org/10.1145/3219819.3220007)
    """

    def __init__(
        self, tasks, experts=4, expert_units=(256, 128), activation="relu", **kwargs
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.expert_units = _errors.check_units("expert_units", expert_units)
        self.experts = make_experts(
            check_experts("experts", experts),
            expert_units,
            activation,
            dtype=self.dtype_policy,
            name="experts",
        )
        labels = self.experts.labels
        self.takes_fields = takes_fields(self.experts)
        self.gates = {
            name: SoftmaxGate(
                len(labels),
                labels,
                dtype=self.dtype_policy,
                name=f"{name}_gate",
            )
            for name in self._gate_names()
        }

    def _gate_names(self):
        return self.tasks

    def build(self, input_shape):
        """Builds the experts and gates."""
        self.experts.build(input_shape)
        shape = self.experts.compute_output_shape(input_shape)
        for gate in self.gates.values():
            gate.build(flat_shape(input_shape), shape)

    def call(self, inputs):
        """Maps (batch, width) to {task: (batch, expert_units[-1])}."""
        experts = self.experts(inputs)  # (B, E, U)
        x = flat(inputs)  # (B, width)
        return {task: gate(x, experts) for task, gate in self.gates.items()}

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, expert_units[-1])}."""
        return dict.fromkeys(self.tasks, (input_shape[0], self.expert_units[-1]))


@keras.saving.register_keras_serializable("tfmtl")
class OMoE(MMoE):
    """One-gate Mixture-of-Experts: shared experts, one gate for all tasks.

        f(x) = sum_i softmax(W_g x)_i f_i(x)

    Args:
        tasks: List of strings. Names of the tasks.
        experts: Integer, the number of DNN experts, or list of interactions: names, or
            dicts {"name": name, **options}, see `HeterogeneousExperts`. Defaults to 4.
        expert_units: Tuple of integers. Layer widths of an expert; interactions are
            projected to the last. Defaults to (256, 128).
        activation: String or callable of the experts. Defaults to "relu".

    Input shape: (batch, width), or (batch, fields, dim) if an interaction takes fields.

    Output: dict {task: (batch, expert_units[-1])}, the same tensor for each task.

    Example:
    >>> out = OMoE(["click", "like"], expert_units=(8,))(keras.ops.ones((4, 5)))
    >>> out["click"] is out["like"]
    True

    References:
        - [Multi-gate Mixture-of-Experts](https://doi.org/10.1145/3219819.3220007),
          section 6.1.
    """

    def _gate_names(self):
        return ["shared"]

    def call(self, inputs):
        """Maps (batch, width) to {task: (batch, expert_units[-1])}."""
        return dict.fromkeys(self.tasks, super().call(inputs)["shared"])
