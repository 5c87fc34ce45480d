"""Loss weights by which all losses fall at one relative pace."""

import keras
import tensorflow as tf
from keras import ops

from tfmtl import _errors
from tfmtl.training.balancing.loss_weighting import LossWeighting, refuse_negative

_LEAST = 1e-8  # of a loss, for its logarithm


@keras.saving.register_keras_serializable("tfmtl.training")
class FAMO(LossWeighting):
    """Fast Adaptive Multitask Optimization: a task whose loss fell less weighs more.

        m_k = K c z_k / L_k,    z = softmax(x),    1 / c = sum_k z_k / L_k
        x <- x - rate (J' d + decay x),    d_k = log L_k - log L_k'

    with L' the losses of the same batch after the step and J the Jacobian of softmax.
    It costs a forward pass a step, and no backward pass a task.

    Deviations from the paper: the factor K, by which the weights sum to the number of
    tasks; x is learnt by gradient descent as in its equations, where its code has Adam;
    the least possible loss is 0, so losses that can be below it are refused; z is over
    the tasks with rows in the batch, and the others keep their x.

    Args:
        rate: Float, above 0. Step size of x. Defaults to 0.025.
        decay: Float >= 0. Pulls the weights back to equal ones. Defaults to 0.001.

    Raises:
        ValueError: If an argument is out of range; in `compile`, if a loss can be below
            0, as "ziln".

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
        refuse_negative(self, tasks)
        super().start(tasks, variables)
        self.learnt = self.add_state("learnt", (len(tasks),))
        self.last = self.add_state("last", (len(tasks),), "ones")
        # Of the whole batch, all replicas' rows: L_k, L_k' and the weights of the rows.
        self.before = self.add_state("before", (len(tasks),), "ones", "sum")
        self.after = self.add_state("after", (len(tasks),), "ones", "sum")
        self.rows = self.add_state("rows", (len(tasks),), replicas="sum")

    def multipliers(self):
        """Returns m_k of the last step."""
        return ops.convert_to_tensor(self.last)

    def total(self, tasks, losses, rows):
        """Returns sum_k weight_k m_k L_k, of the tasks with rows in the batch."""
        values = self.stack(losses)
        self.before.assign(ops.stop_gradient(values))
        self.rows.assign(self.stack(rows))
        seen = self.rows > 0
        shares = self._softmax() / ops.maximum(self.before, _LEAST)
        shares = ops.where(seen, shares, 0.0)
        count = ops.sum(ops.cast(seen, "float32"))
        m = count * shares / ops.maximum(ops.sum(shares), 1e-30)
        self.last.assign(ops.where(seen, m, self.last))
        return ops.sum(m * self.task_weights * values)

    def train_step(self, model, data):
        """Runs a training step, then learns from what it did to the losses."""
        logs = model.learn(data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        # The lookup is no step of training: it admits no ids a second time.
        y_pred = model.above(model.embedding(x), x, training=True)
        losses, rows = map(
            self.stack, model.task_loss_values(x, y, y_pred, sample_weight)
        )
        self.after.assign(losses * rows / ops.maximum(self.rows, 1e-9))
        before, after = (ops.maximum(v, _LEAST) for v in (self.before, self.after))
        d = ops.where(self.rows > 0, ops.log(before / after), 0.0)
        z = self._softmax()
        slope = z * (d - ops.sum(z * d))  # J' d
        moved = self.learnt - self.rate * (slope + self.decay * self.learnt)
        # A loss that overflows, as under float16, tells nothing.
        known = ops.logical_and(self.rows > 0, ops.all(ops.isfinite(moved)))
        self.learnt.assign(ops.where(known, moved, self.learnt))
        return logs

    def _softmax(self):
        """Returns z, of the tasks with rows alone: only they can be compared."""
        return tf.nn.softmax(ops.where(self.rows > 0, self.learnt, -1e30))
