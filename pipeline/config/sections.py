"""The sections of a config beside its data and features."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args

import pydantic
from pydantic import AfterValidator, Field, field_validator, model_validator

from pipeline.config.values import Column, Folder, Name, Section, or_text


class Named(pydantic.BaseModel):
    """One of several ways by its name, with options of its own beside it."""

    model_config = pydantic.ConfigDict(
        extra="allow",
        frozen=True,
        use_attribute_docstrings=True,
        json_schema_extra=or_text,
    )

    name: str
    """The name; a text is the name alone."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value):
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """All but the name."""
        return dict(self.model_extra or {})


class Task(Section):
    """One predicted action; `tfmtl.Task` has the rules and formulas."""

    name: Name
    """The model's output."""
    label: Column | None = None
    """The label's column; without, the name."""
    kind: Literal["binary", "regression", "count", "classes"] = "binary"
    """What the label is: 0 or 1, a number, 0, 1, 2 ..., or one of the K classes 0 to
    K - 1 of the loss {name: softmax, classes: K}.
    """
    space: Column | None = None
    """The rows it is learnt from: a column that is 1 there, or a binary task whose
    label is; without, all.
    """
    weight: Annotated[float, Field(ge=0)] = 1.0
    """The weight of its loss in the sum."""
    loss: Named | list[Named] | None = None
    """What it learns by, of `tfmtl.losses`: a name, `{name: huber, delta: 2}` with
    arguments, or a list whose others, pairwise and listwise, come beside the first.
    Without, bce, mse, poisson or softmax.
    """
    tower: list[Annotated[int, Field(ge=1)]] = [64]
    """Widths of the hidden layers between the shared part and its output."""
    row_weight: Column | None = None
    """A column of weights >= 0 by which rows count in its loss and metrics."""
    metrics: list[str] | None = None
    """Metrics of the training, such as auc, gauc:user_id, auc/tab or mae; without, auc,
    mae or accuracy.
    """
    outside: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The weight, in the loss alone, of rows outside of its space."""
    duration: Column | None = None
    """A column of lengths > 0, such as a video's, by which a regression's loss divides
    label and prediction.
    """
    elapsed: Column | None = None
    """A column of times >= 0 from the row to when its label was read, for the loss
    {name: delayed, delay: 3600}.
    """
    calibration: Literal["scale", "platt", "isotonic", "none"] | None = None
    """What is fitted to the predictions on the valid split; without, scale for the loss
    log_mse, platt for focal and label_smoothing, else none.
    """
    calibration_by: Name | None = None
    """A categorical feature for each of whose ids calibration is fitted apart."""

    @property
    def label_column(self) -> str:
        """The label's column; the task's name where none is given."""
        return self.label or self.name

    @property
    def negative_rate(self) -> float:
        """Which share of the negatives the logs have kept, as the loss says."""
        return self._loss_options.get("negative_rate", 1.0)

    @property
    def classes(self) -> int | None:
        """How many classes the loss says; None of another kind of task."""
        if self.kind != "classes":
            return None
        classes = self._loss_options.get("classes")
        # The library refuses what is no such number.
        return classes if isinstance(classes, int) and 2 <= classes <= 1000 else 2

    @property
    def outputs(self) -> list[str]:
        """The model's outputs, as `tfmtl.Task.outputs` has them."""
        return [self.name, *(f"{self.name}_{k}" for k in range(self.classes or 0))]

    @property
    def quantile_group(self) -> str | None:
        """The feature within whose buckets the loss d2q takes quantiles."""
        return self._loss_options.get("group") if self.is_of_quantiles else None

    @property
    def is_of_quantiles(self) -> bool:
        """Whether its loss is d2q."""
        return self._first_loss is not None and self._first_loss.name == "d2q"

    @property
    def quantile_intervals(self) -> int:
        """How many intervals the loss d2q has between quantiles."""
        return self._loss_options.get("intervals", 100)

    @property
    def _first_loss(self) -> Named | None:
        losses = self.loss if isinstance(self.loss, list) else [self.loss]
        return losses[0] if losses else None

    @property
    def _loss_options(self) -> dict[str, Any]:
        return self._first_loss.options if self._first_loss else {}

    @property
    def is_weighted(self) -> bool:
        """Whether some rows count more than others in metrics."""
        return self.row_weight is not None or self.negative_rate < 1


