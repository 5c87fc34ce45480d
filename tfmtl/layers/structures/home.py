"""Hierarchy of Multi-gate Experts: groups of tasks share before single tasks do."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.experts import NormalisedExperts
from tfmtl.layers.blocks.gates import SoftmaxGate, note_gate
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.structures.ple import SHARED


class SelfGated(Layer):
    """Mixes experts by a softmax gate, and its own once more by a self gate."""

    def __init__(self, own, others, **kwargs):
        super().__init__(**kwargs)
        self.own = own
        policy = self.dtype_policy
        labels = own + others
        self.gate = SoftmaxGate(len(labels), labels, dtype=policy, name="gate")
        self.self_gate = keras.layers.Dense(
            len(own),
            "sigmoid" if len(own) == 1 else "softmax",
            use_bias=False,
            dtype=policy,
            name="self_gate",
        )

    def build(self, selector_shape, banks_shape=None):
        """Builds both gates."""
        self.gate.build(selector_shape)
        self.self_gate.build(selector_shape)

    def call(self, selector, banks):
        """Maps (B, width) and a list of (B, E, U), its own first, to (B, U)."""
        weights = self.self_gate(selector)  # (B, E)
        note_gate(f"{self.path}/self_gate", weights, self.own)
        own = ops.matmul(ops.expand_dims(weights, 1), banks[0])
        return self.gate(selector, banks) + ops.squeeze(own, 1)


@keras.saving.register_keras_serializable("tfmtl")
class HoME(Layer):
    """Hierarchy of Multi-gate Experts: those of all, of a group of tasks, of a task.

        z_g = gate_g(x) [E_g(x), E_s(x)] + self_g(x) E_g(x)          of a group g
        z_s = gate_s(x) [E_s(x), E_g(x) of all g] + self_s(x) E_s(x)
        y_t = gate_t(u) [E_t(z_g), E'_g(z_g), E'_s(z_s)] + self_t(u) E_t(z_g)
        u = [z_g, z_s],  g the group of t

    Groups are of tasks that are alike, such as kinds of watching and of interacting.
    Their experts stand between those of all and those of a task, so that no task takes
    the shared ones for itself. E are `NormalisedExperts`. gate is a softmax; self is a
    sigmoid where there is one expert, else a softmax: it keeps up the gradient of
    experts that their gate neglects, such as those of a rare task.

    Reconstruction: of the paper the abstract was at hand, and public code after it.
    There a feature gate may be a mix of several of low rank. Each expert is one layer,
    gates have no bias.

    Args:
        tasks: List of strings. Names of the tasks.
        groups: Dict {name: list of tasks}, each task in one. Defaults to one of all.
        shared_experts: Integer. Experts of all, in each of both levels. Defaults to 1.
        group_experts: Integer. Experts of each group, in each level. Defaults to 1.
        task_experts: Integer. Experts of each task. Defaults to 1.
        group_units: Integer. Width of the experts of the first level, in which groups
            are mixed. Defaults to 256.
        task_units: Integer. Width of those of the second. Defaults to 128.
        gate_rank: Integer. Rank of the feature gates. Defaults to 16.

    Input shape: (batch, width). Output: dict {task: (batch, task_units)}.

    Example:
    >>> layer = HoME(["click", "watch"], group_units=16, task_units=8)
    >>> {task: tuple(x.shape) for task, x in layer(keras.ops.ones((4, 5))).items()}
    {'click': (4, 8), 'watch': (4, 8)}

    References:
        - [HoME](https://arxiv.org/abs/2408.05430)
    """

    def __init__(
        self,
        tasks,
        groups=None,
        shared_experts=1,
        group_experts=1,
        task_experts=1,
        group_units=256,
        task_units=128,
        gate_rank=16,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.groups = _check_groups(groups, self.tasks)
        self.group_of = {t: g for g, members in self.groups.items() for t in members}
        self.units = group_units, task_units
        numbers = dict.fromkeys(self.groups, group_experts)
        numbers[SHARED] = shared_experts
        policy = self.dtype_policy

        def bank(number, level, name):
            return NormalisedExperts(
                number,
                self.units[level],
                gate_rank,
                dtype=policy,
                name=f"{name}_experts_{level + 1}",
            )

        def names(name, number):
            return [f"{name}_{i}" for i in range(number)]

        def mixing(name, own, others):
            return SelfGated(own, sum(others, []), dtype=policy, name=name)

        self.below, self.above = (
            {name: bank(number, level, name) for name, number in numbers.items()}
            for level in range(2)
        )
        self.experts = {task: bank(task_experts, 1, f"{task}_own") for task in tasks}
        labels = {name: names(name, number) for name, number in numbers.items()}
        shared, groups = labels[SHARED], [labels[g] for g in self.groups]
        self.group_gates = {
            g: mixing(f"{g}_group", labels[g], [shared]) for g in self.groups
        }
        self.group_gates[SHARED] = mixing("shared_group", shared, groups)
        self.gates = {
            task: mixing(
                task, names(task, task_experts), [labels[self.group_of[task]], shared]
            )
            for task in self.tasks
        }

    def build(self, input_shape):
        """Builds experts and gates of both levels."""
        lower, upper = ((input_shape[0], width) for width in self.units)
        for name, gate in self.group_gates.items():
            self.below[name].build(input_shape)
            gate.build(input_shape)
            self.above[name].build(lower)
        for task, gate in self.gates.items():
            self.experts[task].build(lower)
            gate.build((input_shape[0], 2 * self.units[0]))

    def call(self, inputs, training=None):
        """Maps (batch, width) to {task: (batch, task_units)}."""
        experts = {n: e(inputs, training=training) for n, e in self.below.items()}
        shared, groups = experts[SHARED], [experts[g] for g in self.groups]
        z = {g: self.group_gates[g](inputs, [experts[g], shared]) for g in self.groups}
        z[SHARED] = self.group_gates[SHARED](inputs, [shared, *groups])
        experts = {n: e(z[n], training=training) for n, e in self.above.items()}
        outputs = {}
        for task, gate in self.gates.items():
            group = self.group_of[task]
            own = self.experts[task](z[group], training=training)
            selector = ops.concatenate([z[group], z[SHARED]], axis=-1)
            outputs[task] = gate(selector, [own, experts[group], experts[SHARED]])
        return outputs

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, task_units)}."""
        return dict.fromkeys(self.tasks, (input_shape[0], self.units[1]))


def _check_groups(groups, tasks):
    """Returns {group: tasks}; raises unless each task is in one group."""
    if groups is None:
        return {"all": tasks}
    lists = isinstance(groups, dict) and not any(
        isinstance(members, str) for members in groups.values()
    )
    if not lists:
        raise ValueError(
            f"groups must be a dict {{name: list of tasks}}. Received: {groups!r}."
        )
    for name in groups:
        _errors.check_name("a group", name)
        if name in (SHARED, *tasks):
            raise ValueError(
                "A group must have a name of its own, neither 'shared' nor a task's. "
                f"Received: {name!r}."
            )
    members = [task for of_group in groups.values() for task in of_group]
    if sorted(members) != sorted(tasks):
        raise ValueError(
            f"groups must name every task once. Received: {sorted(members)} for tasks "
            f"{sorted(tasks)}."
        )
    return {name: list(of_group) for name, of_group in groups.items()}
