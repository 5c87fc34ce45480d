"""The whole config, and what its sections must be for each other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from pipeline.config import expressions
from pipeline.config.data import Data
from pipeline.config.features import CategoricalFeature, Feature, column_type
from pipeline.config.sections import (
    METRICS,
    MORE_METRICS,
    Beam,
    Evaluate,
    Export,
    Infra,
    Model,
    Push,
    Rule,
    Task,
    Train,
    Transform,
    Validation,
    label_columns,
)
from pipeline.config.sweep import Sweep
from pipeline.config.values import Column, Folder, Section
from pipeline.errors import nearest
from pipeline.storage import mirror


class Config(Section):
    """A whole pipeline."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    """The pipeline, and the model that it pushes."""
    workspace: Folder
    """Where artifacts go: a folder, which all workers see under the same path, or a
    place in an object store, such as s3://bucket/feed; see docs/storage.md.
    """
    data: Data
    features: Annotated[list[Feature], Field(min_length=1)]
    """What the model reads."""
    domain: Column | None = None
    """The categorical feature that tells domains (tabs, apps, countries) apart, for
    multi-domain architectures and in reports.
    """
    tasks: Annotated[list[Task], Field(min_length=1)]
    """What the model predicts, in funnel order: click before purchase."""
    model: Model = Model()
    validation: Validation = Validation()
    transform: Transform = Transform()
    train: Train = Train()
    export: Export = Export()
    evaluate: Evaluate = Evaluate()
    infra: Infra = Infra()
    push: Annotated[Push, Field(json_schema_extra={"default": {}})]
    beam: Beam = Beam()
    sweep: Sweep | None = None
    """The models that `python -m pipeline sweep` trains."""

    @model_validator(mode="before")
    @classmethod
    def _beside_the_rest(cls, raw: Any) -> Any:
        push = raw.get("push") or {}
        if not isinstance(push, dict):
            return raw
        folder = f"{raw.get('workspace')}/serving_models/{raw.get('name')}"
        return {**raw, "push": {"destination": folder, **push}}

    def columns(self) -> Iterator[tuple[str, str, str]]:
        """Yields (YAML path, column, type) for every column the examples must have.

        In the logs, a feature's column may have another name, its `source`.

        Types: "string" (categorical), "float" (numeric, label, space), "list"
        (sequence, several values), "weighted" (values with weights), "map" (lookup),
        "vector", "any" (split, slice and group columns, which keep their own type).
        """
        for i, feature in enumerate(self.features):
            if feature.kind != "crossed":
                yield f"features.{i}.name", feature.name, column_type(feature)
        for path, column in label_columns(self.tasks):
            yield path, column, "float"
        for name, column in self.evaluate.best_reachable.items():
            yield f"evaluate.best_reachable.{name}", column, "float"
        for i, column in enumerate(self.evaluate.slices):
            yield f"evaluate.slices.{i}", column, "any"
        if self.evaluate.group:
            yield "evaluate.group", self.evaluate.group, "any"
        for column in self.data.split.columns:
            yield "data.split.column", column, "any"

    @property
    def raw_features(self) -> list[Feature]:
        """The features that are columns of the logs, and inputs of what is served."""
        return [feature for feature in self.features if feature.kind != "crossed"]

    def missing_words(self, column: str) -> tuple[str, ...] | None:
        """The texts of a column that stand for no value; None if it is verbatim.

        A sequence is read as the feature whose values it lists.
        """
        names = {column, *(_values_of(f) for f in self.features if f.name == column)}
        return None if names & set(self.data.verbatim) else tuple(self.data.missing)

    def _verbatim_problems(self) -> Iterator[str]:
        named = {name for _, name, _ in self.columns()}
        named |= {name for _, name in self.data.needed()}
        for i in range(len(self.data.actions)):
            named |= {name for _, name in self.data.needed_of(i)}
        tables: dict[str, set[str]] = {}
        for feature in self.features:
            if isinstance(feature, CategoricalFeature):
                tables.setdefault(feature.table_name, set()).add(feature.name)
        for name in self.data.verbatim:
            own = (f for f in self.features if f.name == name)
            of = next(filter(None, map(_values_of, own)), None)
            if of:
                yield f"data.verbatim: {name!r} lists values of {of!r}; name that one"
            elif name not in named:
                yield (
                    f"data.verbatim: the config names no column {name!r}."
                    f"{nearest(name, sorted(named))}"
                )
        for table, features in tables.items():
            if features & {*self.data.verbatim} and features - {*self.data.verbatim}:
                yield (
                    f"data.verbatim: all features of the table {table!r} or none. "
                    f"Left out: {sorted(features - {*self.data.verbatim})}"
                )

    def _storage_problems(self) -> Iterator[str]:
        if mirror.url(Path(self.push.destination)) and self.push.models_config:
            yield (
                "push.models_config: is written for a model base path that is a "
                f"folder. Received: push.destination: {self.push.destination}"
            )

    def problems(self) -> Iterator[str]:
        """Yields what the sections, each valid by itself, have wrong between them."""
        yield from self._storage_problems()
        features = {f.name: f for f in self.features}
        labels = {t.label_column for t in self.tasks}
        spaces = {t.space for t in self.tasks}
        histories = [name for history in self.data.history for name in history.made]
        later = [name for name in self.data.made() if name not in histories]
        for i, feature in enumerate(self.features):
            known_later = {feature.name, feature.source} & {*labels, *spaces, *later}
            for name in sorted(known_later):
                yield (
                    f"features.{i}.name: {name!r} is the label or the sample "
                    "space of a task, or made from later actions; a model must not see "
                    "what is known only later"
                )
            if feature.column in histories:
                yield (
                    f"features.{i}.column: {feature.column!r} is made here; call the "
                    "feature so"
                )
        yield from self._table_problems()
        yield from self._quantile_problems()
        yield from self._problems_of_made()
        for path, column in label_columns(self.tasks):
            if (
                path.endswith(("row_weight", "duration", "elapsed"))
                and column in features
            ):
                yield (
                    f"{path}: {column!r} is a feature, which the model sees "
                    "transformed; give the logs a column with the plain numbers beside "
                    "it"
                )
        for what, items in (("features", self.features), ("tasks", self.tasks)):
            names = [item.name for item in items]
            for i, name in enumerate(names):
                if name in names[:i]:
                    yield f"{what}.{i}.name: {name!r} is already taken"
        for column in self.data.split.columns:
            if column in self.data.made():
                yield (
                    f"data.split.column: {column!r} is made from the rows, which are "
                    "split by a column of the logs, such as the user or the time"
                )
        yield from self._verbatim_problems()
        for path, expression in self.data.expressions():
            for column, text in expressions.texts_of(expression):
                if text in (self.missing_words(column) or ()):
                    yield (
                        f"{path}: {text!r} stands for no value (data.missing). Write "
                        f"is_null({column}), or name the column in data.verbatim"
                    )
        yield from self._export_problems()
        yield from self._evaluate_problems()

    def _table_problems(self) -> Iterator[str]:
        first: dict[str, CategoricalFeature] = {}
        for i, feature in enumerate(self.features):
            if not isinstance(feature, CategoricalFeature):
                continue
            other = first.setdefault(feature.table_name, feature)
            if _table(feature) != _table(other):
                yield (
                    f"features.{i}.table: features of one table must be alike in what "
                    f"makes the table. Received: {feature.name!r} and "
                    f"{other.name!r}, which differ"
                )

    def _quantile_problems(self) -> Iterator[str]:
        """Tells of tasks of the loss d2q whose groups, or intervals, are none."""
        known = [f.name for f in self.features if getattr(f, "buckets", None)]
        for i, task in enumerate(self.tasks):
            group, intervals = task.quantile_group, task.quantile_intervals
            if task.is_of_quantiles and group not in known:
                yield (
                    f"tasks.{i}.loss.group: d2q needs a numeric feature with `buckets`,"
                    f" such as the duration's. Received: {group!r}."
                    f"{nearest(str(group), known)}"
                )
            if not isinstance(intervals, int) or not 1 <= intervals <= 1000:
                yield (
                    f"tasks.{i}.loss.intervals: a whole number from 1 to 1000 is "
                    f"needed. Received: {intervals!r}"
                )

    def _problems_of_made(self) -> Iterator[str]:
        """Tells of features that are made of others, of which there is no such."""
        ids = [f.name for f in self.features if f.kind == "categorical"]
        lists = {f.name: f for f in self.features if f.kind == "sequence"}
        cut = [f.name for f in self.features if getattr(f, "buckets", None)]
        for i, feature in enumerate(self.features):
            if feature.kind == "crossed":
                key, names, known = "of", feature.of, [*ids, *cut]
                rule = "must name categorical features, or numeric ones with `buckets`"
            elif feature.kind == "lookup":
                key, names, known = "key", [feature.key], ids
                rule = "must name a categorical feature"
            elif getattr(feature, "side_of", None):
                key, names = "side_of", [feature.side_of]
                known = [n for n, other in lists.items() if not other.side_of]
                rule = "must name a sequence that is no side field itself"
                events = lists.get(feature.side_of)
                if events and events.max_length != feature.max_length:
                    yield (
                        f"features.{i}.max_length: it must be that of {events.name!r}, "
                        f"{events.max_length}. Received: {feature.max_length}"
                    )
            else:
                continue
            for name in names:
                if name not in known:
                    hint = nearest(name, known)
                    yield f"features.{i}.{key}: it {rule}. Received: {name!r}.{hint}"

    def _evaluate_problems(self) -> Iterator[str]:
        tasks = [task.name for task in self.tasks]
        named = {
            f"evaluate.{section}": value if isinstance(value, dict | list) else ()
            for section in ("best_reachable", "minimum", "max_drop", "exempt")
            for value in [getattr(self.evaluate, section)]
        }
        columns = [*self.evaluate.slices, *([self.domain] if self.domain else [])]
        if "all" in columns:
            yield (
                "evaluate.slices: the slice of all rows is called 'all'. Received: a "
                "column of that name, as a slice or the domain; give it another"
            )
        for i, rule in enumerate(self.evaluate.rules):
            named[f"evaluate.rules.{i}.tasks"] = rule.tasks or ()
            for column in rule.slices:
                if column not in columns:
                    yield (
                        f"evaluate.rules.{i}.slices: {column!r} is neither the domain "
                        f"nor in evaluate.slices.{nearest(column, columns)}"
                    )
            yield from self._rule_problems(f"evaluate.rules.{i}", rule)
        for i, name in enumerate(self.evaluate.metrics):
            if name != "pr_auc" and not self.evaluate.group:
                yield (
                    f"evaluate.metrics.{i}: {name} is by group; give `evaluate.group`, "
                    "too"
                )
        for task in self.tasks:
            if task.classes and task.name in self.evaluate.best_reachable:
                yield (
                    f"evaluate.best_reachable.{task.name}: of a task with classes the "
                    "best prediction is no single column; leave it out"
                )
        for path, names in named.items():
            for name in names:
                if name not in tasks:
                    yield f"{path}.{name}: no such task.{nearest(name, tasks)}"

    def _rule_problems(self, path: str, rule: Rule) -> Iterator[str]:
        """Tells of a rule that would hold for nothing, and so refuse nothing."""
        base = rule.metric.split("@")[0]
        more = base in {name for names in MORE_METRICS.values() for name in names}
        if more and rule.metric not in self.evaluate.metrics:
            yield f"{path}.metric: add {rule.metric} to `evaluate.metrics`"
        without = [
            task.name
            for task in self.tasks
            if base not in METRICS[task.kind] + MORE_METRICS[task.kind]
        ]
        for name in rule.tasks or ():
            if name in without:
                kind = next(task.kind for task in self.tasks if task.name == name)
                yield f"{path}.metric: {name!r} has no {rule.metric}: it is {kind}"
        if not rule.tasks and len(without) == len(self.tasks):
            yield f"{path}.metric: no task has {rule.metric}"
        if rule.metric == "gauc" and not self.evaluate.group:
            yield f"{path}.metric: gauc is by group; give `evaluate.group`, too"

    def _export_problems(self) -> Iterator[str]:
        features = [feature.name for feature in self.raw_features]
        tasks = [name for task in self.tasks for name in task.outputs]
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


def _table(feature: CategoricalFeature) -> dict[str, Any]:
    """What features of one table have alike."""
    keys = CategoricalFeature.model_fields.keys() - {"kind", "name", "table", "column"}
    return feature.model_dump(include=keys)


def _values_of(feature: Feature) -> str | None:
    """The feature whose values a column lists, if it is of another's."""
    key = {"sequence": "of", "lookup": "key"}.get(feature.kind)
    return key and getattr(feature, key)
