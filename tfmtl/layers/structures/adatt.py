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

    def _mix(self, name, selectors, experts):
        own = experts[name]  # (B, m, U)
        if name in self.native:
            own = own * ops.expand_dims(self.native[name], -1)
        return super()._mix(name, selectors, experts) + ops.sum(own, axis=1)


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
