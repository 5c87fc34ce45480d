"""A NaN stops the training at once, and its task and step are told."""

import math

import keras
import tensorflow as tf
from keras import ops

from tfmtl.optimizers.dense_part import is_table

_TABLE = 10_000  # rows; a weight of more is looked at once an epoch
_LISTED = 5  # weights that a message names
_CURE = "A lower learning rate, or `clipnorm` of the optimizer, may help."


class StopOnNaN(keras.callbacks.Callback):
    """Stops `fit` with a FloatingPointError as soon as something is not finite.

    After each step it looks at every task's loss and at the weights, which a gradient
    that is not finite has broken. (The losses need not tell: a ReLU may make 0 of a
    NaN, so that the model is dead and its losses look well.) Embedding tables are
    looked at after each epoch only, as they are large, and the layers above break with
    them. With `steps_per_execution`, the step is told as a range of so many.

    Keras's `TerminateOnNaN` sees the sum of the losses only, and ends without an error.
    Put this before `Checkpoints`, whose last epoch then stays a good one.

    Example:
        >>> import tfmtl
        >>> model = tfmtl.models.get("shared_bottom")(
        ...     features=[tfmtl.Numeric("x")],
        ...     tasks=[tfmtl.Task("seconds", kind="regression")],
        ... )
        >>> model.compile()
        >>> x, y = {"x": ops.ones(4)}, {"seconds": ops.full((4,), float("inf"))}
        >>> try:
        ...     _ = model.fit(x, y, verbose=0, callbacks=[StopOnNaN()])
        ... except FloatingPointError as error:
        ...     print(str(error).split('.')[0])
        The loss of task 'seconds' is inf at step 1 of epoch 1
    """

    def on_train_begin(self, logs=None):
        """Finds what to look at."""
        self._losses = {f"{task.name}_loss": task.name for task in self.model.tasks}
        self._weights = [
            weight
            for weight in self.model.weights
            if not is_table(weight)
            and (len(weight.shape) == 0 or weight.shape[0] <= _TABLE)
            and keras.backend.is_float_dtype(weight.dtype)
        ]
        self._are_finite = tf.function(
            lambda: tf.stack([ops.all(ops.isfinite(w)) for w in self._weights]),
            autograph=False,
        )

    def on_epoch_begin(self, epoch, logs=None):
        """Starts to count steps."""
        self._epoch, self._next = epoch + 1, 1

    def on_train_batch_end(self, batch, logs=None):
        """Looks at losses and weights."""
        first, self._next = self._next, batch + 2
        steps = (
            f"step {first}" if first == batch + 1 else f"steps {first} to {batch + 1}"
        )
        where = f"at {steps} of epoch {self._epoch}"
        # A mean over the epoch so far, so it stays NaN once it is.
        losses = {
            task: logs[key]
            for key, task in self._losses.items()
            if not math.isfinite(logs[key])
        }
        if losses or not math.isfinite(logs["loss"]):
            raise FloatingPointError(self._explain_losses(losses, where))
        finite = self._are_finite().numpy()
        if not finite.all():
            paths = [
                w.path for w, ok in zip(self._weights, finite, strict=True) if not ok
            ]
            raise FloatingPointError(self._explain_weights(paths, where))

    def on_epoch_end(self, epoch, logs=None):
        """Looks at all weights."""
        paths = [
            weight.path
            for weight in self.model.weights
            if keras.backend.is_float_dtype(weight.dtype)
            and not bool(ops.all(ops.isfinite(weight)))
        ]
        if paths:
            where = f"after step {self._next - 1} of epoch {self._epoch}"
            raise FloatingPointError(self._explain_weights(paths, where))

    def _explain_losses(self, losses: dict[str, float], where: str) -> str:
        if not losses:
            return (
                f"The loss is not finite {where}, though every task's is. Look at the "
                "losses that layers add, such as regularizers, and at the weights of "
                "the tasks."
            )
        values = "nan" if any(map(math.isnan, losses.values())) else "inf"
        what = f"The loss of {_tasks(losses)} is {values} {where}"
        finite = [task for task in self._losses.values() if task not in losses]
        if finite:
            return (
                f"{what}, that of {', '.join(finite)} is finite. Look at its labels "
                "and sample weights in that batch: an infinite or huge one? A "
                "regression of wide range wants loss='log_mse'."
            )
        return (
            f"{what}. Look at the features and labels of that batch for huge values. "
            f"{_CURE}"
        )

    def _explain_weights(self, paths: list[str], where: str) -> str:
        parts = {part for path in paths for part in path.split("/")}
        tasks = [
            task for task in self._losses.values() if parts & {task, f"{task}_tower"}
        ]
        some = ", ".join(paths[:_LISTED])
        if len(paths) > _LISTED:
            some += f" and {len(paths) - _LISTED} more"
        whose = f"of {_tasks(tasks)}" if tasks else "shared by the tasks"
        return (
            f"Weights {whose} are not finite {where}, though the losses are: their "
            f"gradient was not. They are {some}. Look at the features and labels of "
            f"that batch for huge values. {_CURE}"
        )


def _tasks(names) -> str:
    names = [repr(name) for name in names]
    return f"task{'s' if len(names) > 1 else ''} {', '.join(names)}"