def label_columns(tasks: Sequence[Task]) -> Iterator[tuple[str, str]]:
    """Yields (YAML path, column) of labels and what goes with them.

    Those are the columns of spaces, row weights, durations and elapsed times.
    """
    names = {task.name for task in tasks}
    for i, task in enumerate(tasks):
        yield f"tasks.{i}.{'label' if task.label else 'name'}", task.label_column
    for key in ("space", "row_weight", "duration", "elapsed"):
        for i, task in enumerate(tasks):
            column = getattr(task, key)
            if column and (key != "space" or column not in names):
                yield f"tasks.{i}.{key}", column


class Model(Section):
    """Which model is trained; docs/models/ has a page for each architecture."""

    architecture: str = "ple"
    """Its name, one of `tfmtl.models.names()`, or module:Class of your own."""
    options: dict[str, Any] = {}
    """The arguments it is built with, such as {shared_experts: 2}; those below the name
    of an architecture, {ple: {shared_experts: 2}, mmoe: {experts: 4}}, are of it alone.
    """


class Validation(Section):
    """How far distributions may move before ExampleValidator warns."""

    drift: Annotated[float, Field(ge=0, le=1)] = 0.3
    """From train to valid and test, and from the previous run's train to this one's."""
    served: list[str] = []
    """Logs of the rows that a server was asked for, in a format of `data.logs`."""
    skew: Annotated[float, Field(ge=0, le=1)] = 0.3
    """From what was `served` to train."""


class Transform(Section):
    """How transformed examples are written."""

    rows_per_record: Annotated[int, Field(ge=1)] = 1
    """Rows in a `tf.Example`: 1 is what every reader knows, a few hundred are several
    times faster to read in training, and smaller.
    """


