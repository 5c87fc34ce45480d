"""Products of fields: factorization machine and compressed interaction network."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class FactorizationMachine(Layer):
    """The second-order term of a factorization machine, before its last sum.

        sum_{i<j} v_i * v_j = ((sum_i v_i)^2 - sum_i v_i^2) / 2

    This vector is NFM's bi-interaction pooling; the sum over its dimensions is the
    term of the factorization machine itself. The layer has no weights: those of the
    model are the vectors of the fields.

    Input shape: (batch, fields, dim). Output shape: (batch, dim).

    Example:
    >>> FactorizationMachine()(keras.ops.ones((1, 3, 2)))[0].numpy().tolist()
    [3.0, 3.0]

    References:
        - [Factorization Machines](https://doi.org/10.1109/ICDM.2010.127)
        - [Neural Factorization Machines](https://doi.org/10.1145/3077136.3080777)
    """

    takes_fields = True
    multiplies = True

    def build(self, input_shape):
        """Checks the input's shape."""
        _errors.check_rank(self, input_shape, 3)

    def call(self, inputs):
        """Maps (batch, fields, dim) to (batch, dim)."""
        square_of_sum = ops.square(ops.sum(inputs, axis=1))
        return 0.5 * (square_of_sum - ops.sum(ops.square(inputs), axis=1))

    def compute_output_shape(self, input_shape):
        """Returns (batch, dim)."""
        return (input_shape[0], input_shape[-1])


@keras.saving.register_keras_serializable("tfmtl")
class CIN(Layer):
    """xDeepFM's compressed interaction network.

        X^k_h = sum_i sum_j W^{k,h}_ij (X^{k-1}_i * X^0_j)
        p^k_h = sum_d X^k_{h,d};  the output is [p^1, ..., p^depth]

    X^0 is the stack of fields; layer k makes units[k] products of degree k + 1, and
    keeps the dimensions of the vectors apart.

    Args:
        units: Tuple of integers. Products of each layer. Defaults to (64, 64).

    Input shape: (batch, fields, dim). Output shape: (batch, sum(units)).

    Example:
    >>> CIN((4, 2))(keras.ops.ones((3, 5, 8))).shape
    TensorShape([3, 6])

    References:
        - [xDeepFM](https://doi.org/10.1145/3219819.3220023)
    """

    takes_fields = True
    multiplies = True

    def __init__(self, units=(64, 64), **kwargs):
        super().__init__(**kwargs)
        self.units = _errors.check_units("units", units)
        if not self.units:
            raise ValueError("CIN needs at least one layer. Received: units=().")

    def build(self, input_shape):
        """Creates W, (units, pairs), of each layer."""
        _errors.check_rank(self, input_shape, 3)
        fields = input_shape[1]
        widths = (fields, *self.units)
        self.kernels = [
            self.add_weight(
                name=f"kernel_{i}",
                shape=(width, widths[i] * fields),
                initializer="glorot_uniform",
            )
            for i, width in enumerate(self.units)
        ]

    def call(self, inputs):
        """Maps (batch, fields, dim) to (batch, sum(units))."""
        fields, dim = inputs.shape[1:]
        x = inputs
        pooled = []
        for kernel in self.kernels:
            pairs = ops.expand_dims(x, 2) * ops.expand_dims(inputs, 1)  # (B, H, F, D)
            pairs = ops.reshape(pairs, (-1, x.shape[1] * fields, dim))
            x = ops.matmul(kernel, pairs)  # (B, U, D)
            pooled.append(ops.sum(x, axis=-1))
        return ops.concatenate(pooled, axis=-1)

    def compute_output_shape(self, input_shape):
        """Returns (batch, sum(units))."""
        return (input_shape[0], sum(self.units))
