"""Loss weights by which all losses fall at one relative pace."""

import keras
import tensorflow as tf
from keras import ops

from tfmtl import _errors
from tfmtl.training.balancing.loss_weighting import LossWeighting


@keras.saving.register_keras_serializable("tfmtl.training")
class FAMO(LossWeighting):
    """Fast Adaptive Multitask Optimization: a task whose loss fell less weighs more.

        m_k = K c z_k / L_k,    z = softmax(x),    1 / c = sum_k z_k / L_k
        x <- x - rate (J' d + decay x),    d_k = log L_k - log L_k'

    with L' the losses of the same batch after the step and J the Jacobian of softmax.
    It costs a forward pass a step, and no backward pass a task.

    Deviations from the paper: the factor K, by which the weights sum to the number of
    tasks; x is learnt by gradient descent as in its equations, where its code has Adam;
    the least possible loss is 0, so give regressions one that is not below; a task
    without rows in a batch keeps its x.

    Args:
        rate: Float, above 0. Step size of x. Defaults to 0.025.
        decay: Float >= 0. Pulls the weights back to equal ones. Defaults to 0.001.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    >>> FAMO(rate=0.1).get_config()["rate"]
    0.1

    References:
        - [FAMO](https://arxiv.org/abs/2306.03792), algorithm 1.
    """

    def __init__(self, rate=0.025, decay=0.001, **kwargs):
        super().__init__(**kwargs)
        if not (_errors.is_number(rate) and rate > 0):
            raise ValueError(f"rate must be a number above 0. Received: {rate!r}.")
        _errors.check_number("decay", decay)
        self.rate = rate
        self.decay = decay

    def start(self, tasks, variables):
        """Creates x, and the weights and losses of the last step."""
        super().start(tasks, variables)
        self.learnt = self.add_state("learnt", (len(tasks),))
        self.last = self.add_state("last", (len(tasks),), "ones")
        self.before = self.add_state("before", (len(tasks),), "ones")  # L_k

    def multipliers(self):
        """Returns m_k of the last step."""
        return ops.convert_to_tensor(self.last)

    def total(self, tasks, losses, rows):
        """Returns sum_k weight_k m_k L_k, of the tasks with rows in the batch."""
        values = ops.stack([losses[task.name] for task in tasks])
        seen = ops.stack([rows[task.name] for task in tasks]) > 0
        fixed = ops.maximum(ops.stop_gradient(values), 1e-8)
        shares = ops.where(seen, tf.nn.softmax(self.learnt) / fixed, 0.0)
        count = ops.sum(ops.cast(seen, "float32"))
        m = count * shares / ops.maximum(ops.sum(shares), 1e-30)
        self.last.assign(ops.where(seen, m, self.last))
        self.before.assign(fixed)
        return ops.sum(m * self.task_weights * values)

    def train_step(self, model, data):
        """Runs a training step, then learns from what it did to the losses."""
        logs = model.learn(data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = model(x, training=True)
        found = model.task_loss_values(x, y, y_pred, sample_weight)
        after, rows = (tf.stack([part[t.name] for t in self.tasks]) for part in found)
        d = tf.math.log(self.before / tf.maximum(after, 1e-8))
        d = tf.where(rows > 0, d, 0.0)
        z = tf.nn.softmax(self.learnt)
        slope = z * (d - tf.tensordot(z, d, 1))  # J' d
        moved = self.learnt - self.rate * (slope + self.decay * self.learnt)
        self.learnt.assign(tf.where(rows > 0, moved, self.learnt))
        return logs
