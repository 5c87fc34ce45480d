"""What stands on top of a sharing structure."""

import keras

from tfmtl import _errors
from tfmtl.layers.blocks.dnn import DNN
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class Tower(Layer):
    """A task's own network, ending in its logit: t(x) = w DNN(x) + b.

    Args:
        units: Tuple of integers. Hidden layers; empty for a linear tower.
        activation: String or callable of the hidden layers. Defaults to "relu".
        logits: Integer. How many there are; some losses need several. Defaults to 1.

    Input shape: (batch, width). Output shape: (batch, logits).

    Example:
    >>> Tower((16,))(keras.ops.ones((4, 8))).shape
    TensorShape([4, 1])
    """

    def __init__(self, units=(64,), activation="relu", logits=1, **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("logits", logits)
        self.hidden = DNN(units, activation, dtype=self.dtype_policy, name="hidden")
        self.logit = keras.layers.Dense(logits, dtype=self.dtype_policy, name="logit")

    def build(self, input_shape):
        """Builds the hidden layers and the logit."""
        self.hidden.build(input_shape)
        self.logit.build(self.hidden.compute_output_shape(input_shape))

    @property
    def output_bias(self):
        """The variable that is added to the logits, (logits,)."""
        return self.logit.bias

    def call(self, inputs):
        """Maps (batch, width) to (batch, logits)."""
        return self.logit(self.hidden(inputs))

    def compute_output_shape(self, input_shape):
        """Returns (batch, logits)."""
        return (input_shape[0], self.logit.units)
