"""Adaptive task-to-task fusion: every task sees the experts of all others."""

import keras
from keras import ops

from tfmtl.layers.structures.ple import CGC, PLE


class FusionLevel(CGC):
    """A level of fusion units, one a task and one for what they share."""

    _least_shared = 0

    def _seen(self, name):
        return [*self.experts]

    def build(self, input_shape):
        """Builds experts and gates, and creates v unless each unit has one expert."""
        super().build(input_shape)
        self.native = {}
        numbers = {name: len(bank.labels) for name, bank in self.experts.items()}
        if max(numbers.values()) == 1:
            return
        for name in self.gates:
            limit = numbers[name] ** -0.5
            self.native[name] = self.add_weight(
                name=f"{name}_native",
                shape=(numbers[name],),
                initializer=keras.initializers.RandomUniform(-limit, limit),
            )

    def _residual(self):
        """Returns v as a matrix (gates, experts), 0 but for a unit's own experts."""
        rows, start = [], 0
        numbers = [len(bank.labels) for bank in self.experts.values()]
        for name, number in zip(self.experts, numbers, strict=True):
            if name in self.gates:
                own = self.native.get(name, ops.ones(number, self.compute_dtype))
                rest = sum(numbers) - start - number
                rows.append(ops.pad(ops.convert_to_tensor(own), [[start, rest]]))
            start += number
        return ops.stack(rows)

    def _mix_all(self, selectors, experts):
        # All gates see the same: one product, whose cost is not that of T^2 small ones.
        experts = ops.concatenate(list(experts.values()), axis=1)  # (B, E, U)
        weights = [
            gate.weigh(selectors[name], experts) for name, gate in self.gates.items()
        ]
        weights = ops.stack(weights, axis=1) + self._residual()  # (B, T, E)
        mixed = ops.unstack(ops.matmul(weights, experts), axis=1)
        return dict(zip(self.gates, mixed, strict=True))


@keras.saving.register_keras_serializable("tfmtl")
class AdaTT(PLE):
    """Adaptive Task-to-Task fusion: gates over all experts, own experts as a residual.

        f_t^l = softmax(W_t^l f_t^{l-1}) [E_1^l, ..., E_T^l, E_s^l] + v_t^l E_t^l

    E_t^l are the m_t experts of task t at level l, which read f_t^{l-1}; f_t^0 = x. The
    gate fuses the experts of every task, and the residual keeps what the task's own
    have learnt. v_t^l are m_t trainable numbers, the same for all rows; where no unit
    has more than one expert, they are 1. Units of shared experts are made the same way,
    and fused in every level but the last. Without shared experts it is AdaTT-sp.

    Deviations from the paper's code: gates have no bias, as in PLE.

    Args:
        tasks: List of strings. Names of the tasks.
        shared_experts: Integer, 0 for AdaTT-sp, or list of interactions. Shared experts
            of each level. Defaults to 1.
        task_experts: The same for each task, at least 1, or dict {task: the same}.
            Experts of each task and level. Defaults to 1.
        expert_units: Tuple of tuples of integers. One entry a level: the layer widths
            of its experts. Defaults to ((256,), (128,)).
        activation: String or callable of the experts. Defaults to "relu".

    Input shape: (batch, width), or (batch, fields, dim) if an interaction takes fields,
    which a single level can. Output: dict `{task: (batch, expert_units[-1][-1])}`.

    Example:
    >>> layer = AdaTT(["click", "like"], expert_units=((16,), (8,)))
    >>> {task: tuple(x.shape) for task, x in layer(keras.ops.ones((4, 5))).items()}
    {'click': (4, 8), 'like': (4, 8)}

    References:
        - [AdaTT](https://doi.org/10.1145/3580305.3599769)
    """

    _level = FusionLevel
