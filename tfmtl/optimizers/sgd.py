"""Stochastic gradient descent for tables."""

import keras

from tfmtl.optimizers.row_sparse import RowSparse


@keras.saving.register_keras_serializable("tfmtl")
class SparseSGD(RowSparse, keras.optimizers.SGD):
    """SGD that updates only the rows that a batch has looked up.

        w <- w - rate * g,   or, with momentum,   m <- mu m - rate * g,   w <- w + m

    With momentum, a row that is not looked up rests, m with it.

    Args:
        learning_rate: Float or schedule. Defaults to 0.01.
        l2: Float. Weight of the squared rows of the batch, times 1/2. Defaults to 0.
        momentum: Float in [0, 1]. mu. Defaults to 0.
        **kwargs: Of `keras.optimizers.Optimizer`: `name`, `clipnorm`, `clipvalue`,
            `global_clipnorm`.

    Example:
    >>> round(float(SparseSGD(0.5, momentum=0.9).learning_rate), 1)
    0.5
    """

    def __init__(self, learning_rate=0.01, l2=0.0, **kwargs):
        if kwargs.pop("nesterov", False):
            raise ValueError("SparseSGD has no nesterov. Received: nesterov=True.")
        super().__init__(learning_rate, l2, **kwargs)

    def starts(self, variable):
        """Returns the slots of a variable, each with the number that it starts from."""
        return [(self.slot(self.momentums, variable), 0.0)] if self.momentum else []

    def step(self, gradient, rate, w, m=None):
        """Maps rows (n, width) and, with momentum, that of each to new ones."""
        if m is None:
            return (w - rate * gradient,)
        m = self.momentum * m - rate * gradient
        return w + m, m
