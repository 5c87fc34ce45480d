"""Loss weights learnt as the noise of each task."""

import keras
import numpy as np
from keras import ops

from tfmtl.training.balancing.loss_weighting import LossWeighting, refuse_negative
from tfmtl.training.workers import replica_shares


@keras.saving.register_keras_serializable("tfmtl.training")
class Uncertainty(LossWeighting):
    """Homoscedastic uncertainty: a noisy task weighs less. Kendall et al., eq. 7 to 10.

        L = sum_k weight_k (c_k exp(-s_k) L_k + s_k / 2),    s_k = log sigma_k^2

    c_k is 1/2 for a regression (a Gaussian likelihood, eq. 7) and 1 for a binary task
    (a scaled softmax, eq. 10). The model's optimizer learns s_k, from 0 on, along with
    the layers: it settles where sigma_k^2 is L_k of a regression, 2 L_k of a binary
    task.

    Deviations from the paper: `Task.weight` multiplies a task's whole term; inside of
    it, on L_k alone, the s_k would learn it away. The Huber loss is taken for the
    Gaussian's square, which it is close to 0. In a batch without a row of a task, its
    s_k has no gradient.

    Raises:
        ValueError: In `compile`, if a loss can be below 0, as "ziln".

    Example:
    >>> import tfmtl
    >>> tasks = [tfmtl.Task("click"), tfmtl.Task("seconds", kind="regression")]
    >>> uncertainty = Uncertainty()
    >>> uncertainty.start(tasks, [])
    >>> uncertainty.report()
    {'click': 1.0, 'seconds': 0.5}

    References:
        - [Multi-Task Learning Using Uncertainty to Weigh Losses](
          https://arxiv.org/abs/1705.07115)
    """

    def start(self, tasks, variables):
        """Creates the log-variances."""
        refuse_negative(self, tasks)  # s_k would fall without end
        super().start(tasks, variables)
        self.factors = np.array(
            [1.0 if task.kind in ("binary", "classes") else 0.5 for task in tasks],
            "float32",
        )
        self.log_variance = self.add_weight(
            shape=(len(tasks),),
            initializer="zeros",
            dtype="float32",
            name="log_variance",
        )

    def multipliers(self):
        """Returns c_k exp(-s_k)."""
        return self.factors * ops.exp(-self.log_variance)

    def total(self, tasks, losses, rows):
        """Returns sum_k weight_k (c_k exp(-s_k) L_k + s_k / 2)."""
        seen = ops.stack([rows[task.name] for task in tasks]) > 0
        shares = replica_shares(rows)
        shares = ops.stack([shares[task.name] for task in tasks])
        # Without rows, s_k / 2 would push s_k down for nothing.
        penalty = shares * ops.where(seen, 0.5 * self.log_variance, 0.0)
        return super().total(tasks, losses, rows) + ops.sum(self.task_weights * penalty)
