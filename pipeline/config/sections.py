"""The sections of a config beside its data and features."""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, model_validator

from pipeline.config.data import Name, Section


class Task(Section):
    """One predicted action; `tfmtl.Task` says what its keys mean.

    `label`, `row_weight` and `duration` are columns of the logs, `space` is a column or
    another task.
    """

    name: Name
    label: Annotated[str, Field(min_length=1)] | None = None
    kind: Literal["binary", "regression", "count"] = "binary"
    space: str | None = None
    weight: Annotated[float, Field(ge=0)] = 1.0
    loss: (
        Literal["bce", "mse", "huber", "log_mse", "weighted_logistic", "poisson"] | None
    ) = None
    tower: list[Annotated[int, Field(ge=1)]] = [64]
    row_weight: Annotated[str, Field(min_length=1)] | None = None
    metrics: list[str] | None = None
    delta: Annotated[float, Field(gt=0)] | None = None
    duration: Annotated[str, Field(min_length=1)] | None = None
    calibration: Literal["scale", "platt", "isotonic", "none"] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Task":
        kinds = {"bce": "binary", "poisson": "count"}
        if self.loss and self.kind != kinds.get(self.loss, "regression"):
            raise ValueError(f"loss {self.loss!r} does not fit a {self.kind} task")
        return self

    @property
    def label_column(self) -> str:
        """The label's column; the task's name where none is given."""
        return self.label or self.name


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
    own, such as {name: sparse_adagrad, l2: 1.0e-6}. `learning_rate` is the optimizer's.
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


class Evaluate(Section):
    """What is reported, and what a model must reach to be blessed.

    `slices`: columns whose values are reported apart. `group`: a column, such as the
    user's id, by which binary tasks also get a grouped AUC: the mean of the groups'
    AUCs, weighted by their rows; rows where it is missing are in no group.
    `best_reachable`: task -> column with the true probability or expectation, where
    data are simulated.
    `minimum`: task -> least metric (AUC; Spearman correlation if it is not binary).
    `max_drop`: how much worse than the served model a task's metric may be; a mapping
    holds only the tasks that it names to it, for a rare task's metric is noisy.
    `single_task`: the workspace, or the metrics.json, of a run that has learnt each
    task alone; the report then shows the MTL gain. See
    `pipeline.components.evaluator.gain`.
    """

    slices: list[str] = []
    group: str | None = None
    best_reachable: dict[str, str] = {}
    minimum: dict[str, float] = {}
    max_drop: (
        Annotated[float, Field(ge=0)] | dict[str, Annotated[float, Field(ge=0)]]
    ) = 0.01
    single_task: str | None = None


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
