"""The step near the mean gradient that is best for the worst task."""

import keras
import tensorflow as tf

from tfmtl import _errors
from tfmtl.training.balancing.gradient_balancing import GradientBalancing
from tfmtl.training.balancing.simplex import minimise_on_simplex


@keras.saving.register_keras_serializable("tfmtl.training")
class CAGrad(GradientBalancing):
    """Conflict-Averse Gradient: max_d min_k g_k . d within |d - g_0| <= c |g_0|.

        d = g_0 + c |g_0| g_w / |g_w|,    g_0 = mean_k g_k,  g_w = sum_k w_k g_k
        w = argmin g_w . g_0 + c |g_0| |g_w|,    w_k >= 0,  sum_k w_k = 1

    over the tasks that have rows in the batch; c = 0 is the mean, a large c MGDA. The
    weights are those of K d / (1 + c^2).

    Deviations from the paper: the factor K, by which c = 0 is the plain sum; w is
    searched by Frank-Wolfe; `Task.weight` comes in afterwards. 1 + c^2 is what the
    authors' code divides by.

    Args:
        c: Float >= 0. How far the step may leave the mean gradient. Defaults to 0.5.

    Raises:
        ValueError: If c is below 0.

    Example:
    >>> CAGrad(c=0.4).get_config()["c"]
    0.4

    See Also: `tfmtl.training.GradientBalancing` for what counts as shared.

    References:
        - [Conflict-Averse Gradient Descent for Multi-task Learning](
          https://arxiv.org/abs/2110.14048), algorithm 1.
    """

    def __init__(self, c=0.5, **kwargs):
        super().__init__(**kwargs)
        _errors.check_number("c", c)
        self.c = c

    def balance(self, products, losses, seen):
        """Returns weight_k K (1 / K + c |g_0| w_k / |g_w|) / (1 + c^2)."""
        products = tf.reduce_sum(products, axis=0)  # (K, K)
        present = tf.cast(seen, "float32")
        count = tf.maximum(tf.reduce_sum(present), 1.0)
        to_mean = tf.linalg.matvec(products, present) / count  # g_k . g_0
        radius = self.c * tf.sqrt(tf.tensordot(present, to_mean, 1) / count)
        linear = tf.where(radius > 0, to_mean / tf.maximum(radius, 1e-20), 0.0)
        w = minimise_on_simplex(products, seen, linear)
        length = tf.sqrt(tf.tensordot(w, tf.linalg.matvec(products, w), 1))
        ratio = tf.where(length > 0, radius / tf.maximum(length, 1e-20), 0.0)
        weights = (present + count * ratio * w) / (1 + self.c**2)
        return weights * self.task_weights
