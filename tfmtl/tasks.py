"""The task: everything that is particular to one predicted action."""

import dataclasses
import math

import keras
from keras import ops

from tfmtl import _errors
from tfmtl._declaration import Declaration
from tfmtl.calibration import OF_KIND as CALIBRATIONS
from tfmtl.metrics.metric_spec import OF_KIND, MetricSpec

_LOSSES = {
    "binary": ("bce",),
    "regression": ("mse", "huber", "log_mse", "weighted_logistic"),
    "count": ("poisson",),
}
_EPSILON = 1e-7
_LARGEST_LOGIT = 80.0  # whose exponential is still a float32


@keras.saving.register_keras_serializable("tfmtl")
@dataclasses.dataclass(frozen=True, repr=False)
class Task(Declaration):
    """One predicted action: its label, sample space, loss, weight and tower.

    The loss is the mean over the rows inside the task's sample space, PLE's eq. 9:

        L_k = sum_i d_i loss_k(p_i, y_i) / sum_i d_i

    where d_i is 1, or the row's weight, if row i lies in the space and its label is not
    missing (NaN), else 0. A row outside adds nothing to loss, gradients or metrics; a
    batch without a row inside has loss 0.

    Tasks stand in funnel order where an architecture hands on information from one to
    the next (ESMM's chain, AITM, DCRNN): click before purchase.

    Args:
        name: String. The model's output key.
        label: String. The label's key. Defaults to `name`.
        kind: "binary" (label 0 or 1, the output is a probability), "regression", or
            "count" (label 0, 1, 2, ..., as of comments or pages; the output is the
            expected count).
        space: String. The sample space: a column that is 1 for rows inside (among the
            labels or the features), or another binary task, whose label must be 1
            ("given click") in a row of its own space: purchase given cart, cart given
            click is about clicked rows only. Defaults to every row.
        weight: Float. The weight of the task's loss in the sum. Defaults to 1.
        loss: See below. Defaults to "bce", "mse" and "poisson".
        tower: Tuple of integers. Hidden layers between the shared part and the task's
            logit. Defaults to (64,).
        row_weight: String. A column (among the labels, else the features) of weights,
            0 or above, by which rows count in this task's loss and metrics. NaN means
            that the row is outside; a negative or infinite weight is refused. Defaults
            to 1.
        metrics: Tuple of strings, the metrics in `fit`: "auc", "gauc:user_id" (grouped
            by a categorical feature), "logloss", "ne" (normalised entropy),
            "calibration" for binary tasks; "mae", "rmse", "xauc", "calibration" for
            regressions and counts, "deviance" for counts. "auc/tab" is the AUC for each
            id of the categorical feature tab, "click_auc/tab=1" in the logs. Defaults
            to ("auc",) or ("mae",).
        delta: Float. Where "huber" goes from squared to linear. Defaults to 1.
        duration: String. A column of lengths > 0, such as the video's in seconds
            (found like `row_weight`), for regressions of watch time. The loss then
            compares completion ratios, y / duration with p / duration, so that long
            videos do not rule it; prediction and metrics stay in seconds. A row without
            a finite duration > 0 is outside. Defaults to none.
        calibration: String. What `MultiTaskModel.calibrate` fits after the training, as
            the pipeline's Trainer does on the valid split: "scale" (one factor, for
            regressions and counts), "platt" (a line over the logit, for binary tasks),
            "isotonic" (any rising function) or "none". See `tfmtl.calibration`.
            Defaults to "scale" for the loss "log_mse", else "none".
        calibration_by: String. A categorical feature of at most 1000 ids, such as the
            domain, for each of whose ids it is fitted apart where there are rows
            enough. Defaults to one for all rows.

    Losses of a row, with label y, prediction p and the tower's logit z:

    - "bce", p = sigmoid(z): -y log p - (1 - y) log(1 - p)
    - "mse", p = z: (y - p)^2
    - "huber", p = z: e^2 / 2 for e = |y - p| <= delta, else delta (e - delta / 2)
    - "log_mse", p = softplus(z): (log(1 + y) - log(1 + p))^2, as is usual for watch
      time; p is nearer to the median than to the mean, which is why its `calibration`
      is "scale" by default
    - "weighted_logistic", p = exp(z): -y log s - log(1 - s), s = p / (1 + p) = sigmoid.
      YouTube's weighted logistic regression, in which the odds p are the expected watch
      time. There unwatched rows alone count as negatives, so that the odds are
      E[y] / P(not watched); here every row does, so that they are E[y] however many
      rows are watched, `space="click"` included.
    - "poisson", p = softplus(z): y log(y / p) - y + p, half the deviance. Its minimum
      is the mean whatever the distribution, so counts may spread more than Poisson's;
      softplus, as one odd row moves it less than an exponential.

    Example:
    >>> Task("watch_seconds", kind="regression", space="click", loss="log_mse").label
    'watch_seconds'

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236),
          eq. 8 and 9.
        - [Deep Neural Networks for YouTube Recommendations](
          https://doi.org/10.1145/2959100.2959190), section 4.2.
        - [D2Q](https://arxiv.org/abs/2206.06003) and
          [WTG](https://arxiv.org/abs/2208.05190) on durations and completion ratios.
    """

    name: str
    label: str | None = None
    kind: str = "binary"
    space: str | None = None
    weight: float | None = None
    loss: str | None = None
    tower: tuple[int, ...] = (64,)
    row_weight: str | None = None
    metrics: tuple[str, ...] | None = None
    delta: float | None = None
    duration: str | None = None
    calibration: str | None = None
    calibration_by: str | None = None

    def __post_init__(self):
        _errors.check_name("a task", self.name)
        _errors.check_choice(f"kind of task {self.name!r}", self.kind, _LOSSES)
        defaults = {
            "label": self.name,
            "weight": 1.0,
            "loss": _LOSSES[self.kind][0],
            "metrics": OF_KIND[self.kind][:1],
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
        if self.calibration is None:
            default = "scale" if self.loss == "log_mse" else "none"
            object.__setattr__(self, "calibration", default)
        _errors.check_choice(
            f"calibration of {self.kind} task {self.name!r}",
            self.calibration,
            CALIBRATIONS[self.kind],
        )
        _errors.check_number(f"weight of task {self.name!r}", self.weight)
        if self.calibration_by is not None and self.calibration == "none":
            raise ValueError(
                f"calibration_by of task {self.name!r} needs a calibration. Received: "
                "calibration='none'."
            )
        for key in ("label", "space", "row_weight", "duration", "calibration_by"):
            if not isinstance(getattr(self, key), str | None):
                raise ValueError(
                    f"{key} of task {self.name!r} must be the name of a column. "
                    f"Received: {getattr(self, key)!r}."
                )
        if self.space == self.name:
            raise ValueError(f"Task {self.name!r} cannot be its own sample space.")
        if self.loss == "huber" and self.delta is None:
            object.__setattr__(self, "delta", 1.0)
        if self.delta is not None and (
            self.loss != "huber"
            or not _errors.is_number(self.delta)
            or not self.delta > 0
        ):
            raise ValueError(
                f"delta of task {self.name!r} must be a number > 0, of the loss "
                f"'huber'. Received: {self.delta!r} with loss {self.loss!r}."
            )
        if self.duration is not None and self.kind != "regression":
            raise ValueError(
                "A duration belongs to a regression of watch time. Received: "
                f"{self.duration!r} for the {self.kind} task {self.name!r}."
            )
        if isinstance(self.metrics, str):
            raise ValueError(
                f"metrics of task {self.name!r} must be a tuple of names. Received: "
                f"{self.metrics!r}."
            )
        object.__setattr__(self, "metrics", tuple(self.metrics))
        keys = [spec.key for spec in self.metric_specs]
        _errors.check_unique(f"Metrics of task {self.name!r}", keys)

    @classmethod
    def from_config(cls, config: dict) -> "Task":
        """Builds the task from `get_config`'s dict.

        One without the key was written before there were calibrations, by a model that
        has none.
        """
        return cls(**{"calibration": "none", **config})

    @property
    def metric_specs(self) -> list[MetricSpec]:
        """The metrics, read from their names."""
        return [MetricSpec.parse(text, self.kind) for text in self.metrics]

    def activate(self, logits):
        """Maps logits to predictions: probabilities, or values of a regression.

        Args:
            logits: Tensor of shape (batch, 1).

        Returns:
            Float32 tensor of shape (batch, 1).
        """
        logits = ops.cast(logits, "float32")
        if self.loss == "bce":
            return ops.sigmoid(logits)
        if self.loss in ("log_mse", "poisson"):
            return ops.softplus(logits)
        if self.loss == "weighted_logistic":
            return ops.exp(ops.minimum(logits, _LARGEST_LOGIT))
        return logits

    def logit_of(self, prediction: float) -> float:
        """Returns the logit that `activate` maps to a prediction.

        Raises:
            ValueError: If the task cannot predict it, as a probability of 0.
        """
        linear = self.loss in ("mse", "huber")
        least = -math.inf if linear else 0
        if not least < prediction < (1 if self.kind == "binary" else math.inf):
            raise ValueError(
                f"Task {self.name!r} cannot predict {prediction!r}: a probability must "
                f"lie between 0 and 1, a value of log_mse, weighted_logistic or "
                "poisson above 0, any other be finite."
            )
        if linear:
            return prediction
        if self.loss == "bce":
            return math.log(prediction) - math.log1p(-prediction)
        if self.loss == "weighted_logistic":
            return math.log(prediction)
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
        if self.loss == "weighted_logistic":
            label = ops.maximum(label, 0.0)
            p = ops.maximum(prediction, _EPSILON)
            return (label + 1) * ops.log1p(p) - label * ops.log(p)
        if self.loss == "poisson":
            p = ops.maximum(prediction, _EPSILON)
            y = ops.maximum(label, _EPSILON)  # 0 log 0 = 0
            return label * ops.log(y / p) - label + p
        if self.loss == "log_mse":
            label = ops.log1p(ops.maximum(label, 0.0))
            prediction = ops.log1p(ops.maximum(prediction, 0.0))
        error = ops.abs(prediction - label)
        if self.loss == "huber":
            beyond = self.delta * (error - 0.5 * self.delta)
            return ops.where(error <= self.delta, 0.5 * error * error, beyond)
        return error * error


def columns_beside(tasks: list[Task]) -> list[str]:
    """Returns the columns, other than labels, that tasks name."""
    names = {task.name for task in tasks}
    columns = [task.space for task in tasks if task.space not in names]
    columns += [name for task in tasks for name in (task.row_weight, task.duration)]
    return [name for name in dict.fromkeys(columns) if name]


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
        lineage = [task.name]
        while (space := by_name.get(by_name[lineage[-1]].space)) is not None:
            if space.kind != "binary":
                raise ValueError(
                    f"The sample space of task {lineage[-1]!r} must be a binary task "
                    f"or a column. Received the {space.kind} task {space.name!r}."
                )
            lineage.append(space.name)
            if space.name in lineage[:-1]:
                raise ValueError(
                    "Sample spaces must lead back to a task without one, or in a "
                    f"column. Received: {' -> '.join(lineage)}."
                )


def check_funnel_order(tasks: list[Task]) -> None:
    """Raises a ValueError unless each task stands behind the one that it is given."""
    names = [task.name for task in tasks]
    for i, task in enumerate(tasks):
        if task.space in names[i:]:
            raise ValueError(
                "Tasks must stand in funnel order, for information is handed on from "
                f"one to the next. Received: {task.name!r} before {task.space!r}, its "
                "sample space."
            )
