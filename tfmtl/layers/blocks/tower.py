"""What stands on top of a sharing structure."""

import keras

from tfmtl.layers.blocks.dnn import DNN
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class Tower(Layer):
    """A task's own network, ending in one logit: t(x) = w DNN(x) + b.

    Args:
        units: Tuple of integers. Hidden layers; empty for a linear tower.
        activation: String or callable of the hidden layers. Defaults to "relu".

    Input shape: (batch, width). Output shape: (batch, 1).

    Example:
    >>> Tower((16,))(keras.ops.ones((4, 8))).shape
    TensorShape([4, 1])
    """

    def __init__(self, units=(64,), activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.hidden = DNN(units, activation, dtype=self.dtype_policy, name="hidden")
        self.logit = keras.layers.Dense(1, dtype=self.dtype_policy, name="logit")

    def build(self, input_shape):
        """Builds the hidden layers and the logit."""
        self.hidden.build(input_shape)
        self.logit.build(self.hidden.compute_output_shape(input_shape))

    @property
    def output_bias(self):
        """The variable that is added to the logit."""
        return self.logit.bias

    def call(self, inputs):
        """Maps (batch, width) to (batch, 1)."""
        return self.logit(self.hidden(inputs))

    def compute_output_shape(self, input_shape):
        """Returns (batch, 1)."""
        return (input_shape[0], 1)
