"""Gates that mix experts."""

import keras
from keras import ops

from tfmtl import _errors


@keras.saving.register_keras_serializable("tfmtl")
class SoftmaxGate(keras.layers.Layer):
    """Mixes experts by weights that depend on the input: softmax(W x) S.

    PLE's eq. 2 and 3 (MMoE's eq. 6 and 7): a single linear layer, without bias.

    Args:
        experts: Integer. Number of experts to mix.

    Call arguments:
        selector: Tensor of shape (batch, width), what the weights depend on.
        experts: Tensor of shape (batch, experts, units).

    Output shape: (batch, units).

    Example:
    >>> ops = keras.ops
    >>> SoftmaxGate(3)(ops.ones((4, 5)), ops.ones((4, 3, 8))).shape
    TensorShape([4, 8])

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
        - [Multi-gate Mixture-of-Experts](https://doi.org/10.1145/3219819.3220007)
    """

    def __init__(self, experts, **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("experts", experts)
        self.experts = experts

    def build(self, selector_shape, experts_shape=None):
        """Creates W, (width, experts)."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(selector_shape[-1], self.experts),
            initializer="glorot_uniform",
        )

    def call(self, selector, experts):
        """Maps (batch, width) and (batch, experts, units) to (batch, units)."""
        weights = ops.softmax(ops.matmul(selector, self.kernel))  # (B, E)
        return ops.squeeze(ops.matmul(ops.expand_dims(weights, 1), experts), 1)

    def compute_output_shape(self, selector_shape, experts_shape):
        """Returns (batch, units)."""
        return (selector_shape[0], experts_shape[-1])

    def get_config(self):
        """Returns every argument."""
        return {**super().get_config(), "experts": self.experts}
