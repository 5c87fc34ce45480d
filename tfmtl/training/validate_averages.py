"""Validation of averaged weights, while the training goes on with its own."""

import keras
import tensorflow as tf

from tfmtl.optimizers.dense_part import averages


class ValidateAverages(keras.callbacks.Callback):
    """Gives the model the averages of its weights while `fit` validates.

    `MultiTaskModel.fit` puts it first if the optimizer has `use_ema`, as what is
    validated shall be what `fit` leaves in the model. Afterwards the weights are those
    from before, to the bit; `keras.callbacks.SwapEMAWeights` adds and subtracts.
    """

    def on_test_begin(self, logs=None):
        """Puts the averages into the model."""
        self._kept = []
        for variable, average in averages(self.model.optimizer):
            self._kept.append((variable, tf.identity(variable.value)))
            variable.assign(average)

    def on_test_end(self, logs=None):
        """Puts the weights back."""
        for variable, value in self._kept:
            variable.assign(value)
        self._kept = []
