"""Weights that are the outcome of a bargaining between the tasks."""

import keras
import tensorflow as tf

from tfmtl.training.balancing.gradient_balancing import GradientBalancing

_STEPS = 30
_RIDGE = 1e-5


@keras.saving.register_keras_serializable("tfmtl.training")
class NashMTL(GradientBalancing):
    """Nash-MTL: the step at which no task could gain more than others lose, relatively.

        g = sum_k weight_k a_k g_k,    G'G a = 1 / a

    with the tasks' gradients as the columns of G. It does not change when a loss is
    multiplied by a number, and the length of sum_k a_k g_k is sqrt(K).

    Deviations from the paper: a is the exact solution, which is the minimum of the
    convex a' G'G a / 2 - sum_k log a_k, by Newton's method instead of a sequence of
    approximate problems, and new in every step; the step is not clipped. |g_k|^2 counts
    for a hundred thousandth more than it is, without which there is no solution where
    gradients are opposite; there a_k |g_k| is about 300. `Task.weight` comes in
    afterwards. A task without rows in the batch takes no part.

    Example:
    >>> import tfmtl
    >>> nash = NashMTL()
    >>> nash.start([tfmtl.Task("click"), tfmtl.Task("like")], [])
    >>> gradients = [[tf.constant([1.0, 0.0]), tf.constant([0.0, 4.0])]]
    >>> nash.combine(gradients, tf.ones(2), tf.ones(2))[0].numpy().round(4).tolist()
    [1.0, 1.0]

    See Also: `tfmtl.training.GradientBalancing` for what counts as shared.

    References:
        - [Multi-Task Learning as a Bargaining Game](https://arxiv.org/abs/2202.01017),
          claim 3.1.
    """

    on_loss = True

    def balance(self, products, losses, seen):
        """Returns weight_k a_k."""
        products = tf.reduce_sum(products, axis=0)  # (K, K)
        squares = tf.linalg.diag_part(products)
        known = seen & (squares > 0)
        lengths = tf.sqrt(tf.where(known, squares, 1.0))
        # In units of the gradients' lengths, which makes all of them about 1.
        both = tf.cast(known, "float32") * tf.cast(known, "float32")[:, None]
        cosines = both * products / (lengths * lengths[:, None])
        cosines += tf.linalg.diag(tf.where(known, _RIDGE, 1.0))
        (a,) = tf.while_loop(
            lambda a: True,
            lambda a: (_newton_step(cosines, a),),
            (tf.ones_like(lengths),),
            maximum_iterations=_STEPS,
        )
        return tf.where(known, a / lengths, 1.0) * self.task_weights


def _newton_step(products, a):
    """Returns better weights; damped as suits a self-concordant function."""
    slope = tf.linalg.matvec(products, a) - 1 / a
    curvature = products + tf.linalg.diag(1 / a**2)
    step = tf.linalg.solve(curvature, slope[:, None])[:, 0]
    decrement = tf.sqrt(tf.maximum(tf.tensordot(slope, step, 1), 0.0))
    return a - step / tf.where(decrement < 0.25, 1.0, 1 + decrement)
