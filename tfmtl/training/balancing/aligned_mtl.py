"""Gradients made orthogonal and of one length."""

import keras
import tensorflow as tf

from tfmtl import _errors
from tfmtl.training.balancing.gradient_balancing import GradientBalancing

_SCALES = ("min", "median", "rmse")
_LEAST = 1e-6  # of the largest eigenvalue: what is below is none


@keras.saving.register_keras_serializable("tfmtl.training")
class AlignedMTL(GradientBalancing):
    """Aligned-MTL: the nearest gradients that neither conflict nor dominate.

        g = G B w,    B = s V L^(-1/2) V',    G'G = V L V'

    with the tasks' gradients as the columns of G, their `Task.weight` as w, and s the
    square root of an eigenvalue in L. The columns of G B are orthogonal, each s long.

    Deviations from the paper: `Task.weight`s are 1 by default and not 1 / K.

    Args:
        scale: "min", "median" or "rmse": s^2 is the smallest eigenvalue above 0, their
            median or their mean. Defaults to "min", by which training surely ends.

    Raises:
        ValueError: If there is no such scale.

    Example:
    >>> import tfmtl
    >>> aligned = AlignedMTL()
    >>> aligned.start([tfmtl.Task("click"), tfmtl.Task("like")], [])
    >>> gradients = [[tf.constant([1.0, 0.0]), tf.constant([0.0, 3.0])]]
    >>> aligned.combine(gradients, tf.ones(2), tf.ones(2))[0].numpy().round(3).tolist()
    [1.0, 1.0]

    See Also: `tfmtl.training.GradientBalancing` for what counts as shared.

    References:
        - [Independent Component Alignment for Multi-Task Learning](
          https://arxiv.org/abs/2305.19000), algorithm 1.
    """

    def __init__(self, scale="min", **kwargs):
        super().__init__(**kwargs)
        _errors.check_choice("scale", scale, _SCALES)
        self.scale = scale

    def balance(self, products, losses, seen):
        """Returns B w."""
        products = tf.reduce_sum(products, axis=0)  # (K, K)
        values, vectors = tf.linalg.eigh(products)  # in rising order
        known = values > _LEAST * tf.maximum(values[-1], 1e-30)
        rank = tf.reduce_sum(tf.cast(known, "int32"))
        if self.scale == "rmse":
            square = tf.reduce_sum(tf.where(known, values, 0.0))
            square /= tf.maximum(tf.cast(rank, "float32"), 1.0)
        else:
            first = len(self.tasks) - rank
            place = first if self.scale == "min" else first + (rank - 1) // 2
            square = values[tf.minimum(place, len(self.tasks) - 1)]
        roots = tf.where(known, values, 1.0) ** -0.5
        roots = tf.sqrt(tf.maximum(square, 0.0)) * tf.where(known, roots, 0.0)
        turned = tf.linalg.matvec(vectors, self.task_weights, transpose_a=True)
        return tf.linalg.matvec(vectors, roots * turned)
