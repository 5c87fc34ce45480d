"""Progressive Layered Extraction: task experts, shared experts and their gates."""

import keras

from tfmtl import _errors
from tfmtl.layers.blocks.gates import SoftmaxGate
from tfmtl.layers.blocks.layer import Layer, written
from tfmtl.layers.interactions.registry import (
    check_experts,
    flat,
    flat_shape,
    make_experts,
    takes_fields,
)

SHARED = "shared"  # no task may have this name


@keras.saving.register_keras_serializable("tfmtl")
class CGC(Layer):
    """One extraction level: Customized Gate Control.

        w^k(x) = softmax(W_g^k x)                                         (3)
        S^k(x) = [E_(k,1), ..., E_(k,m_k), E_(s,1), ..., E_(s,m_s)]       (4)
        g^k(x) = w^k(x) S^k(x)                                            (2)

    Task k's gate sees task k's experts and the shared ones. With `shared_gate`, as in
    every level of PLE but the last, a further gate mixes all experts of the level.

    Args:
        tasks: List of strings. Names of the tasks.
        shared_experts: Integer, m_s, the number of DNN experts, or list of
            interactions: names, or dicts {"name": name, **options}, see
            `HeterogeneousExperts`. Defaults to 1.
        task_experts: The same for each task, m_k, or dict {task: the same}. Defaults
            to 1.
        expert_units: Tuple of integers. Layer widths of an expert; interactions are
            projected to the last. The paper's experts have a single layer. Defaults to
            (256,).
        shared_gate: Boolean. Whether the output holds "shared" too. Defaults to False.
        activation: String or callable of the experts. Defaults to "relu".

    Input: tensor (batch, width), which every expert and gate reads, or (batch, fields,
    dim) if an interaction takes fields. Or a dict {task: (batch, width), "shared":
    (batch, width)}: task k's experts and gate read entry k, the shared experts and the
    shared gate read "shared".

    Output: dict {task: (batch, expert_units[-1])}, with "shared" if `shared_gate`.

    Example:
    >>> out = CGC(["click", "like"], expert_units=(8,))(keras.ops.ones((4, 5)))
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (4, 8), 'like': (4, 8)}

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236),
          eq. 2 to 6.
    """

    _least_shared = 1

    def __init__(
        self,
        tasks,
        shared_experts=1,
        task_experts=1,
        expert_units=(256,),
        shared_gate=False,
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.shared_experts = check_experts(
            "shared_experts", shared_experts, self._least_shared
        )
        if not isinstance(task_experts, dict):
            task_experts = dict.fromkeys(self.tasks, task_experts)
        if set(task_experts) != set(self.tasks):
            raise ValueError(
                "task_experts must name every task once. Received: "
                f"{sorted(task_experts)} for tasks {sorted(self.tasks)}."
            )
        self.task_experts = {
            task: check_experts(f"task_experts of {task!r}", experts)
            for task, experts in task_experts.items()
        }
        self.expert_units = _errors.check_units("expert_units", expert_units)
        self.shared_gate = shared_gate
        self.activation = keras.activations.get(activation)

        def bank(experts, name):
            return make_experts(
                experts,
                self.expert_units,
                self.activation,
                dtype=self.dtype_policy,
                name=f"{name}_experts",
            )

        def names(bank):
            labels = self.experts[bank].labels
            return [f"{bank}_{label.removeprefix('expert_')}" for label in labels]

        def gate(labels, name):
            return SoftmaxGate(
                len(labels), labels, dtype=self.dtype_policy, name=f"{name}_gate"
            )

        given = {**self.task_experts, SHARED: self.shared_experts}
        self.experts = {
            name: bank(given[name], name)
            for name in (*self.tasks, SHARED)
            if given[name] != 0
        }
        self.takes_fields = any(map(takes_fields, self.experts.values()))
        self.gates = {
            name: gate(sum(map(names, self._seen(name)), []), name)
            for name in self.experts
            if name != SHARED or shared_gate
        }

    def _seen(self, name):
        """Returns the names of the banks whose experts a gate mixes."""
        return [*self.experts] if name == SHARED else [name, SHARED]

    def build(self, input_shape):
        """Builds the experts and gates."""
        _errors.check_keys(self, input_shape, self.experts)
        units = (None, None, self.expert_units[-1])
        for name, bank in self.experts.items():
            shape = input_shape[name] if isinstance(input_shape, dict) else input_shape
            _errors.check_rank(self, shape, 3 if self.takes_fields else 2)
            bank.build(shape if takes_fields(bank) else flat_shape(shape))
            if name in self.gates:
                self.gates[name].build(flat_shape(shape), units)

    def call(self, inputs):
        """Maps (batch, width), or one such tensor a task, to {task: (batch, units)}."""
        if not isinstance(inputs, dict):
            inputs = dict.fromkeys(self.experts, inputs)
        selectors = {name: flat(x) for name, x in inputs.items()}
        experts = {
            name: bank((inputs if takes_fields(bank) else selectors)[name])
            for name, bank in self.experts.items()
        }  # {name: (B, E, U)}
        return self._mix_all(selectors, experts)

    def _mix_all(self, selectors, experts):
        """Returns {name of a gate: (B, U)}, what each makes of {name: (B, E, U)}."""
        return {name: self._mix(name, selectors, experts) for name in self.gates}

    def _mix(self, name, selectors, experts):
        """Returns what a gate makes, (B, U), of {name: (B, E, U)}."""
        seen = [experts[bank] for bank in self._seen(name)]
        return self.gates[name](selectors[name], seen)

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, expert_units[-1])}."""
        if isinstance(input_shape, dict):
            input_shape = next(iter(input_shape.values()))
        return dict.fromkeys(self.gates, (input_shape[0], self.expert_units[-1]))


@keras.saving.register_keras_serializable("tfmtl")
class PLE(Layer):
    """Progressive Layered Extraction: CGC levels on top of each other.

        g^{k,j}(x) = w^{k,j}(g^{k,j-1}(x)) S^{k,j}(x),  g^{k,0} = g^{s,0} = x    (6)

    Level j's experts and gates of task k read the task's output of level j-1, the
    shared ones the shared output. The last level has no shared gate; one level is CGC.

    Args:
        tasks: List of strings. Names of the tasks.
        shared_experts: Integer, or list of interactions. Shared experts of each level.
            Defaults to 1.
        task_experts: The same for each task, or dict {task: the same}. Experts of each
            task and level. Defaults to 1. Interactions of fields need a single level,
            since levels above the first have no fields to read.
        expert_units: Tuple of tuples of integers. One entry a level: the layer widths
            of its experts. Defaults to ((256,), (128,)).
        activation: String or callable of the experts. Defaults to "relu".

    Input shape: (batch, width), or (batch, fields, dim) if an interaction takes fields.
    Output: dict `{task: (batch, expert_units[-1][-1])}`.

    Example:
    >>> layer = PLE(["click", "like"], expert_units=((16,), (8,)))
    >>> {task: tuple(x.shape) for task, x in layer(keras.ops.ones((4, 5))).items()}
    {'click': (4, 8), 'like': (4, 8)}

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
    """

    _level = CGC

    def __init__(
        self,
        tasks,
        shared_experts=1,
        task_experts=1,
        expert_units=((256,), (128,)),
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.shared_experts = written(shared_experts)
        self.task_experts = written(task_experts)
        self.expert_units = _errors.check_levels("expert_units", expert_units)
        self.activation = keras.activations.get(activation)
        self.levels = [
            self._level(
                self.tasks,
                self.shared_experts,
                self.task_experts,
                units,
                shared_gate=level < len(self.expert_units),
                activation=self.activation,
                dtype=self.dtype_policy,
                name=f"level_{level}",
            )
            for level, units in enumerate(self.expert_units, start=1)
        ]
        self.takes_fields = self.levels[0].takes_fields
        if self.takes_fields and len(self.levels) > 1:
            raise ValueError(
                "Experts that read fields need a single level: levels above the first "
                f"read (batch, width). Received: {len(self.levels)} levels, experts "
                f"{shared_experts!r} and {task_experts!r}."
            )

    def build(self, input_shape):
        """Builds the levels."""
        for level in self.levels:
            level.build(input_shape)
            input_shape = level.compute_output_shape(input_shape)

    def call(self, inputs):
        """Maps (batch, width) to {task: (batch, units)}."""
        x = inputs
        for level in self.levels:
            x = level(x)
        return x

    def compute_output_shape(self, input_shape):
        """Returns `{task: (batch, expert_units[-1][-1])}`."""
        for level in self.levels:
            input_shape = level.compute_output_shape(input_shape)
        return input_shape
