"""The task: everything that is particular to one predicted action."""

import dataclasses
import math

import keras
import tensorflow as tf
from keras import ops

from tfmtl import _errors
from tfmtl._declaration import Declaration

_LOSSES = {"binary": ("bce",), "regression": ("mse", "huber", "log_mse")}
_EPSILON = 1e-7


@keras.saving.register_keras_serializable("tfmtl")
@dataclasses.dataclass(frozen=True)
class Task(Declaration):
    """One predicted action: its label, sample space, loss, weight and tower.

    The loss is the mean over the rows inside the task's sample space, PLE's eq. 9:

        L_k = sum_i d_i loss_k(p_i, y_i) / sum_i d_i

    where d_i is 1 if row i lies in the space and its label is not missing (NaN), else
    0. A row outside adds nothing to loss, gradients or metrics; a batch without a row
    inside has loss 0.

    Args:
        name: String. The model's output key.
        label: String. The label's key. Defaults to `name`.
        kind: "binary" (label 0 or 1, the output is a probability) or "regression".
        space: String. The sample space: a column that is 1 for rows inside (among the
            labels or the features), or another binary task, whose label must be 1
            ("given click"). Defaults to every row.
        weight: Float. The weight of the task's loss in the sum. Defaults to 1.
        loss: "bce" for binary tasks; "mse", "huber" (delta 1) or "log_mse" for
            regression. "log_mse" compares log(1 + y) with log(1 + p), p >= 0, as is
            usual for watch time. Defaults to "bce" and "mse".
        tower: Tuple of integers. Hidden layers between the shared part and the task's
            logit. Defaults to (64,).

    Example:
    >>> Task("watch_seconds", kind="regression", space="click", loss="log_mse").label
    'watch_seconds'

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236),
          eq. 8 and 9.
    """

    name: str
    label: str | None = None
    kind: str = "binary"
    space: str | None = None
    weight: float | None = None
    loss: str | None = None
    tower: tuple[int, ...] = (64,)

    def __post_init__(self):
        _errors.check_name("a task", self.name)
        _errors.check_choice(f"kind of task {self.name!r}", self.kind, _LOSSES)
        defaults = {
            "label": self.name,
            "weight": 1.0,
            "loss": _LOSSES[self.kind][0],
        }
        for key, value in defaults.items():
            if getattr(self, key) is None:
                object.__setattr__(self, key, value)
        object.__setattr__(
            self, "tower", _errors.check_units(f"tower of {self.name!r}", self.tower)
        )
        _errors.check_choice(
            f"loss of {self.kind} task {self.name!r}", self.loss, _LOSSES[self.kind]
        )
        if not isinstance(self.weight, int | float) or not self.weight >= 0:
            raise ValueError(
                f"weight of task {self.name!r} must be a number >= 0. Received: "
                f"{self.weight!r}."
            )
        if self.space == self.name:
            raise ValueError(f"Task {self.name!r} cannot be its own sample space.")

    def activate(self, logits):
        """Maps logits to predictions: probabilities, or values of a regression.

        Args:
            logits: Tensor of shape (batch, 1).

        Returns:
            Float32 tensor of shape (batch, 1).
        """
        logits = ops.cast(logits, "float32")
        if self.kind == "binary":
            return ops.sigmoid(logits)
        return ops.softplus(logits) if self.loss == "log_mse" else logits

    def logit_of(self, prediction: float) -> float:
        """Returns the logit that `activate` maps to a prediction.

        Raises:
            ValueError: If the task cannot predict it, as a probability of 0.
        """
        if self.kind == "regression" and self.loss != "log_mse":
            return prediction
        if not 0 < prediction < (1 if self.kind == "binary" else math.inf):
            raise ValueError(
                f"Task {self.name!r} cannot predict {prediction!r}: a probability must "
                "lie between 0 and 1, a value of log_mse above 0."
            )
        if self.kind == "binary":
            return math.log(prediction) - math.log1p(-prediction)
        return prediction + math.log(-math.expm1(-prediction))  # of softplus

    def row_loss(self, label, prediction):
        """Returns the loss of each row.

        Args:
            label: Tensor of shape (batch,), without NaN.
            prediction: Tensor of shape (batch,), as from `activate`.

        Returns:
            Tensor of shape (batch,).
        """
        if self.loss == "bce":
            p = ops.clip(prediction, _EPSILON, 1 - _EPSILON)
            return -(label * ops.log(p) + (1 - label) * ops.log(1 - p))
        if self.loss == "log_mse":
            label = ops.log1p(ops.maximum(label, 0.0))
            prediction = ops.log1p(ops.maximum(prediction, 0.0))
        error = ops.abs(prediction - label)
        if self.loss == "huber":
            return ops.where(error <= 1, 0.5 * error * error, error - 0.5)
        return error * error


def check_tasks(tasks: list) -> None:
    """Raises a ValueError unless `tasks` can be learnt together."""
    if not tasks:
        raise ValueError("A model needs at least one task. Received none.")
    for task in tasks:
        if not isinstance(task, Task):
            raise ValueError(f"A task must be a tfmtl.Task. Received: {task!r}.")
    _errors.check_unique("Tasks", [task.name for task in tasks])
    by_name = {task.name: task for task in tasks}
    for task in tasks:
        space = by_name.get(task.space)
        if space is not None and space.kind != "binary":
            raise ValueError(
                f"The sample space of task {task.name!r} must be a binary task or a "
                f"column. Received the {space.kind} task {space.name!r}."
            )


def labels_and_masks(tasks: list[Task], labels: dict, features: dict) -> dict:
    """Returns each task's label, NaN filled with 0, and the mask of its sample space.

    Args:
        tasks: List of `Task`.
        labels: Dict of tensors of shape (batch,) or (batch, 1).
        features: Dict of tensors, in which space columns are looked up too.

    Returns:
        {task: (label, mask)}, float32 tensors of shape (batch,).

    Raises:
        ValueError: If a label or space column is not there.
    """

    def column(name, places, what):
        for place in places:
            if name in place:
                return ops.reshape(ops.cast(place[name], "float32"), (-1,))
        known = [key for place in places for key in place]
        raise ValueError(f"{what} {name!r} is missing.{_errors.nearest(name, known)}")

    by_name = {task.name: task for task in tasks}
    result = {}
    for task in tasks:
        label = column(task.label, (labels,), f"The label of task {task.name!r},")
        mask = ops.logical_not(ops.isnan(label))
        if task.space in by_name:
            other = by_name[task.space]
            space = column(other.label, (labels,), f"The label of task {other.name!r},")
            mask = ops.logical_and(mask, ops.equal(space, 1))
        elif task.space is not None:
            space = column(
                task.space, (labels, features), f"The space of task {task.name!r},"
            )
            mask = ops.logical_and(mask, ops.equal(space, 1))
        # A NaN label times weight 0 is still NaN, so it is filled first.
        label = ops.where(mask, label, ops.zeros_like(label))
        if task.kind == "binary":
            # TensorFlow's own, as Keras has none; XLA leaves it out.
            tf.debugging.Assert(
                ops.all(ops.logical_and(label >= 0, label <= 1)),
                [
                    f"A label of binary task {task.name} must be 0 or 1. Received:",
                    label,
                ],
            )
        result[task.name] = (label, ops.cast(mask, "float32"))
    return result
