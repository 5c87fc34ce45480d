"""Gradients that conflict are projected off each other."""

import keras
import tensorflow as tf

from tfmtl.training.balancing.gradient_balancing import GradientBalancing


@keras.saving.register_keras_serializable("tfmtl.training")
class PCGrad(GradientBalancing):
    """Projecting Conflicting Gradients, Yu et al., algorithm 1.

        g = sum_i weight_i g_i^PC
        g_i^PC starts as g_i; for each other task j, in random order:
            if g_i^PC . g_j < 0:  g_i^PC -= (g_i^PC . g_j / |g_j|^2) g_j

    over all shared parameters at once. Without a conflict g is the plain sum. Each
    g_i^PC is a sum c_i1 g_1 + ... + c_iK g_K, so the c are worked out on the K x K
    matrix of inner products.

    Args:
        seed: Integer. Of the random order, which differs between steps and is the same
            again in a resumed training. Irrelevant for two tasks. Defaults to 0.

    Example:
    >>> import tfmtl
    >>> pcgrad = PCGrad()
    >>> pcgrad.start([tfmtl.Task("click"), tfmtl.Task("like")], [])
    >>> gradients = [[tf.constant([1.0, 0.0]), tf.constant([-1.0, 1.0])]]
    >>> pcgrad.combine(gradients, tf.ones(2), tf.ones(2))[0].numpy().tolist()
    [0.5, 1.5]

    See Also: `tfmtl.training.GradientBalancing` for what counts as shared.

    References:
        - [Gradient Surgery for Multi-Task Learning](https://arxiv.org/abs/2001.06782)
    """

    def __init__(self, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def start(self, tasks, variables):
        """Creates the counter of steps, which the random order follows."""
        super().start(tasks, variables)
        self.step = self.add_state("step", replicas="first")

    def balance(self, products, losses, seen):
        """Returns sum_i weight_i c_ik."""
        tasks = len(self.tasks)
        products = tf.reduce_sum(products, axis=0)  # (K, K)
        squares = tf.linalg.diag_part(products)
        seed = tf.stack([self.seed, tf.convert_to_tensor(self.step)])
        draws = tf.random.stateless_uniform((tasks, tasks), seed)
        order = tf.argsort(draws, axis=1)  # of the other tasks, for each task
        self.step.assign_add(1)
        c = tf.eye(tasks)
        for place in range(tasks):
            other = tf.one_hot(order[:, place], tasks)  # (K, K), row i: which g_j
            dot = tf.reduce_sum(tf.matmul(c, products) * other, axis=1)
            square = tf.linalg.matvec(other, squares)
            itself = tf.linalg.diag_part(other) > 0
            conflict = (dot < 0) & (square > 0) & ~itself
            step = tf.where(conflict, dot / tf.where(conflict, square, 1.0), 0.0)
            c -= step[:, None] * other
        return tf.linalg.matvec(c, self.task_weights, transpose_a=True)
