"""Loss weights that follow how fast each task still learns."""

import keras
import tensorflow as tf
from keras import ops

from tfmtl import _errors
from tfmtl.training.balancing.loss_weighting import LossWeighting


@keras.saving.register_keras_serializable("tfmtl.training")
class DWA(LossWeighting):
    """Dynamic Weight Average: a task whose loss falls slowly weighs more.

        r_k = L_k(e - 1) / L_k(e - 2),    m_k = K exp(r_k / T) / sum_j exp(r_j / T)

    Liu et al., eq. 7; L_k(e) is the mean training loss over the rows of epoch e, so the
    m_k change once an epoch and sum to the number of tasks K. They are 1 in the first
    two epochs.

    Deviations from the paper: r_k is 1 for a task that had no rows, or a loss of 0, in
    one of the two epochs before.

    Args:
        temperature: Float, above 0. T; the larger, the more equal the weights. Defaults
            to 2, the paper's choice.

    Raises:
        ValueError: If the temperature is not above 0.

    Example:
    >>> DWA(temperature=1.0).get_config()["temperature"]
    1.0

    References:
        - [End-to-End Multi-Task Learning with Attention](
          https://arxiv.org/abs/1803.10704)
    """

    def __init__(self, temperature=2.0, **kwargs):
        super().__init__(**kwargs)
        if not (_errors.is_number(temperature) and temperature > 0):
            raise ValueError(f"temperature must be above 0. Received: {temperature!r}.")
        self.temperature = temperature

    def start(self, tasks, variables):
        """Creates the history of losses."""
        super().start(tasks, variables)
        shape = (len(tasks),)
        self.sums = self.add_state("sums", shape, replicas="sum")  # of this epoch
        self.rows = self.add_state("rows", shape, replicas="sum")
        # The means of the last two epochs; 0 for one that is not known.
        self.last = self.add_state("last", shape)
        self.before = self.add_state("before", shape)

    def multipliers(self):
        """Returns m_k."""
        known = ops.logical_and(self.last > 0, self.before > 0)
        ratio = self.last / ops.where(known, self.before, 1.0)
        ratio = ops.where(known, ratio, 1.0)
        # Keras's softmax warns where there is a single task.
        return len(self.tasks) * tf.nn.softmax(ratio / self.temperature)

    def update(self, losses, rows):
        """Adds the losses of a step to those of the epoch."""
        rows, losses = self.stack(rows), self.stack(losses)
        self.sums.assign_add(ops.stop_gradient(losses) * rows)
        self.rows.assign_add(rows)

    def begin_epoch(self, epoch):
        """Closes the epoch before, if one has been seen."""
        if not ops.any(self.rows.value > 0):
            return
        self.before.assign(self.last)
        self.last.assign(self.sums / ops.maximum(self.rows, 1e-9))
        self.sums.assign(ops.zeros_like(self.sums))
        self.rows.assign(ops.zeros_like(self.rows))
