"""The shortest vector between the tasks' gradients."""

import keras
import tensorflow as tf

from tfmtl import _errors
from tfmtl.training.balancing.gradient_balancing import GradientBalancing
from tfmtl.training.balancing.loss_weighting import refuse_negative
from tfmtl.training.balancing.simplex import minimise_on_simplex

_NORMALIZATIONS = ("none", "l2", "loss")


@keras.saving.register_keras_serializable("tfmtl.training")
class MGDA(GradientBalancing):
    """Multiple Gradient Descent: a step along which no task's loss rises.

        g = K sum_k weight_k a_k g_k / s_k
        a = argmin |sum_k a_k g_k / s_k|^2,    a_k >= least,  sum_k a_k = 1

    with K tasks that have rows in the batch. A task whose gradient is short, since it
    is nearly learnt, takes the most; that is what the normalisation s_k is against.
    With `least` above 0 every task keeps a share, as in PE-LTR.

    Deviations from the papers: the factor K, by which weights are about 1 as elsewhere
    here; `Task.weight` comes in afterwards; PE-LTR relaxes and projects, here the
    minimum itself is taken.

    Args:
        normalization: "none", "l2" or "loss": s_k is 1, |g_k| or L_k. Defaults to
            "none".
        least: Float. The least share of a task, at most 1 / tasks. Defaults to 0.

    Raises:
        ValueError: If an argument is out of range; in `compile`, if the tasks are too
            many for `least`, or with "loss" if one can be below 0, as "ziln".

    Example:
    >>> import tfmtl
    >>> mgda = MGDA()
    >>> mgda.start([tfmtl.Task("click"), tfmtl.Task("like")], [])
    >>> gradients = [[tf.constant([1.0, 0.0]), tf.constant([0.0, 2.0])]]
    >>> step = mgda.combine(gradients, tf.ones(2), tf.ones(2))[0]
    >>> [round(float(x), 3) for x in step]
    [1.6, 0.8]

    See Also: `tfmtl.training.GradientBalancing` for what counts as shared.

    References:
        - [Multi-Task Learning as Multi-Objective Optimization](
          https://arxiv.org/abs/1810.04650), eq. 3.
        - [A Pareto-Efficient Algorithm for Multiple Objective Optimization in
          E-Commerce Recommendation](https://doi.org/10.1145/3298689.3346998)
    """

    def __init__(self, normalization="none", least=0.0, **kwargs):
        super().__init__(**kwargs)
        _errors.check_choice("normalization", normalization, _NORMALIZATIONS)
        _errors.check_ratio("least", least)
        self.normalization = normalization
        self.least = least

    def start(self, tasks, variables):
        """Checks that every task can have its least share."""
        if self.normalization == "loss":
            refuse_negative(self, tasks)
        super().start(tasks, variables)
        if self.least * len(tasks) > 1:
            raise ValueError(
                f"least must be at most 1 / {len(tasks)}, by the number of tasks. "
                f"Received: {self.least!r}."
            )

    def balance(self, products, losses, seen):
        """Returns K weight_k a_k / s_k."""
        products = tf.reduce_sum(products, axis=0)  # (K, K)
        sizes = tf.ones(len(self.tasks))
        if self.normalization == "l2":
            sizes = tf.sqrt(tf.linalg.diag_part(products))
        elif self.normalization == "loss":
            sizes = losses
        sizes = tf.where(sizes > 0, sizes, 1.0)
        products = products / (sizes * sizes[:, None])
        shares = minimise_on_simplex(products, seen, least=self.least)
        count = tf.reduce_sum(tf.cast(seen, "float32"))
        return count * self.task_weights * shares / sizes
