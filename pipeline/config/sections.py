"""The sections of a config beside its data and features."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args

import pydantic
from pydantic import Field, model_validator

from pipeline.config.data import Name, Section


class Task(Section):
    """One predicted action; `tfmtl.Task` has the keys' meaning and rules.

    `label`, `row_weight` and `duration` are columns of the logs, `space` is a column or
    another task, `calibration_by` a feature.
    """

    name: Name
    label: Annotated[str, Field(min_length=1)] | None = None
    kind: Literal["binary", "regression", "count"] = "binary"
    space: str | None = None
    weight: Annotated[float, Field(ge=0)] = 1.0
    loss: str | None = None
    tower: list[Annotated[int, Field(ge=1)]] = [64]
    row_weight: Annotated[str, Field(min_length=1)] | None = None
    metrics: list[str] | None = None
    delta: Annotated[float, Field(gt=0)] | None = None
    duration: Annotated[str, Field(min_length=1)] | None = None
    calibration: Literal["scale", "platt", "isotonic", "none"] | None = None
    calibration_by: Name | None = None

    @property
    def label_column(self) -> str:
        """The label's column; the task's name where none is given."""
        return self.label or self.name


def label_columns(tasks: Sequence[Task]) -> Iterator[tuple[str, str]]:
    """Yields (YAML path, column) of labels and what goes with them.

    Those are the columns of spaces, row weights and durations.
    """
    names = {task.name for task in tasks}
    for i, task in enumerate(tasks):
        yield f"tasks.{i}.{'label' if task.label else 'name'}", task.label_column
    for key in ("space", "row_weight", "duration"):
        for i, task in enumerate(tasks):
            column = getattr(task, key)
            if column and (key != "space" or column not in names):
                yield f"tasks.{i}.{key}", column


class Model(Section):
    """The architecture by its registered name, and the arguments it is built with."""

    architecture: str = "ple"
    options: dict[str, Any] = {}


class Named(pydantic.BaseModel):
    """One of several ways by its name, with options of its own beside it."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)

    name: str

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value):
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """All but the name."""
        return dict(self.model_extra or {})


class Validation(Section):
    """How far distributions may move before ExampleValidator warns.

    `drift`: from train to valid and test, and from the previous run's train to this
    one's. `served`: logs of the rows that a server was asked for, in a format of
    `data.logs`; train may differ from them by `skew`. ExampleValidator's `drift` says
    what is measured.
    """

    drift: Annotated[float, Field(ge=0, le=1)] = 0.3
    served: list[str] = []
    skew: Annotated[float, Field(ge=0, le=1)] = 0.3


class Transform(Section):
    """How transformed examples are written.

    `rows_per_record`: 1 is one `tf.Example` a row, which every reader knows. A few
    hundred, whose features' lists follow on each other in one example, are several
    times faster to read in training, and smaller.
    """

    rows_per_record: Annotated[int, Field(ge=1)] = 1


