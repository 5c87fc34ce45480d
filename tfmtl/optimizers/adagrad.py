"""Adagrad for tables: a number an entry, or a number a row."""

import keras
import tensorflow as tf

from tfmtl.optimizers.dense_part import is_table
from tfmtl.optimizers.row_sparse import RowSparse


@keras.saving.register_keras_serializable("tfmtl")
class SparseAdagrad(RowSparse, keras.optimizers.Adagrad):
    """Adagrad that updates only the rows that a batch has looked up.

        a <- a + g^2,   w <- w - rate * g / sqrt(a + epsilon)

    The same numbers as `keras.optimizers.Adagrad` with the dense gradient, since a row
    without a gradient does not move there either; only the cost differs. (Given rows,
    Keras squares each time that a row was looked up by itself.)

    Args:
        learning_rate: Float or schedule. Defaults to 0.05, PEPNet's for embeddings.
        l2: Float. Weight of the squared rows of the batch, times 1/2. Defaults to 0.
        initial_accumulator_value: Float. a at the start. Defaults to 0.1.
        epsilon: Float. Defaults to 1e-7.
        **kwargs: Of `keras.optimizers.Optimizer`: `name`, `clipnorm`, `clipvalue`,
            `global_clipnorm`.

    Example:
    >>> import tfmtl
    >>> model = tfmtl.models.get("ple")(
    ...     [tfmtl.Categorical("item", vocabulary_size=1000)], [tfmtl.Task("click")]
    ... )
    >>> model.compile(SparseAdagrad(0.05))

    References:
        - [Adagrad](https://jmlr.org/papers/v12/duchi11a.html)
    """

    def __init__(self, learning_rate=0.05, l2=0.0, **kwargs):
        super().__init__(learning_rate, l2, **kwargs)

    def starts(self, variable):
        """Returns the slots of a variable, each with the number that it starts from."""
        slot = self.slot(self._accumulators, variable)
        return [(slot, self.initial_accumulator_value)]

    def step(self, gradient, rate, w, a):
        """Maps rows (n, width) and their accumulators to new ones."""
        squares = tf.square(gradient)
        if a.shape[-1] != w.shape[-1]:  # one number a row
            squares = tf.reduce_mean(squares, axis=-1, keepdims=True)
        a = a + squares
        return w - rate * gradient * tf.math.rsqrt(a + self.epsilon), a


@keras.saving.register_keras_serializable("tfmtl")
class RowwiseAdagrad(SparseAdagrad):
    """Adagrad with one accumulator a row of a table, not one an entry.

        a_r <- a_r + mean_j g_rj^2,   w_rj <- w_rj - rate * g_rj / sqrt(a_r + epsilon)

    A table of width 16 then has 1/16 of the accumulators. All other variables are
    updated as by `SparseAdagrad`. Tables are the variables named "table_WIDTH", as in
    `tfmtl.layers.FeatureEmbedding`, and "embeddings", as in `keras.layers.Embedding`.

    Args:
        learning_rate: Float or schedule. Defaults to 0.05.
        l2: Float. Weight of the squared rows of the batch, times 1/2. Defaults to 0.
        initial_accumulator_value: Float. a at the start. Defaults to 0.1.
        epsilon: Float. Defaults to 1e-7.
        **kwargs: See `SparseAdagrad`.

    Example:
    >>> RowwiseAdagrad(0.02).epsilon
    1e-07

    References:
        - [Deep Learning Recommendation Model](https://arxiv.org/abs/1906.00091), whose
          code has this optimizer.
    """

    def add_variable_from_reference(
        self, reference_variable, name=None, initializer="zeros"
    ):
        """Creates a slot of a variable; Keras calls this."""
        if name != "accumulator" or not is_table(reference_variable):
            return super().add_variable_from_reference(
                reference_variable, name, initializer
            )
        if hasattr(reference_variable, "slot"):
            return self.add_sharded_slot(reference_variable, name, initializer, 1)
        path = reference_variable.path.replace("/", "_")
        return self.add_variable(
            (reference_variable.shape[0], 1),
            initializer,
            reference_variable.dtype,
            name=f"{path}_{name}",
        )

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable; Keras calls this."""
        slot = self.slot(self._accumulators, variable)
        if isinstance(gradient, tf.IndexedSlices) or slot.shape == variable.shape:
            super().update_step(gradient, variable, learning_rate)
            return
        gradient = tf.cast(gradient, variable.dtype)
        rate = tf.cast(learning_rate, variable.dtype)
        w, a = self.step(gradient, rate, variable, slot)
        variable.assign(w)
        slot.assign(a)
