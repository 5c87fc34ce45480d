"""The plain deep network: a stack of dense layers."""

import keras

from tfmtl import _errors
from tfmtl.layers.blocks.dropout import Dropout
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import hidden_units


@keras.saving.register_keras_serializable("tfmtl")
class DNN(Layer):
    """Dense layers one after the other: x_{i+1} = activation(x_i W_i + b_i).

    Args:
        units: Tuple of integers. Width of each layer; empty for the identity.
        activation: String or callable. Defaults to "relu".
        dropout: Float. Rate of dropout after each layer. Defaults to 0.

    Input shape: (batch, width). Output shape: (batch, units[-1]).

    Example:
    >>> DNN((32, 16))(keras.ops.ones((4, 8))).shape
    TensorShape([4, 16])
    """

    def __init__(self, units, activation="relu", dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units = _errors.check_units("units", units)
        self.activation = keras.activations.get(activation)
        _errors.check_ratio("dropout", dropout)
        self.dropout = dropout

    def build(self, input_shape):
        """Creates the dense layers."""
        _errors.check_rank(self, input_shape, 2)
        self.layers = []
        for i, width in enumerate(self.units):
            dense = keras.layers.Dense(
                width,
                activation=self.activation,
                dtype=self.dtype_policy,
                # Keras's own would count all Dense layers of the process, and the same
                # variable have another path in another model.
                name=f"dense_{i}",
            )
            dense.build(input_shape)
            self.layers.append(dense)
            input_shape = (*input_shape[:-1], width)
        if self.dropout:
            self.drop = Dropout(self.dropout, dtype=self.dtype_policy)

    def call(self, inputs, training=None):
        """Maps (batch, width) to (batch, units[-1])."""
        x = inputs
        for layer in self.layers:
            x = layer(x)
            hidden_units.note(layer.path, (x, 0))
            if self.dropout:
                x = self.drop(x, training=training)
        return x

    def compute_output_shape(self, input_shape):
        """Returns (batch, units[-1])."""
        return (*input_shape[:-1], self.units[-1] if self.units else input_shape[-1])
