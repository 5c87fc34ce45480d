"""PLE's loss weights, which decay as training goes on."""

import keras
import numpy as np
from keras import ops

from tfmtl import _errors
from tfmtl.training.balancing.loss_weighting import LossWeighting


@keras.saving.register_keras_serializable("tfmtl.training")
class Decay(LossWeighting):
    """Weights that decay at a rate of each task's own, PLE's eq. 10.

        w_k(t) = w_k,0 gamma_k^t

    w_k,0 is `Task.weight`. A task with gamma below 1 leads at first and fades; one with
    gamma above 1 gains. Under optimizers that do not see the scale of a gradient, such
    as Adam, only the ratio between the tasks' weights matters.

    t is the number of the epoch as `fit` counts it, from 0. So `fit` with
    `initial_epoch=3` starts at gamma^3, and a second `fit` without it at gamma^0 again,
    as with Keras's own schedules. A step's t counts on from where the saved state was.

    Args:
        gamma: Float, or dict {task: float} for some tasks; the others keep their
            weight. Above 0. Defaults to 0.9.
        by: "epoch" or "step", what t counts. Defaults to "epoch".

    Raises:
        ValueError: If a gamma is not above 0; in `compile`, if it names no task.

    Example:
    >>> import tfmtl
    >>> decay = Decay({"click": 0.5})
    >>> decay.start([tfmtl.Task("click", weight=2), tfmtl.Task("like")], [])
    >>> decay.begin_epoch(3)
    >>> decay.report()
    {'click': 0.25, 'like': 1.0}

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
    """

    def __init__(self, gamma=0.9, by="epoch", **kwargs):
        super().__init__(**kwargs)
        _errors.check_choice("by", by, ("epoch", "step"))
        for value in gamma.values() if isinstance(gamma, dict) else (gamma,):
            if not _errors.is_number(value) or not value > 0:
                raise ValueError(f"gamma must be a number above 0. Received: {gamma!r}")
        self.gamma = gamma
        self.by = by

    def start(self, tasks, variables):
        """Creates the counter."""
        super().start(tasks, variables)
        gamma, names = self.gamma, [task.name for task in tasks]
        if not isinstance(gamma, dict):
            gamma = dict.fromkeys(names, gamma)
        for name in gamma:
            _errors.check_choice("Each task of gamma", name, names)
        self.gammas = np.array([gamma.get(name, 1) for name in names], "float32")
        self.time = self.add_state("time", replicas="first")

    def multipliers(self):
        """Returns gamma_k^t."""
        return ops.power(self.gammas, ops.cast(self.time, "float32"))

    def update(self, losses, rows):
        """Counts the step."""
        if self.by == "step":
            self.time.assign_add(1)

    def begin_epoch(self, epoch):
        """Counts the epoch."""
        if self.by == "epoch":
            self.time.assign(epoch)
