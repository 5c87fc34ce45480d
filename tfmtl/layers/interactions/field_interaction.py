"""Field interaction: fields multiplied with mixtures of fields."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class FieldInteraction(Layer):
    """Field-aware interaction layers, in PHN's form.

        V_{i+1} = V_0 * (Omega_i V_i) + omega_i x V_i,   i = 0 .. depth - 1

    V is (fields, dim), Omega (fields, fields) mixes fields, and omega, one number a
    field, weighs what is carried over.

    Deviations from the paper: omega starts at 1, so that a layer starts with a plain
    residual connection; PHN gives no initial value. FINT, which PHN builds on, has V_0
    and V_i the other way round.

    Args:
        depth: Integer. Number of layers. Defaults to 3, as in PHN's experiments.

    Input shape: (batch, fields, dim). Output shape: (batch, fields, dim).

    Example:
    >>> FieldInteraction(2)(keras.ops.ones((4, 3, 8))).shape
    TensorShape([4, 3, 8])

    References:
        - PHN, "Parallel Heterogeneous Network", the parent of DEPHN (IJCNN 2023),
          figure 3.
        - [FINT](https://arxiv.org/abs/2107.01999)
    """

    takes_fields = True
    multiplies = True

    def __init__(self, depth=3, **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("depth", depth)
        self.depth = depth

    def build(self, input_shape):
        """Creates Omega and omega of each layer."""
        _errors.check_rank(self, input_shape, 3)
        fields = input_shape[1]
        self.mixers = [
            self.add_weight(
                name=f"mixer_{i}",
                shape=(fields, fields),
                initializer="glorot_uniform",
            )
            for i in range(self.depth)
        ]
        self.carries = [
            self.add_weight(name=f"carry_{i}", shape=(fields, 1), initializer="ones")
            for i in range(self.depth)
        ]

    def call(self, inputs):
        """Maps (batch, fields, dim) to the same shape."""
        x = inputs
        for mixer, carry in zip(self.mixers, self.carries, strict=True):
            x = inputs * ops.matmul(mixer, x) + carry * x  # (B, F, D)
        return x

    def compute_output_shape(self, input_shape):
        """Returns (batch, fields, dim)."""
        return tuple(input_shape)
