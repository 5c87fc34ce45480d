"""A step that goes equally far along every task's gradient."""

import keras
import tensorflow as tf

from tfmtl.training.balancing.gradient_balancing import GradientBalancing


@keras.saving.register_keras_serializable("tfmtl.training")
class IMTLG(GradientBalancing):
    """Impartial Multi-Task Learning, of gradients: g . g_k / |g_k| is equal for all k.

        g = K sum_k weight_k a_k g_k,    sum_k a_k = 1

    over the K tasks that have rows in the batch. The a_k come of a linear system and
    may be negative, where gradients conflict.

    Deviations from the paper: the factor K, by which weights are about 1 as elsewhere
    here; `Task.weight` comes in afterwards; where the system has no solution (gradients
    that are parallel), its least squares with a little ridge.

    Example:
    >>> import tfmtl
    >>> imtl = IMTLG()
    >>> imtl.start([tfmtl.Task("click"), tfmtl.Task("like")], [])
    >>> gradients = [[tf.constant([1.0, 0.0]), tf.constant([0.0, 3.0])]]
    >>> imtl.combine(gradients, tf.ones(2), tf.ones(2))[0].numpy().round(3).tolist()
    [1.5, 1.5]

    See Also: `tfmtl.training.GradientBalancing` for what counts as shared.

    References:
        - [Towards Impartial Multi-task Learning](
          https://openreview.net/forum?id=IMPnRXEWpvr), eq. 4.
    """

    def balance(self, products, losses, seen):
        """Returns K weight_k a_k."""
        products = tf.reduce_sum(products, axis=0)  # (K, K)
        squares = tf.linalg.diag_part(products)
        known = seen & (squares > 0)
        present = tf.cast(known, "float32")
        lengths = tf.sqrt(tf.where(known, squares, 1.0))
        cosines = products / (lengths * lengths[:, None])
        cosines = cosines * present * present[:, None]
        cosines += tf.linalg.diag(1 - present + 1e-6)
        # Of unit gradients u, sum_j b_j u_j . u_k = 1 for all k; a_k ~ b_k / |g_k|.
        b = tf.linalg.solve(cosines, present[:, None])[:, 0]
        a = present * b / lengths
        total = tf.reduce_sum(a)
        total = tf.where(tf.abs(total) > 1e-12, total, 1.0)
        return tf.reduce_sum(present) * a / total * self.task_weights
