"""One YAML file describes a pipeline: this module reads it and explains its faults.

Every error names the YAML path, what was received and, for a misspelt name, the
nearest known one.
"""

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import Field, field_validator, model_validator

from pipeline.config.data import Data, Name, Section
from pipeline.config.features import CategoricalFeature, Feature
from pipeline.errors import PipelineError
from pipeline.logs import expressions


class ConfigError(PipelineError):
    """The configuration cannot be used; the message says where and why."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the known name nearest to `name`, or ""."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


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


class Config(Section):
    """A whole pipeline.

    `workspace`: a folder of this machine, which all workers see under the same path.
    Without `push.destination`, models go to `workspace`/serving_models/`name`.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    workspace: str
    data: Data
    features: Annotated[list[Feature], Field(min_length=1)]
    domain: str | None = None
    tasks: Annotated[list[Task], Field(min_length=1)]
    model: Model = Model()
    validation: Validation = Validation()
    transform: Transform = Transform()
    train: Train = Train()
    export: Export = Export()
    evaluate: Evaluate = Evaluate()
    infra: Infra = Infra()
    push: Push
    beam: Beam = Beam()

    @model_validator(mode="before")
    @classmethod
    def _beside_the_rest(cls, raw: Any) -> Any:
        push = raw.get("push") or {}
        if not isinstance(push, dict):
            return raw
        folder = f"{raw.get('workspace')}/serving_models/{raw.get('name')}"
        return {**raw, "push": {"destination": folder, **push}}

    @field_validator("workspace")
    @classmethod
    def _is_mounted(cls, workspace: str) -> str:
        if "://" in workspace:
            raise ValueError(
                "a folder is needed that this machine and all workers mount; only logs "
                f"may be elsewhere. Received: {workspace!r}"
            )
        return workspace

    def columns(self) -> Iterator[tuple[str, str, str]]:
        """Yields (YAML path, column, type) for every column the logs must have.

        Types: "string" (categorical), "float" (numeric, label, space), "list"
        (sequence), "any" (split, slice and group columns, which keep their own type).
        """
        types_ = {"categorical": "string", "numeric": "float", "sequence": "list"}
        tasks = {task.name for task in self.tasks}
        for i, feature in enumerate(self.features):
            yield f"features.{i}.name", feature.name, types_[feature.kind]
        for i, task in enumerate(self.tasks):
            key = "label" if task.label else "name"
            yield f"tasks.{i}.{key}", task.label_column, "float"
            if task.space and task.space not in tasks:
                yield f"tasks.{i}.space", task.space, "float"
            for key in ("row_weight", "duration"):
                if column := getattr(task, key):
                    yield f"tasks.{i}.{key}", column, "float"
        for name, column in self.evaluate.best_reachable.items():
            yield f"evaluate.best_reachable.{name}", column, "float"
        for i, column in enumerate(self.evaluate.slices):
            yield f"evaluate.slices.{i}", column, "any"
        if self.evaluate.group:
            yield "evaluate.group", self.evaluate.group, "any"
        if self.data.split.column:
            yield "data.split.column", self.data.split.column, "any"

    def missing_words(self, column: str) -> tuple[str, ...] | None:
        """The texts of a column that stand for no value; None if it is verbatim.

        A sequence is read as the feature whose values it lists.
        """
        names = {column, *(f.of for f in self.features if _is_sequence(f, column))}
        return None if names & set(self.data.verbatim) else tuple(self.data.missing)

    def problems(self) -> Iterator[str]:
        """Yields what the sections, each valid by itself, have wrong between them."""
        features = {f.name: f for f in self.features}
        tasks = {t.name: t for t in self.tasks}
        labels = {t.label_column for t in self.tasks}
        spaces = {t.space for t in self.tasks}
        categorical = [n for n, f in features.items() if f.kind == "categorical"]
        histories = [history.name for history in self.data.history]
        later = [name for name in self.data.made() if name not in histories]
        for i, feature in enumerate(self.features):
            if feature.name in labels | spaces | set(later):
                yield (
                    f"features.{i}.name: {feature.name!r} is the label or the sample "
                    "space of a task, or made from later actions; a model must not see "
                    "what is known only later"
                )
            for key in ("of", "target") if feature.kind == "sequence" else ():
                name = getattr(feature, key)
                if name not in categorical and (key == "of" or name):
                    yield (
                        f"features.{i}.{key}: must name a categorical feature. "
                        f"Received: {name!r}.{nearest(name, categorical)}"
                    )
        yield from self._table_problems()
        for i, task in enumerate(self.tasks):
            for key in ("row_weight", "duration"):
                if getattr(task, key) in features:
                    yield (
                        f"tasks.{i}.{key}: {getattr(task, key)!r} is a feature, which "
                        "the model sees transformed; give the logs a column with the "
                        "plain numbers beside it"
                    )
        for what, items in (("features", self.features), ("tasks", self.tasks)):
            names = [item.name for item in items]
            for i, name in enumerate(names):
                if name in names[:i]:
                    yield f"{what}.{i}.name: {name!r} is already taken"
        for i, task in enumerate(self.tasks):
            if task.space == task.name:
                yield f"tasks.{i}.space: a task cannot be its own sample space"
            elif task.space in tasks and tasks[task.space].kind != "binary":
                yield f"tasks.{i}.space: {task.space!r} is not a binary task"
            elif _is_circular(task, tasks):
                yield (
                    f"tasks.{i}.space: {task.space!r} leads back to {task.name!r}; a "
                    "chain of spaces must end at a task without one, or in a column"
                )
        if self.data.split.column in self.data.made():
            yield (
                f"data.split.column: {self.data.split.column!r} is made from the rows, "
                "which are split by a column of the logs, such as the user or the time"
            )
        if self.domain and self.domain not in categorical:
            yield (
                f"domain: must name a categorical feature. Received: {self.domain!r}."
                f"{nearest(self.domain, categorical)}"
            )
        for path, expression in self.data.expressions():
            for column, text in expressions.texts_of(expression):
                if text in (self.missing_words(column) or ()):
                    yield (
                        f"{path}: {text!r} stands for no value (data.missing). Write "
                        f"is_null({column}), or name the column in data.verbatim"
                    )
        yield from self._export_problems()
        for section in ("best_reachable", "minimum", "max_drop"):
            value = getattr(self.evaluate, section)
            for name in value if isinstance(value, dict) else ():
                if name not in tasks:
                    yield (
                        f"evaluate.{section}.{name}: no such task."
                        f"{nearest(name, tasks)}"
                    )

    def _table_problems(self) -> Iterator[str]:
        first: dict[str, CategoricalFeature] = {}
        for i, feature in enumerate(self.features):
            if feature.kind != "categorical":
                continue
            if feature.capacity and self.train.workers != 1:
                yield (
                    f"features.{i}.capacity: one process alone can count ids; leave "
                    "train.workers at 1, or take hash_buckets"
                )
            other = first.setdefault(feature.table_name, feature)
            same = {"name": other.name, "table": other.table}
            if feature.model_copy(update=same) != other:
                yield (
                    f"features.{i}.table: features of one table must be alike but for "
                    f"their names. Received: {feature.name!r} and {other.name!r}, "
                    "which differ"
                )

    def _export_problems(self) -> Iterator[str]:
        features = [feature.name for feature in self.features]
        tasks = [task.name for task in self.tasks]
        score = self.export.fused_score
        outputs = [*tasks, "score"] if score else tasks
        for key, names, known, what in (
            ("user_features", self.export.user_features, features, "feature"),
            ("rank_outputs", self.export.rank_outputs, outputs, "output"),
            ("fused_score.weights", score and score.weights, tasks, "task"),
        ):
            for name in names or ():
                if name not in known:
                    yield f"export.{key}: no {what} {name!r}.{nearest(name, known)}"
        if score and "score" in tasks:
            yield (
                "export.fused_score: it is the output 'score'; the task of that name "
                "needs another"
            )


