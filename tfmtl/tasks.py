"""The task: everything that is particular to one predicted action."""

import dataclasses
import math
from collections.abc import Mapping

import keras
from keras import ops

from tfmtl import _errors, losses
from tfmtl._declaration import Declaration
from tfmtl.calibration import OF_KIND as CALIBRATIONS
from tfmtl.features import of_one_id
from tfmtl.metrics.metric_spec import OF_KIND, MetricSpec

_KINDS = ("binary", "regression", "count", "classes")
OTHER_COLUMNS = ("space", "row_weight", "duration", "elapsed")


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
            expected count), or "classes" (label 0 to K - 1 by the loss {"name":
            "softmax", "classes": K}; outputs are the mean class, and beside it the
            probability of each: "rating" of five classes, "rating_0" to "rating_4").
        space: String. The sample space: a column that is 1 for rows inside (among the
            labels or the features), or another binary task, whose label must be 1
            ("given click") in a row of its own space: purchase given cart, cart given
            click is about clicked rows only. Defaults to every row.
        weight: Float. The weight of the task's loss in the sum. Defaults to 1.
        loss: What it learns by, see `tfmtl.losses`: a name ("focal"), a dict of name
            and arguments ({"name": "huber", "delta": 2}), a `tfmtl.losses.Loss`, or a
            list of such, whose weighted sum is the task's loss. The first says what
            the prediction is; those behind it are of the order of rows, as in
            ["bce", {"name": "pairwise", "group": "user_id", "weight": 0.2}]. Afterwards
            a tuple of `Loss`. Defaults to "bce", "mse", "poisson" and
            "softmax".
        tower: Tuple of integers. Hidden layers between the shared part and the task's
            logit. Defaults to (64,).
        row_weight: String. A column (among the labels, else the features) of weights,
            0 or above, by which rows count in this task's loss and metrics. NaN means
            that the row is outside; a negative or infinite weight is refused. Defaults
            to 1.
        metrics: Tuple of strings, the metrics in `fit`: "auc", "gauc:user_id" (grouped
            by a categorical feature), "logloss", "ne" (normalised entropy),
            "calibration" for binary tasks; "mae", "rmse", "xauc", "calibration" for
            regressions and counts, "deviance" for counts; "accuracy" and
            "cross_entropy" for classes. "auc/tab" is the AUC for each id of the
            categorical feature tab, "click_auc/tab=1" in the logs. Defaults
            to ("auc",), ("mae",) or ("accuracy",).
        outside: Float. The weight, in the loss alone, of rows outside of the space
            whose label is not missing: a soft sample space, by which a task of few
            rows sees the others a little. Defaults to 0.
        duration: String. A column of lengths > 0, such as the video's in seconds
            (found like `row_weight`), for regressions of watch time. The loss then
            compares completion ratios, y / duration with p / duration, so that long
            videos do not rule it; prediction and metrics stay in seconds. A row without
            a finite duration > 0 is outside. Defaults to none.
        elapsed: String. A column of times >= 0 (found like `row_weight`), from the row
            to when its label was read, for the loss {"name": "delayed", "delay": 3600}
            of positives that come late. A row without such a time is outside.
        calibration: String. What `MultiTaskModel.calibrate` fits after the training, as
            the pipeline's Trainer does on the valid split: "scale" (one factor, for
            regressions and counts), "platt" (a line over the logit, for binary tasks),
            "isotonic" (any rising function) or "none". See `tfmtl.calibration`.
            Defaults to what suits the loss: "scale" for "log_mse", "platt" for "focal",
            else "none".
        calibration_by: String. A categorical feature of at most 1000 ids, such as the
            domain, for each of whose ids it is fitted apart where there are rows
            enough. Defaults to one for all rows.

    Example:
    >>> Task("watch_seconds", kind="regression", space="click", loss="log_mse").loss
    (LogMSE(weight=1.0),)

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236),
          eq. 8 and 9.
        - [D2Q](https://arxiv.org/abs/2206.06003) and
          [WTG](https://arxiv.org/abs/2208.05190) on durations and completion ratios.
    """

    name: str
    label: str | None = None
    kind: str = "binary"
    space: str | None = None
    weight: float | None = None
    loss: str | Mapping | losses.Loss | list | tuple | None = None
    tower: tuple[int, ...] = (64,)
    row_weight: str | None = None
    metrics: tuple[str, ...] | None = None
    outside: float = 0.0
    duration: str | None = None
    elapsed: str | None = None
    calibration: str | None = None
    calibration_by: str | None = None

    def __post_init__(self):
        _errors.check_name("a task", self.name)
        _errors.check_choice(f"kind of task {self.name!r}", self.kind, _KINDS)
        defaults = {
            "label": self.name,
            "weight": 1.0,
            "loss": losses.names(self.kind)[0],
            "metrics": OF_KIND[self.kind][:1],
        }
        for key, value in defaults.items():
            if getattr(self, key) is None:
                object.__setattr__(self, key, value)
        object.__setattr__(
            self, "tower", _errors.check_units(f"tower of {self.name!r}", self.tower)
        )
        object.__setattr__(self, "loss", self._losses())
        if self.calibration is None:
            object.__setattr__(self, "calibration", self.loss[0].calibration)
        _errors.check_choice(
            f"calibration of {self.kind} task {self.name!r}",
            self.calibration,
            CALIBRATIONS[self.kind],
        )
        if self.calibration != "none" and not self.loss[0].can_be_calibrated:
            raise ValueError(
                f"calibration of task {self.name!r} must be 'none', as its loss learns "
                "from rows of which some negatives are fake. Received: "
                f"{self.calibration!r}."
            )
        _errors.check_number(f"weight of task {self.name!r}", self.weight)
        if self.calibration_by is not None and self.calibration == "none":
            raise ValueError(
                f"calibration_by of task {self.name!r} needs a calibration. Received: "
                "calibration='none'."
            )
        for key in ("label", *OTHER_COLUMNS, "calibration_by"):
            if not isinstance(getattr(self, key), str | None):
                raise ValueError(
                    f"{key} of task {self.name!r} must be the name of a column. "
                    f"Received: {getattr(self, key)!r}."
                )
        if self.space == self.name:
            raise ValueError(f"Task {self.name!r} cannot be its own sample space.")
        _errors.check_ratio(f"outside of task {self.name!r}", self.outside)
        if self.outside and self.space is None:
            raise ValueError(
                f"outside of task {self.name!r} needs a space. Received: space=None."
            )
        if self.duration is not None and self.kind != "regression":
            raise ValueError(
                "A duration belongs to a regression of watch time. Received: "
                f"{self.duration!r} for the {self.kind} task {self.name!r}."
            )
        if self.duration is not None and (self.logits > 1 or self.predicts_quantiles):
            raise ValueError(
                "A duration divides predictions, which the loss "
                f"{self.loss[0].name!r} of task {self.name!r} does not read alone. "
                "Give another loss, or no duration."
            )
        is_delayed = isinstance(self.loss[0], losses.Delayed)
        if is_delayed != (self.elapsed is not None):
            raise ValueError(
                f"elapsed of task {self.name!r} and the loss 'delayed' belong "
                "together: the column of the time a label was waited for. Received: "
                f"elapsed={self.elapsed!r}, loss {self.loss[0].name!r}."
            )
        if is_delayed and len(self.loss) > 1:
            raise ValueError(
                f"The loss 'delayed' of task {self.name!r} stands alone, as it takes "
                "young negatives for what may still come. Received: losses "
                f"{[loss.name for loss in self.loss]}."
            )
        if isinstance(self.metrics, str):
            raise ValueError(
                f"metrics of task {self.name!r} must be a tuple of names. Received: "
                f"{self.metrics!r}."
            )
        object.__setattr__(self, "metrics", tuple(self.metrics))
        keys = [spec.key for spec in self.metric_specs]
        _errors.check_unique(f"Metrics of task {self.name!r}", keys)

    def _losses(self):
        given = self.loss if isinstance(self.loss, list | tuple) else [self.loss]
        what = f"loss of {self.kind} task {self.name!r}"
        found = tuple(losses.get(each, self.kind, what) for each in given)
        ranks = [isinstance(loss, losses.RowLoss) for loss in found]
        if not found or not ranks[0] or any(ranks[1:]):
            raise ValueError(
                f"The first {what} must be one of rows, which says what the prediction "
                "is, and any behind it ones of their order, 'pairwise' or 'listwise'. "
                f"Received: {[loss.name for loss in found]}."
            )
        _errors.check_unique(f"Losses of task {self.name!r}", [x.name for x in found])
        return found

    def get_config(self) -> dict:
        """Returns every argument; losses as dicts of their names and arguments."""
        return super().get_config() | {"loss": [x.get_config() for x in self.loss]}

    @classmethod
    def from_config(cls, config: dict) -> "Task":
        """Builds the task from `get_config`'s dict.

        One without a calibration was written before there were any, by a model that has
        none; one with a delta when it was no argument of the loss "huber".
        """
        config = {"calibration": "none", **config}
        if delta := config.pop("delta", None):
            config["loss"] = {"name": "huber", "delta": delta}
        return cls(**config)

    @property
    def metric_specs(self) -> list[MetricSpec]:
        """The metrics, read from their names."""
        return [MetricSpec.parse(text, self.kind) for text in self.metrics]

    def activate(self, logits):
        """Maps logits to predictions: probabilities, or values of a regression.

        Args:
            logits: Tensor of shape (batch, n), n as `logits` says.

        Returns:
            Float32 tensor of shape (batch, 1); if n > 1, of shape (batch, 1 + n), the
            logits behind the prediction, for the loss to read.
        """
        logits = ops.cast(logits, "float32")
        prediction = self.loss[0].activate(logits)
        if self.logits == 1:
            return prediction
        return ops.concatenate([prediction, logits], axis=-1)

    @property
    def largest_label(self) -> tuple[float, str]:
        """The largest label of a task that is no regression, and the rule in words."""
        if self.kind == "classes":
            return self.classes - 1, f"a class from 0 to {self.classes - 1}"
        return (1, "0 or 1") if self.kind == "binary" else (math.inf, ">= 0")

    @property
    def classes(self) -> int | None:
        """How many classes there are; None of another kind of task."""
        return self.loss[0].classes if self.kind == "classes" else None

    @property
    def outputs(self) -> list[str]:
        """What the model calls its outputs: the task's name, then those of classes."""
        return [self.name, *(f"{self.name}_{k}" for k in range(self.classes or 0))]

    def probabilities(self, logits) -> dict:
        """Maps logits (batch, classes) to {output of a class: (batch, 1)}."""
        columns = ops.split(ops.softmax(logits), self.classes, axis=-1)
        return dict(zip(self.outputs[1:], columns, strict=True))

    @property
    def logits(self) -> int:
        """How many logits the task's tower gives."""
        return self.loss[0].logits

    def loss_value(self, label, prediction, weight, groups=None, logits=None):
        """Returns the task's loss in a batch, a scalar: the weighted sum of its losses.

        Args:
            label: Tensor of shape (batch,), without NaN.
            prediction: Tensor of shape (batch,).
            weight: Tensor of shape (batch,). Rows of weight 0 do not count.
            groups: Dict {feature: integer tensor of shape (batch,)} of `loss_groups`.
            logits: Tensor of shape (batch, n), if the tower gives several.
        """
        first, *others = self.loss
        ids = groups or {}
        value = first.value(label, prediction, weight, ids.get(first.group), logits)
        total = first.weight * value
        if others:
            score = first.link.inverse(prediction)
        for loss in others:
            value = loss.value(label, score, weight, ids.get(loss.group))
            total += loss.weight * value
        return total

    @property
    def predicts_quantiles(self) -> bool:
        """Whether what the tower predicts is a quantile within a group of rows."""
        return isinstance(self.loss[0], losses.D2Q)

    def in_label_unit(self, quantile, groups):
        """Maps quantiles (batch, 1) to (batch, 2): values, and behind them quantiles.

        Values are in the label's unit; the loss reads the quantiles, as it reads logits
        behind other predictions.
        """
        values = self.loss[0].label_at(quantile[:, 0], groups)
        return ops.concatenate([ops.expand_dims(values, -1), quantile], axis=-1)

    @property
    def loss_groups(self) -> list[str]:
        """The features by whose ids losses compare rows."""
        return [loss.group for loss in self.loss if loss.group is not None]


def is_probability(task: Task, output: str) -> bool:
    """Whether an output of a task is a probability: a binary task's, or a class's."""
    return task.kind == "binary" or output != task.name


def columns_beside(tasks: list[Task]) -> list[str]:
    """Returns the columns, other than labels, that tasks name."""
    names = {task.name for task in tasks}
    columns = [
        getattr(task, key)
        for key in OTHER_COLUMNS
        for task in tasks
        if key != "space" or task.space not in names
    ]
    return [name for name in dict.fromkeys(columns) if name]


def check_tasks(tasks: list) -> None:
    """Raises a ValueError unless `tasks` can be learnt together."""
    if not tasks:
        raise ValueError("A model needs at least one task. Received none.")
    for task in tasks:
        if not isinstance(task, Task):
            raise ValueError(f"A task must be a tfmtl.Task. Received: {task!r}.")
    _errors.check_unique("Tasks", [task.name for task in tasks])
    outputs = [name for task in tasks for name in task.outputs]
    _errors.check_unique("Outputs of tasks and classes", outputs)
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


def check_loss_groups(tasks: list[Task], features: list) -> None:
    """Raises a ValueError unless losses group rows by a `Categorical` of `features`."""
    ids = of_one_id(features)
    for task in tasks:
        for group in task.loss_groups:
            if group not in ids:
                raise ValueError(
                    f"A loss of task {task.name!r} must group rows by a Categorical "
                    f"among the features. Received: {group!r}."
                    f"{_errors.nearest(group, ids)}"
                )
        if task.predicts_quantiles:
            loss, size = task.loss[0], ids[task.loss[0].group].table_size
            if len(loss.levels) != size:
                raise ValueError(
                    f"levels of the loss 'd2q' of task {task.name!r} must have a row "
                    f"for each of the {size} ids of {loss.group!r}. Received: "
                    f"{len(loss.levels)}."
                )


def check_products(what: str, tasks: list[Task]) -> None:
    """Raises a ValueError unless tasks have one logit, whose probability multiplies."""
    for task in tasks:
        if task.logits > 1:
            raise ValueError(
                f"{what} multiplies probabilities of one logit. Received: the loss "
                f"{task.loss[0].name!r} of task {task.name!r}; 'bce' with 'listwise' "
                "beside it ranks too."
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


def pairs_in_order(tasks: list[Task]) -> list[tuple[str, str]]:
    """Returns the pairs (binary task, the next one of the same sample space)."""
    last, pairs = {}, []
    for task in tasks:
        if task.kind == "binary":
            if task.space in last:
                pairs.append((last[task.space], task.name))
            last[task.space] = task.name
    return pairs
