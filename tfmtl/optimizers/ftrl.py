"""FTRL for tables."""

import keras
import tensorflow as tf

from tfmtl.optimizers.row_sparse import RowSparse


@keras.saving.register_keras_serializable("tfmtl")
class SparseFtrl(RowSparse, keras.optimizers.Ftrl):
    """Follow the regularized leader, of the rows alone that a batch has looked up.

        a' = a + g^2,   z <- z + g - (sqrt(a') - sqrt(a)) / rate * w
        w <- -(z - clip(z, -l1, l1)) / (sqrt(a') / rate + 2 l2 + beta / rate)

    Weights whose |z| stays below l1 are exactly 0. The same numbers as
    `keras.optimizers.Ftrl` with the dense gradient, where the weights start at 0. It
    takes them for 0 whatever they are: its first update of a row forgets the start,
    here when the row is first looked up, there of all rows in the first step. So it is
    for wide linear parts, tables of width 1, beside another optimizer for the rest.

    Args:
        learning_rate: Float or schedule. Defaults to 0.001.
        l2: Float. Weight of the squared rows of the batch, times 1/2, in the gradient;
            FTRL's own is `l2_regularization_strength`. Defaults to 0.
        **kwargs: Of `keras.optimizers.Ftrl`: `l1_regularization_strength`,
            `l2_regularization_strength`, `beta`, `initial_accumulator_value`,
            `learning_rate_power`, `clipnorm` and so on.

    Example:
    >>> SparseFtrl(0.1, l1_regularization_strength=0.01).beta
    0.0

    References:
        - [McMahan et al., 2013](https://doi.org/10.1145/2487575.2488200), algorithm 1.
    """

    def __init__(self, learning_rate=0.001, l2=0.0, **kwargs):
        super().__init__(learning_rate, l2, **kwargs)

    def starts(self, variable):
        """Returns the slots of a variable, each with the number that it starts from."""
        return [
            (self.slot(self._accumulators, variable), self.initial_accumulator_value),
            (self.slot(self._linears, variable), 0.0),
        ]

    def step(self, gradient, rate, w, a, z):
        """Maps rows (n, width), their squares and their z to new ones."""
        power = -self.learning_rate_power
        squares = a + tf.square(gradient)
        gradient += 2 * self.l2_shrinkage_regularization_strength * w
        z = z + gradient - (squares**power - a**power) / rate * w
        l1, l2 = self.l1_regularization_strength, self.l2_regularization_strength
        scale = squares**power / rate + 2 * (l2 + self.beta / (2 * rate))
        return (tf.clip_by_value(z, -l1, l1) - z) / scale, squares, z
