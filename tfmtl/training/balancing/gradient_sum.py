"""The plain sum of the tasks' gradients, each of which can be clipped."""

import keras

from tfmtl.training.balancing.gradient_balancing import GradientBalancing


@keras.saving.register_keras_serializable("tfmtl.training")
class GradientSum(GradientBalancing):
    """The weighted sum of the tasks' gradients.

        g = sum_k weight_k min(1, clip / |g_k|) g_k

    Without `clip` that is the gradient of the weighted sum of losses, at the cost of a
    backward pass a task. An optimizer's `clipnorm` limits the sum, in which one task's
    outlier then leaves nothing of the others; `clip` limits each by itself.

    Args:
        **kwargs: `clip` and `layers`, see `tfmtl.training.GradientBalancing`.

    Example:
    >>> import tensorflow as tf, tfmtl
    >>> strategy = GradientSum(clip=1.0)
    >>> strategy.start([tfmtl.Task("click"), tfmtl.Task("seconds")], [])
    >>> gradients = [[tf.constant([0.25, 0.5]), tf.constant([0.0, 50.0])]]
    >>> strategy.combine(gradients, tf.ones(2), tf.ones(2))[0].numpy().tolist()
    [0.25, 1.5]
    """

    def balance(self, products, losses, seen):
        """Returns weight_k."""
        return self.task_weights
