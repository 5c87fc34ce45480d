"""Dropout whose mask XLA draws as fast as the rest of a step."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfmtl")
class Dropout(keras.layers.Dropout):
    """Keras's `Dropout`, with random numbers of the Philox generator everywhere.

    Keras leaves the choice to TensorFlow, which takes Philox too, and so the masks are
    Keras's; but under XLA on a CPU it takes ThreeFry, some thirty times as slow.

    Example:
    >>> float(keras.ops.max(Dropout(0.5)(keras.ops.ones((8, 8)), training=True)))
    2.0
    """

    def call(self, inputs, training=False):
        """Sets a part `rate` of the inputs to 0 in training, and scales the others."""
        if not training or self.rate == 0:
            return super().call(inputs, training=training)
        if self.rate == 1:  # refused by TensorFlow, and by Keras below 3.13
            return tf.zeros_like(inputs)
        # As Keras does it: XLA takes no int64 seeds.
        seed = tf.math.floormod(self.seed_generator.next(), tf.int32.max - 1)
        return tf.nn.experimental.stateless_dropout(
            inputs,
            self.rate,
            tf.cast(seed, "int32"),
            rng_alg="philox",
            noise_shape=self.noise_shape,
        )