def _is_sequence(feature: Feature, column: str) -> bool:
    return feature.kind == "sequence" and feature.name == column


def _is_circular(task: Task, tasks: dict[str, Task]) -> bool:
    seen = set()
    space = task.space
    while space in tasks and space not in seen:
        seen.add(space)
        space = tasks[space].space
    return task.name in seen


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads and checks a pipeline's YAML file.

    Args:
        path: The YAML file.
        overrides: "path.to.key=value" strings; a value is read as YAML, and items of
            a list are named by position or by their `name`.

    Raises:
        ConfigError: With one line for each thing that is wrong.
    """
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML in UTF-8: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a mapping is expected. Received: {raw!r}")
    for override in overrides:
        _override(raw, override)
    try:
        config = Config.model_validate(raw)
        problems = list(config.problems())
    except pydantic.ValidationError as error:
        problems = list(dict.fromkeys(_explain(e) for e in error.errors()))
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    return config


def _override(raw: dict, override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise ConfigError(f"--set: expected path.to.key=value. Received: {override!r}")
    *parents, last = key.split(".")
    node: Any = raw
    for step in parents:
        if isinstance(node, dict):
            if node.get(step) is None:
                node[step] = {}
            node = node[step]
        else:
            node = node[_position(node, step, key)]
    try:
        value = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}: not valid YAML: {error}") from None
    if isinstance(node, dict):
        node[last] = value
    else:
        node[_position(node, last, key)] = value


def _position(node: Any, step: str, key: str) -> int:
    if isinstance(node, list):
        names = [str(n.get("name")) for n in node if isinstance(n, dict)]
        if step.isdigit() and int(step) < len(node):
            return int(step)
        if step in names:
            return names.index(step)
        raise ConfigError(f"--set {key}: no item {step!r}.{nearest(step, names)}")
    raise ConfigError(f"--set {key}: {step!r} is below a value, not a section")


_KINDS = ("categorical", "numeric", "sequence")


def _explain(error: Any) -> str:
    """One line for a pydantic error: YAML path, rule, what was received."""
    # A union adds the kind, or type, that it tried to the path; the YAML has no such
    # key.
    path = [s for s in error["loc"] if s not in _KINDS and not _is_type(str(s))]
    where = ".".join(str(step) for step in path) or "(top level)"
    if error["type"] == "extra_forbidden":
        known = _keys_at(error["loc"][:-1])
        hint = nearest(str(path[-1]), known)
        return f"{where}: unknown key.{hint} Known: {', '.join(sorted(known))}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{where}: this key is required"
    if error["type"] == "value_error":
        return f"{where}: {message}"
    return f"{where}: {message}. Received: {error['input']!r}"


def _is_type(step: str) -> bool:
    return "[" in step or "-" in step


def _keys_at(loc: tuple) -> list[str]:
    """The keys that the section at `loc` may have."""
    section: Any = Config
    for step in loc:
        if isinstance(step, int):
            continue
        if isinstance(section, type) and step in section.model_fields:
            section = section.model_fields[step].annotation
        models = list(_models(section))
        if step in _KINDS:
            models = [
                m
                for m in models
                if step in typing.get_args(m.model_fields["kind"].annotation)
            ]
        section = models[0] if len(models) == 1 else section
    return list(section.model_fields)


def _models(annotation: Any) -> Iterator[type[Section]]:
    """The section classes inside an annotation such as list[Annotated[A | B, ...]]."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, Section):
            yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)