class Checkpoint(Section):
    """When it is saved within an epoch what a killed training goes on from."""

    steps: Annotated[int, Field(ge=1)] | None = None
    """After so many batches."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """After so many minutes; with one worker alone."""


class Train(Section):
    """How the model is fitted; see docs/training.md."""

    epochs: Annotated[int, Field(ge=1)] = 3
    """Epochs at most; each ends with a validation and a checkpoint."""
    steps_per_epoch: Annotated[int, Field(ge=1)] | None = None
    """Batches of an epoch; without, a pass over the train split."""
    batch_size: Annotated[int, Field(ge=1)] = 1024
    """Rows in a batch."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """The optimizer's; without, its default."""
    schedule: Named = Named(name="constant")
    """How the learning rate goes on, as `tfmtl.optimizers.scheduled` has it: constant,
    cosine, linear, exponential, step or piecewise, such as
    {name: cosine, warmup: 0.5} with options in epochs.
    """
    optimizer: Named = Named(name="lazy_adam")
    """One of `tfmtl.optimizers.names()`, such as {name: sparse_adagrad, l2: 1.0e-6}."""
    loss_weighting: Named = Named(name="fixed")
    """How the tasks' losses become one: one of `tfmtl.training.weightings()`."""
    jit_compile: bool = False
    """Whether XLA compiles the training step, but for lookups and updates of large
    tables; worth it from some minutes of training on.
    """
    checkpoint: Checkpoint = Checkpoint()
    """When it is saved what a killed training goes on from, beside every epoch's end.
    """
    patience: Annotated[int, Field(ge=1)] | None = None
    """So many epochs without a better one end the training; without, none do."""
    monitor: str = "val_loss"
    """The metric by which the best epoch is kept."""
    mode: Literal["min", "max", "one"] | None = None
    """Where the best of `monitor` is, if its name does not say so: low, high, or at
    1.
    """
    seed: int = 0
    """What weights and the order of rows are drawn by."""
    deterministic: bool = False
    """Whether the weights are the same, bit for bit, on the same machine; slower."""
    warm_start: Folder | None = None
    """What to start from: "served", or the folder of a model."""
    workers: Annotated[int, Field(ge=1)] | list[str] = 1
    """Processes on this machine, or the host:port of each worker, over which every
    batch is spread.
    """
    shard_input: bool = False
    """Whether each of several workers reads a share of the train split alone, and not
    all of it: batches are then of other rows than one worker's.
    """
    callbacks: list[Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:\w+$")]] = []
    """Keras callbacks that watch the training, as module:name of a class or a function
    that makes one, such as mlflow.keras:MlflowCallback; called without arguments on the
    first worker, whenever a training starts or goes on.
    """

    @field_validator("checkpoint", mode="before")
    @classmethod
    def _says_when(cls, checkpoint: Any) -> Any:
        if checkpoint == {}:
            raise ValueError(
                "give `steps` or `minutes`; without the key, the end of an epoch alone "
                "is saved"
            )
        return checkpoint

    @model_validator(mode="after")
    def _check(self) -> "Train":
        if self.checkpoint.minutes and self.workers != 1:
            raise ValueError(
                "`checkpoint.minutes` is for one worker, as the clocks of several "
                "differ; give `checkpoint.steps`"
            )
        workers = self.workers if isinstance(self.workers, int) else len(self.workers)
        if self.shard_input and self.batch_size % workers:
            raise ValueError(
                "with `shard_input`, `workers` must divide `batch_size`. Received: "
                f"{workers} and {self.batch_size}"
            )
        return self


class FusedScore(Section):
    """One score of several tasks."""

    form: Literal["product", "sum"] = "product"
    """prod p^w, or sum w*p."""
    weights: Annotated[
        dict[str, Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1)
    ]
    """{task: w}, or {task_k: w} of the probability of its class k; others do not count.
    """


class Export(Section):
    """What the signature `rank` of the model takes and gives; see docs/export.md."""

    user_features: list[str] | None = None
    """Features that a request gives once for all candidates; without, any may be."""
    fused_score: FusedScore | None = None
    """An output `score` beside the tasks."""
    rank_outputs: Annotated[list[str], Field(min_length=1)] | None = None
    """The outputs of `rank`; without, all."""
    tables: Literal["float32", "bfloat16", "int8"] = "float32"
    """How numbers of embedding tables are kept: in 4 bytes, 2 or 1. The model is
    rounded before it is calibrated and measured.
    """


class Infra(Section):
    """What InfraValidator holds the exported model to before it may be pushed."""

    rows: Annotated[int, Field(ge=1)] = 1000
    """Logged rows whose served scores are compared with the offline ones; by other
    signatures than `serving_default`, the first 100 of them.
    """
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    """The median milliseconds of a request of one row to the embedded server on this
    machine.
    """
    max_megabytes: Annotated[float, Field(gt=0)] | None = None
    """The size of the SavedModel."""


_OfClasses = Literal["auc", "gauc", "log_loss", "normalized_entropy", "calibration"]
_OfSeveral = Literal["accuracy", "log_loss", "normalized_entropy"]
_OfNumbers = Literal["spearman", "xauc", "mae", "rmse", "calibration"]
# {kind of a task: its metrics}
METRICS = {
    "binary": get_args(_OfClasses),
    "regression": get_args(_OfNumbers),
    "count": get_args(_OfNumbers),
    "classes": get_args(_OfSeveral),
}


# {kind of a task: the metrics that it has if `evaluate.metrics` names them}
MORE_METRICS = {
    "binary": ("pr_auc", "uauc", "ndcg", "mrr", "hit_rate"),
    "regression": ("gxauc", "ndcg"),
    "count": ("gxauc", "ndcg"),
    "classes": (),
}
_MORE = r"^(pr_auc|uauc|gxauc|mrr|(ndcg|hit_rate)@[1-9]\d*)$"


def _more(name: str) -> str:
    if not re.match(_MORE, name):
        raise ValueError(
            "it must be pr_auc, uauc, mrr, gxauc, or ndcg or hit_rate with how many "
            f"places count, such as ndcg@10. Received: {name!r}. Others are always "
            "measured; groups are those of `evaluate.group`"
        )
    return name


_More = Annotated[
    str, AfterValidator(_more), Field(json_schema_extra={"pattern": _MORE})
]


class Rule(Section):
    """What a metric of the evaluated model must fulfil, else it is not blessed."""

    metric: Literal[_OfClasses, _OfNumbers, _OfSeveral] | _More
    """The metric; one of `evaluate.metrics`, too."""
    tasks: list[str] | None = None
    """The tasks it holds for; without, all that have the metric."""
    slices: dict[str, list[str | int | float | bool] | None] = {}
    """{column: values} in each of which it must hold, such as {tab: [1, 2]}; null is
    every value. Without, it is about all rows.
    """
    at_least: float | None = None
    """The lower bound of the metric."""
    at_most: float | None = None
    """The upper bound of the metric."""
    gain_at_least: float | None = None
    """The lower bound of its gain over the baseline, which is above 0 where the model
    is better, whatever the metric.
    """
    evidence: Literal["against", "for", "value"] = "against"
    """What refuses a model: an interval wholly outside the bounds, one not wholly
    inside, or the value alone.
    """

    @model_validator(mode="after")
    def _check(self) -> "Rule":
        if self.at_least is self.at_most is self.gain_at_least is None:
            raise ValueError("give `at_least`, `at_most` or `gain_at_least`")
        if None not in (self.at_least, self.at_most) and self.at_least > self.at_most:
            raise ValueError(
                "`at_least` must not be above `at_most`, or no model is blessed. "
                f"Received: {self.at_least:g} and {self.at_most:g}"
            )
        return self


class Importance(Section):
    """How it is measured what each feature brings: its values are permuted."""

    rows: Annotated[int, Field(ge=1)] = 20_000
    """Of so many rows of the test split."""
    seed: Annotated[int, Field(ge=0)] = 0
    """What the rows are drawn by."""


class Evaluate(Section):
    """What is reported, and what a model must reach; see docs/evaluation.md."""

    slices: list[Column] = []
    """Columns whose values are reported apart."""
    group: Column | None = None
    """A column, such as the user's id, whose rows are not independent: intervals are
    made by groups, and binary tasks get a grouped AUC, the mean of the groups' weighted
    by their rows. Rows where it is missing are in no group.
    """
    metrics: list[_More] = []
    """What is measured besides: pr_auc, and within each `group` uauc, ndcg@10, mrr and
    hit_rate@10 of binary tasks, gxauc and ndcg@10 of others; see docs/evaluation.md.
    """
    best_reachable: dict[str, Column] = {}
    """{task: column with the true probability or expectation}, where data are
    simulated.
    """
    baseline: Folder | None = "served"
    """What the model is compared with: the newest version at `push.destination`, the
    workspace of another run, or null for nothing.
    """
    single_task: Folder | None = None
    """The workspace of a run that has learnt each task alone, for the MTL gain."""
    default_rules: list[
        Literal["no_loss", "better_than_mean", "plausible", "unseen"]
    ] = ["no_loss", "better_than_mean", "plausible", "unseen"]
    """The rules that hold for every task."""
    exempt: list[str] = []
    """Tasks that the default rules do not hold for."""
    max_drop: (
        Annotated[float, Field(ge=0)] | dict[str, Annotated[float, Field(ge=0)]]
    ) = 0.0
    """By how much a task may be worse than the baseline, significantly; a mapping holds
    only the tasks that it names to it.
    """
    minimum: dict[str, float] = {}
    """{task: least metric}: AUC of binary tasks, accuracy of those with classes,
    Spearman correlation of others.
    """
    rules: list[Rule] = []
    """Further rules."""
    importance: Importance | None = Importance()
    """What each feature brings, for features x rows more predictions; null for none."""


class Push(Section):
    """Where blessed models go, and which servers learn of them."""

    destination: Annotated[
        Folder, Field(json_schema_extra={"default": "WORKSPACE/serving_models/NAME"})
    ]
    """The model base path: versions are folders in it. May be in an object store."""
    keep: Annotated[int, Field(ge=1)] = 3
    """The newest versions that are kept there."""
    models_config: str | None = None
    """A TF Serving model config file, in which the new version is added to those that
    the model of the pipeline's name has.
    """
    labels: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]] = []
    """Labels of `models_config` that the new version gets, such as canary."""
    urls: list[Annotated[str, Field(pattern=r"^(https?|grpc)://")]] = []
    """The servers that read `models_config`: a label is moved once all have loaded the
    version; without, the Pusher says which command moves it.
    """

    @model_validator(mode="after")
    def _check(self) -> "Push":
        for key in ("labels", "urls"):
            if getattr(self, key) and not self.models_config:
                raise ValueError(f"`{key}` go with a file; give `models_config` too")
        return self


class Beam(Section):
    """Where the Beam jobs run; see docs/beam.md."""

    runner: str = "local"
    """A Beam runner's name, or "local" for this process."""
    flags: list[str] = []
    """Flags that go to Beam as they are, such as --direct_num_workers=4."""