class Train(Section):
    """How the model is fitted.

    An epoch is a pass over the train split, or `steps_per_epoch` batches: it ends with
    a validation and a checkpoint. The epoch with the best `monitor` is kept, and
    `patience` epochs without a better one end the training; `mode` says what better
    is where the metric's name does not.

    `optimizer`, one of `tfmtl.optimizers.names()`, and `loss_weighting`, one of
    `tfmtl.training.weightings()`, are names, or mappings of a `name` and options of its
    own, such as {name: sparse_adagrad, l2: 1.0e-6}. `learning_rate` is the optimizer's;
    with `schedule: cosine` it falls to 0 over all `epochs` along half a cosine.
    `jit_compile`: XLA compiles the training step, but for lookups and updates of
    large tables; worth it from some minutes of training on.

    `deterministic`: the same weights bit for bit on the same machine; slower.
    `warm_start`: "served", or a folder of a model, to start from. `workers`: a number
    of processes on this machine, or the host:port of each worker, over which every
    batch is spread. See `pipeline.components.trainer`.

    `callbacks`: Keras callbacks that watch the training, such as
    [mlflow.keras:MlflowCallback]. Each is a class, or a function that makes one, and is
    called without arguments whenever a training starts or goes on, on the first worker.
    """

    epochs: Annotated[int, Field(ge=1)] = 3
    steps_per_epoch: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 1024
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    schedule: Literal["constant", "cosine"] = "constant"
    optimizer: Named = Named(name="lazy_adam")
    loss_weighting: Named = Named(name="fixed")
    jit_compile: bool = False
    patience: Annotated[int, Field(ge=1)] | None = None
    monitor: str = "val_loss"
    mode: Literal["min", "max", "one"] | None = None
    seed: int = 0
    deterministic: bool = False
    warm_start: str | None = None
    workers: Annotated[int, Field(ge=1)] | list[str] = 1
    callbacks: list[Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:\w+$")]] = []


class FusedScore(Section):
    """One score of several tasks: `form` "product", prod p^w, or "sum", sum w*p.

    `weights`: {task: w}; the other tasks do not count.
    """

    form: Literal["product", "sum"] = "product"
    weights: Annotated[
        dict[str, Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1)
    ]


class Export(Section):
    """What the signature `rank` of the exported model takes and gives.

    `user_features`: features that a request gives once for all candidates; without,
    any may be given once. `fused_score`: an output `score` beside the tasks.
    `rank_outputs`: its outputs; without, all. See `tfmtl.export`.
    """

    user_features: list[str] | None = None
    fused_score: FusedScore | None = None
    rank_outputs: Annotated[list[str], Field(min_length=1)] | None = None


class Infra(Section):
    """What InfraValidator holds the exported model to before it may be pushed.

    `rows`: logged rows whose served scores are compared with the offline ones.
    `max_latency_ms`: the median time of a request of one row to the embedded server on
    this machine. `max_megabytes`: size of the SavedModel.
    """

    rows: Annotated[int, Field(ge=1)] = 1000
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    max_megabytes: Annotated[float, Field(gt=0)] | None = None


_OfClasses = Literal["auc", "gauc", "log_loss", "normalized_entropy", "calibration"]
_OfNumbers = Literal["spearman", "xauc", "mae", "rmse", "calibration"]
# {kind of a task: its metrics}
METRICS = {
    "binary": get_args(_OfClasses),
    "regression": get_args(_OfNumbers),
    "count": get_args(_OfNumbers),
}


class Rule(Section):
    """What a metric of the evaluated model must fulfil, else it is not blessed.

    `metric`: such as auc, calibration or mae. `tasks`: without, all that have it.
    `slices`: {column: values} in which it must hold, such as {tab: [1, 2]}; null is
    every value of the column. Without, it is about all rows. `at_least`, `at_most`:
    bounds of the metric. `gain_at_least`: of its gain over the baseline, which is above
    0 where the model is better, whatever the metric.

    `evidence`: "against" refuses a model whose whole interval is outside the bounds,
    "for" one whose interval is not wholly inside, "value" looks at the value alone.
    """

    metric: Literal[_OfClasses, _OfNumbers]
    tasks: list[str] | None = None
    slices: dict[str, list[str | int | float | bool] | None] = {}
    at_least: float | None = None
    at_most: float | None = None
    gain_at_least: float | None = None
    evidence: Literal["against", "for", "value"] = "against"

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
    """Of how many rows of the test split, drawn by `seed`, features are permuted."""

    rows: Annotated[int, Field(ge=1)] = 20_000
    seed: Annotated[int, Field(ge=0)] = 0


class Evaluate(Section):
    """What is reported, and what a model must reach to be blessed.

    `slices`: columns whose values are reported apart. `group`: a column, such as the
    user's id, whose rows are not independent: intervals are made by groups, and binary
    tasks get a grouped AUC, the mean of the groups' AUCs weighted by their rows; rows
    where it is missing are in no group.
    `best_reachable`: task -> column with the true probability or expectation, where
    data are simulated.
    `baseline`: what the model is compared with: "served", the newest version at
    `push.destination`, the workspace of another run, or null. `single_task`: the
    workspace of a run that has learnt each task alone, for the MTL gain. See
    `pipeline.components.evaluator.others`.
    `default_rules`: the rules that hold for every task, see
    `pipeline.components.evaluator.rules`; `exempt`: tasks that they do not hold for.
    `max_drop`: by how much a task may be worse than the baseline, significantly; a
    mapping holds only the tasks that it names to it. `minimum`: task -> least metric
    (AUC; Spearman correlation if it is not binary). `rules`: further ones.
    `importance`: what each feature brings, for features x rows more predictions; null
    for none.
    """

    slices: list[str] = []
    group: str | None = None
    best_reachable: dict[str, str] = {}
    baseline: str | None = "served"
    single_task: str | None = None
    default_rules: list[
        Literal["no_loss", "better_than_mean", "plausible", "unseen"]
    ] = ["no_loss", "better_than_mean", "plausible", "unseen"]
    exempt: list[str] = []
    max_drop: (
        Annotated[float, Field(ge=0)] | dict[str, Annotated[float, Field(ge=0)]]
    ) = 0.0
    minimum: dict[str, float] = {}
    rules: list[Rule] = []
    importance: Importance | None = Importance()


class Push(Section):
    """Where blessed models go: `destination`/<version>, the newest `keep` of them.

    `models_config`: a TF Serving model config file, in which the new version is added
    to those to serve, and gets the labels in `labels`, such as [canary]. The model is
    the one of the pipeline's name. `urls`: the servers that read the file. A label is
    moved once all of them have loaded the version; without them it is not moved, and
    the Pusher says which command does it. See `serving.release.releases`.
    """

    destination: str
    keep: Annotated[int, Field(ge=1)] = 3
    models_config: str | None = None
    labels: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]] = []
    urls: list[Annotated[str, Field(pattern=r"^(https?|grpc)://")]] = []

    @model_validator(mode="after")
    def _check(self) -> "Push":
        for key in ("labels", "urls"):
            if getattr(self, key) and not self.models_config:
                raise ValueError(f"`{key}` go with a file; give `models_config` too")
        return self


class Beam(Section):
    """`runner`: "local", or a Beam runner's name; `flags` go to Beam as they are."""

    runner: str = "local"
    flags: list[str] = []
