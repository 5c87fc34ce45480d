"""Adam for tables."""

import keras
import tensorflow as tf

from tfmtl.optimizers.row_sparse import RowSparse


@keras.saving.register_keras_serializable("tfmtl")
class LazyAdam(RowSparse, keras.optimizers.Adam):
    """Adam that updates only the rows that a batch has looked up.

        m <- m + (1 - beta_1) (g - m),   v <- v + (1 - beta_2) (g^2 - v)
        w <- w - rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)

    Not the same numbers as `keras.optimizers.Adam`, where a row that is not looked up
    goes on moving by its fading momentum: here it rests, m and v with it, until it is
    looked up again. t counts the steps of training, not those of the row. Variables
    with dense gradients are updated as Keras does.

    Args:
        learning_rate: Float or schedule. Defaults to 0.001.
        l2: Float. Weight of the squared rows of the batch, times 1/2. Defaults to 0.
        beta_1: Float. Defaults to 0.9.
        beta_2: Float. Defaults to 0.999.
        epsilon: Float. Defaults to 1e-7.
        **kwargs: Of `keras.optimizers.Optimizer`: `name`, `clipnorm`, `clipvalue`,
            `global_clipnorm`.

    Example:
    >>> import tfmtl
    >>> model = tfmtl.models.get("ple")(
    ...     [tfmtl.Categorical("item", vocabulary_size=1000)], [tfmtl.Task("click")]
    ... )
    >>> model.compile(LazyAdam(1e-3))

    References:
        - [Adam](https://arxiv.org/abs/1412.6980)
    """

    def __init__(self, learning_rate=0.001, l2=0.0, **kwargs):
        if kwargs.pop("amsgrad", False):
            raise ValueError("LazyAdam has no amsgrad. Received: amsgrad=True.")
        super().__init__(learning_rate, l2, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable; Keras calls this."""
        if isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        # What Keras does by fifteen operations.
        steps = tf.cast(self.updates(variable) + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self.slot(self._momentums, variable).handle,
            v=self.slot(self._velocities, variable).handle,
            beta1_power=self.beta_1**steps,
            beta2_power=self.beta_2**steps,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )

    def starts(self, variable):
        """Returns the slots of a variable, each with the number that it starts from."""
        slots = (self._momentums, self._velocities)
        return [(self.slot(of_all, variable), 0.0) for of_all in slots]

    def step(self, gradient, rate, w, m, v):
        """Maps rows (n, width), their momentum and velocity to new ones."""
        steps = tf.cast(self._iterations + 1, w.dtype)  # tables wait for no gradients
        rate *= tf.sqrt(1 - self.beta_2**steps) / (1 - self.beta_1**steps)
        m = m + (1 - self.beta_1) * (gradient - m)
        v = v + (1 - self.beta_2) * (tf.square(gradient) - v)
        return w - rate * m / (tf.sqrt(v) + self.epsilon), m, v
