"""Loss weights learnt such that the tasks train at one pace."""

import keras
import tensorflow as tf

from tfmtl import _errors
from tfmtl.training.balancing.gradient_balancing import GradientBalancing
from tfmtl.training.balancing.loss_weighting import refuse_negative


@keras.saving.register_keras_serializable("tfmtl.training")
class GradNorm(GradientBalancing):
    """Gradient normalisation, Chen et al., eq. 1 and 2.

        n_k = |g_k|,    G_k = m_k n_k                       norms of the gradients
        r_k = (L_k / L_k(0)) / mean_j (L_j / L_j(0))        pace: above 1 is behind
        m_k <- m_k - rate * n_k * sign(G_k - mean_j(G_j) r_k^alpha)

    then the m_k are scaled back to their sum, the number of tasks. The norms are over
    all shared parameters; L_k(0) is the loss in the first batch with rows of task k.

    Deviations from the paper: the norm is over all shared parameters, not the last
    shared layer, which many architectures lack. m_k, learnt by plain gradient descent,
    stays at 0.01 or above: a negative weight would maximise a loss. The norms are
    balanced before `Task.weight` comes in, which would be balanced away. Tasks without
    rows in a batch keep their m_k, and the means are over the others.

    Args:
        alpha: Float. How strongly tasks that are behind are pulled on; 0 makes all
            norms equal. Defaults to 1.5.
        rate: Float, above 0. Step size of the m_k. Defaults to 0.025, the paper's.

    Raises:
        ValueError: If alpha is negative, or the rate not above 0; in `compile`, if a
            loss can be below 0, as "ziln".

    Example:
    >>> GradNorm(alpha=0.12).get_config()["alpha"]
    0.12

    See Also: `tfmtl.training.GradientBalancing` for what counts as shared.

    References:
        - [GradNorm](https://arxiv.org/abs/1711.02257)
    """

    on_loss = True

    def __init__(self, alpha=1.5, rate=0.025, **kwargs):
        super().__init__(**kwargs)
        numbers = _errors.is_number(alpha) and _errors.is_number(rate)
        if not numbers or not alpha >= 0 or not rate > 0:
            raise ValueError(
                "alpha must be >= 0 and rate above 0. Received: "
                f"alpha={alpha!r}, rate={rate!r}."
            )
        self.alpha = alpha
        self.rate = rate

    def start(self, tasks, variables):
        """Creates the weights, and the place of the first losses."""
        refuse_negative(self, tasks)
        super().start(tasks, variables)
        self.learnt = self.add_state("learnt", (len(tasks),), "ones")
        self.first = self.add_state("first", (len(tasks),))  # 0: not known yet

    def multipliers(self):
        """Returns m_k."""
        return tf.convert_to_tensor(self.learnt)

    def balance(self, products, losses, seen):
        """Returns weight_k m_k, then learns from the step."""
        m = self.multipliers()
        is_first = seen & (self.first <= 0)
        first = tf.where(is_first, losses, self.first)
        self.first.assign(first)

        def mean(values):  # over the tasks with rows
            count = tf.reduce_sum(tf.cast(seen, "float32"))
            return tf.reduce_sum(tf.where(seen, values, 0.0)) / tf.maximum(count, 1.0)

        n = tf.sqrt(tf.linalg.diag_part(tf.reduce_sum(products, axis=0)))  # (K,)
        # Order within groups, of rows that weigh less than 1, may be below 0.
        pace = tf.maximum(losses, 0.0) / tf.where(first > 0, first, 1.0)
        pace = tf.where(first > 0, pace, 1.0)
        r = pace / tf.maximum(mean(pace), 1e-9)
        target = mean(m * n) * r**self.alpha
        moved = tf.maximum(m - self.rate * n * tf.sign(m * n - target), 0.01)
        moved = moved * mean(m) / tf.maximum(mean(moved), 1e-9)
        self.learnt.assign(tf.where(seen, moved, m))
        return m * self.task_weights
