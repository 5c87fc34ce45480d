"""A NaN stops the training at once, and its task and step are told."""

import math

import keras
from keras import ops


class StopOnNaN(keras.callbacks.Callback):
    """Stops `fit` with a FloatingPointError as soon as something is not finite.

    After each step it looks at every task's loss, and at the bias of every task's
    logit: the gradient of a task's loss passes through that first, and breaks it one
    step before it breaks the losses of all tasks. After each epoch it looks at all
    weights. With `steps_per_execution`, the step is told as a range of so many.

    Keras's `TerminateOnNaN` sees the sum of the losses only, and saves what it stopped.
    Put this before `Checkpoints`, whose last epoch then stays a good one.

    Example:
        >>> import tfmtl
        >>> model = tfmtl.models.get("shared_bottom")(
        ...     features=[tfmtl.Numeric("x")], tasks=[tfmtl.Task("click")]
        ... )
        >>> model.compile()
        >>> x, y = {"x": ops.full((4,), float("nan"))}, {"click": ops.ones(4)}
        >>> try:
        ...     _ = model.fit(x, y, callbacks=[StopOnNaN()], verbose=0)
        ... except FloatingPointError as error:
        ...     print(str(error)[:49])
        The loss of task 'click' is nan at step 1 of epoch
    """

    def on_train_begin(self, logs=None):
        """Finds the tasks' losses and biases."""
        self._next = 1
        self._epoch = 1
        self._losses = {f"{task.name}_loss": task.name for task in self.model.tasks}
        self._biases = {
            task: tower.output_bias for task, tower in self.model.towers.items()
        }

    def on_epoch_begin(self, epoch, logs=None):
        """Starts to count steps."""
        self._epoch = epoch + 1
        self._next = 1

    def on_train_batch_end(self, batch, logs=None):
        """Looks at losses and biases."""
        first, self._next = self._next, batch + 2
        # A mean over the epoch so far, so it stays NaN once it is.
        losses = {
            task: logs[key]
            for key, task in self._losses.items()
            if not math.isfinite(logs[key])
        }
        where = (
            f"step {first}" if first == batch + 1 else f"steps {first} to {batch + 1}"
        )
        if losses or not math.isfinite(logs["loss"]):
            raise FloatingPointError(self._explain_losses(losses, where))
        # One value each; on a GPU the logs had to be waited for anyhow.
        broken = [
            task
            for task, bias in self._biases.items()
            if not math.isfinite(float(ops.convert_to_numpy(bias)[0]))
        ]
        if broken:
            raise FloatingPointError(
                f"The gradient of {_tasks(broken)} is not finite at {where} of epoch "
                f"{self._epoch}, though the loss is. Look at the magnitude of the "
                "labels and sample weights in that batch; a lower learning rate, or "
                "`clipnorm` of the optimizer, may help."
            )

    def on_epoch_end(self, epoch, logs=None):
        """Looks at all weights."""
        broken = [
            weight.path
            for weight in self.model.weights
            if keras.backend.is_float_dtype(weight.dtype)
            and not bool(ops.all(ops.isfinite(weight)))
        ]
        if broken:
            raise FloatingPointError(
                f"Weights are not finite after step {self._next - 1} of epoch "
                f"{epoch + 1}: {', '.join(broken)}. Look at what feeds them; a lower "
                "learning rate, or `clipnorm` of the optimizer, may help."
            )

    def _explain_losses(self, losses: dict[str, float], where: str) -> str:
        where = f"at {where} of epoch {self._epoch}"
        if not losses:
            return (
                f"The loss is not finite {where}, though every task's is. Look at "
                "the losses that layers add, such as regularizers, and at the weights "
                "of the tasks."
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
            f"{what}. Look at the features of that batch for a value that is not "
            "finite. If there is none, the update before has broken what tasks share: "
            "a lower learning rate, or `clipnorm` of the optimizer, may help."
        )


def _tasks(names) -> str:
    names = [repr(name) for name in names]
    return f"task{'s' if len(names) > 1 else ''} {', '.join(names)}"
