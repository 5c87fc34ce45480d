"""Experts of each task that all tasks read and only their own task's loss moves."""

import keras
from keras import ops

from tfmtl.layers.structures.ple import CGC, PLE, SHARED


class StemLevel(CGC):
    """A level of experts with All Forward, Task-specific Backward gates."""

    def _seen(self, name):
        return [*self.experts]

    def _mix(self, name, selectors, experts):
        if name != SHARED:
            selectors = {name: selectors[name] + selectors[SHARED]}
            experts = {
                bank: x if bank in (name, SHARED) else ops.stop_gradient(x)
                for bank, x in experts.items()
            }
        return super()._mix(name, selectors, experts)


@keras.saving.register_keras_serializable("tfmtl")
class STEM(PLE):
    """STEM-Net: All Forward, Task-specific Backward gates over every task's experts.

        g_t = softmax(W_t (x_t + x_s)) [.., sg(E_j(x_j)), .., E_t(x_t), E_s(x_s)]

    Task t's gate mixes the experts of all tasks and the shared ones; sg stops the
    gradient of every expert that is another task's. So the loss of t learns from what
    the others have learnt and does not move it: x_t, the task's own embedding, is moved
    by its own task alone. That is of a single level. With more, the gate of the shared
    part, in every level but the last, mixes all experts by x_s and stops none: through
    it a task's loss moves the others' experts below the last level, and their x_t.

    Deviations from the paper's code: gates are linear without bias, as in PLE; there
    they have hidden layers, (128, 64) by default. Experts have two layers, as PLE has
    levels; there three, (512, 256, 128).

    Args:
        tasks: List of strings. Names of the tasks.
        shared_experts: Integer, or list of interactions. Shared experts of each level.
            Defaults to 1.
        task_experts: The same for each task, or dict {task: the same}. Experts of each
            task and level. Defaults to 1.
        expert_units: Tuple of tuples of integers. One entry a level: the layer widths
            of its experts. Defaults to ((256, 128),), a single level.
        activation: String or callable of the experts. Defaults to "relu".

    Input: dict {task: (batch, width), "shared": (batch, width)}, all of one width; or
    one tensor (batch, width) that all experts read. Of fields, (batch, fields, dim), if
    an interaction takes them, which a single level can.

    Output: dict `{task: (batch, expert_units[-1][-1])}`.

    Example:
    >>> x = keras.ops.ones((4, 5))
    >>> layer = STEM(["click", "like"], expert_units=((8,),))
    >>> out = layer({"click": x, "like": x, "shared": x})
    >>> {task: tuple(x.shape) for task, x in out.items()}
    {'click': (4, 8), 'like': (4, 8)}

    References:
        - [STEM](https://arxiv.org/abs/2308.13537)
    """

    _level = StemLevel

    def __init__(
        self,
        tasks,
        shared_experts=1,
        task_experts=1,
        expert_units=((256, 128),),
        activation="relu",
        **kwargs,
    ):
        super().__init__(
            tasks, shared_experts, task_experts, expert_units, activation, **kwargs
        )
