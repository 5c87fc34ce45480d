"""The plain deep network: a stack of dense layers, with dropout between them."""

import keras
import tensorflow as tf

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.recording import hidden_units


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
