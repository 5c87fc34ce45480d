"""Towers that every domain has for itself."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.ids import as_integers
from tfmtl.layers.blocks.experts import Experts
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class DomainTower(Layer):
    """One tower a domain; each row gets the logit of its own domain's.

        t(x, d) = w_d DNN_d(x) + b_d

    The hidden layers of all domains are computed for every row, as one batched product,
    and the row's own is picked: the cost grows with the number of domains. Only the
    towers of the domains in a batch get gradients.

    Args:
        domains: Integer. Number of domains; ids are in [0, domains).
        units: Tuple of integers. Hidden layers of each tower; empty for linear towers.
        activation: String or callable of the hidden layers. Defaults to "relu".
        logits: Integer. How many there are; some losses need several. Defaults to 1.

    Call arguments:
        inputs: Tensor of shape (batch, width).
        domain: Integer tensor of shape (batch,), the domain of each row. A row of no
            domain, such as -1, gets the logit 0.

    Output shape: (batch, logits).

    Example:
    >>> ops = keras.ops
    >>> DomainTower(3, (16,))(ops.ones((4, 8)), ops.array([0, 2, 1, 2])).shape
    TensorShape([4, 1])

    See Also: `tfmtl.layers.Tower`, the same for all domains.
    """

    def __init__(self, domains, units=(64,), activation="relu", logits=1, **kwargs):
        # A domain's id above 256 is another one in bfloat16.
        super().__init__(**{"autocast": False, **kwargs})
        _errors.check_positive("domains", domains)
        _errors.check_positive("logits", logits)
        self.domains = domains
        self.units = _errors.check_units("units", units)
        self.logits = logits
        self.activation = keras.activations.get(activation)
        self.hidden = None
        if self.units:
            self.hidden = Experts(
                domains,
                self.units,
                self.activation,
                dtype=self.dtype_policy,
                name="hidden",
            )

    def build(self, inputs_shape, domain_shape=None):
        """Builds the hidden layers; creates w and b of all domains."""
        _errors.check_rank(self, inputs_shape, 2)
        width = inputs_shape[-1]
        if self.hidden is not None:
            self.hidden.build(inputs_shape)
            width = self.units[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.domains, width * self.logits),
            # The fans of a Dense(logits), whatever the number of domains.
            initializer=keras.initializers.VarianceScaling(
                2 / (width + self.logits) * self.domains, "fan_in", "uniform"
            ),
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.domains, self.logits), initializer="zeros"
        )

    @property
    def output_bias(self):
        """The variable that is added to the logits, (domains, logits)."""
        return self.bias

    def call(self, inputs, domain):
        """Maps (batch, width) and (batch,) to (batch, logits)."""
        domain = as_integers(domain, "domain")
        chosen = ops.one_hot(domain, self.domains, dtype=self.compute_dtype)  # (B, D)
        inputs = x = ops.cast(inputs, self.compute_dtype)
        if self.hidden is not None:
            x = ops.matmul(ops.expand_dims(chosen, 1), self.hidden(inputs))
            x = ops.squeeze(x, 1)  # (B, U)
        # With `autocast` off, inside of a model, Keras casts no variable either.
        kernel, bias = (ops.cast(w, x.dtype) for w in (self.kernel, self.bias))
        kernel = ops.matmul(chosen, kernel)  # (B, U L)
        kernel = ops.reshape(kernel, (-1, x.shape[-1], self.logits))  # (B, U, L)
        logits = ops.sum(ops.expand_dims(x, -1) * kernel, axis=1)  # (B, L)
        return logits + ops.matmul(chosen, bias)

    def compute_output_shape(self, inputs_shape, domain_shape):
        """Returns (batch, logits)."""
        return (inputs_shape[0], self.logits)
