"""Scaling of the loss in half precision, beside tables."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfmtl")
class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras's `LossScaleOptimizer`, which leaves the gradients of tables sparse.

    Keras's looks for infinities and NaN in a whole table's gradient, and so makes it
    dense first. `tfmtl.MultiTaskModel` puts this one around an optimizer when its
    dtype policy is "mixed_float16".

    Args:
        inner_optimizer: `keras.optimizers.Optimizer`.
        initial_scale: Float. Defaults to 2^15.
        dynamic_growth_steps: Integer. Steps without infinities after which the scale
            doubles. Defaults to 2000.
        name: String.

    Example:
    >>> import tfmtl
    >>> LossScale(tfmtl.optimizers.LazyAdam(1e-3)).initial_scale
    32768.0
    """

    def check_finite(self, grads):
        """Returns whether all gradients are finite; Keras calls this."""
        return super().check_finite(
            [g.values if isinstance(g, tf.IndexedSlices) else g for g in grads]
        )
