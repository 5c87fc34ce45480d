"""The `data` section of a config: which logs there are, and how they become examples.

docs/data.md says what each key does, with examples.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config import expressions
from pipeline.config.joins import Action, History, Table, joined
from pipeline.config.reading import Reading
from pipeline.config.values import (
    Column,
    Columns,
    Expression,
    Name,
    Patterns,
    Section,
    one,
)

# What tools write into a log where there is no value: those that pandas reads so, and
# Hive's and MySQL's.
MISSING_WORDS = (
    "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None", "\\N",
)  # fmt: skip


class Split(Section):
    """How rows are divided into train, valid and test."""

    by: Literal["hash", "time", "random", "given"] = "hash"
    """By a hash of `column`, so that all rows of a user stay together; by order of
    `column`, where the oldest rows train; each row at random; or as `data.logs` names
    the files of each split.
    """
    column: Column | Columns | None = None
    """What decides: for `hash` a column or several together, for `time` the one with
    the time, for `given` logs without valid what it is drawn by.
    """
    seed: Annotated[int, Field(ge=0)] = 0
    """What rows are drawn by where no column decides."""
    train: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """The share of rows that train."""
    valid: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The share of rows that validate; the rest tests. Where `given` logs have no
    valid, the share of train's.
    """

    @model_validator(mode="after")
    def _check(self) -> "Split":
        if self.by in ("hash", "time") and not self.column:
            raise ValueError(f"a split by {self.by!r} needs `column`")
        if self.by == "time" and not isinstance(self.column, str):
            raise ValueError("a split by 'time' needs one `column`, which has the time")
        if self.by == "random" and self.column:
            raise ValueError(
                "a split by 'random' draws each row by itself; leave `column` out, or "
                "split by 'hash' to keep the rows of its values together"
            )
        if self.by != "given" and self.train + self.valid >= 1:
            raise ValueError(
                "`train` + `valid` must be below 1, the rest is test. Received: "
                f"{self.train} + {self.valid}"
            )
        return self

    @property
    def columns(self) -> list[str]:
        """The columns that decide."""
        return one(self.column) or []


def _is_value(word: str) -> bool:
    """Whether a word is the text of a number or a boolean."""
    if word.lower() in ("true", "false"):
        return True
    try:
        return not math.isnan(float(word))
    except ValueError:
        return False


_Logs = Patterns | dict[Literal["train", "valid", "test"], Patterns]


class Data(Reading):
    """Where the logs come from, and how they become examples; see docs/data.md."""

    source: Literal["feed", "census", "epinions"] | None = None
    """A bundled dataset, in place of `logs`."""
    options: dict[str, Any] = {}
    """What the bundled dataset is made or read by, such as {seed: 7}."""
    logs: _Logs | None = None
    """The files of impressions, globs allowed; {split: files} for a split as `given`,
    where valid may be left out. In any path of logs, %Y, %m, %d and %H stand for the
    day and hour of `run --day`, else for all.
    """
    window: Annotated[int, Field(ge=1)] = 1
    """Of how many days, or hours, up to that of `run --day` the logs are trained on."""
    tables: list[Table] = []
    """Tables of users or items that impressions are joined with."""
    where: Expression | None = None
    """An expression; only rows for which it holds become examples."""
    time: Column | None = None
    """The column with an impression's time, which `actions`, `history` and tables with
    a `time` need.
    """
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    """What a time that is a number counts."""
    actions: list[Action] = []
    """Logs of actions that impressions are joined with."""
    until: float | str | None = None
    """When the logs end, if that is not their latest time."""
    history: list[History] = []
    """List columns of what users did before."""
    labels: dict[Name, Expression] = {}
    """New columns, {name: expression}."""
    missing: list[str] = list(MISSING_WORDS)
    """Words that stand for no value; [] for none. Empty texts always do."""
    verbatim: list[Column] = []
    """Columns whose texts are taken as written, be they `missing` or numbers."""
    split: Split
    max_dead_letter_rate: Annotated[float, Field(ge=0, le=1)] = 0.001
    """The share of rows that may be unreadable before the run stops."""

    @field_validator("logs", mode="before", json_schema_input_type=str | _Logs)
    @classmethod
    def _one_pattern(cls, logs: Any) -> Any:
        return one(logs)

    @field_validator("missing")
    @classmethod
    def _words(cls, missing: list[str]) -> list[str]:
        values = [word for word in missing if _is_value(word)]
        if values:
            # A typed column has the value and not the word: -999 would be missing in a
            # CSV, and a number in Parquet and at serving.
            raise ValueError(
                f"a number or a boolean is no missing word. Received: {values}. Write "
                "null, an empty text or a word in the logs instead, or leave such rows "
                "out by `where`"
            )
        return missing

    @model_validator(mode="after")
    def _check(self) -> "Data":
        if (self.source is None) == (self.logs is None):
            raise ValueError("exactly one of `source` and `logs` must be given")
        if isinstance(self.logs, dict) != (self.split.by == "given") and self.logs:
            raise ValueError(
                "`logs` maps train, valid and test to files if, and only if, "
                "`split.by` is 'given'"
            )
        if isinstance(self.logs, dict) and not {"train", "test"} <= set(self.logs):
            raise ValueError(
                "`logs` must name train and test, and may name valid. Received: "
                f"{list(self.logs)}"
            )
        for problem in self._shuffle_problems():
            raise ValueError(problem)
        return self

    def _shuffle_problems(self) -> Iterator[str]:
        """Yields what `actions` and `history` have wrong between them."""
        if (self.actions or self.history) and not self.time:
            yield "`actions` and `history` need `time`, the column of the impressions"
        for i, table in enumerate(self.tables):
            if table.time and not self.time:
                yield f"`tables.{i}.time` needs `time`, the column of the impressions"
        actions = {action.name: action for action in self.actions}
        for history in self.history:
            if history.actions is None:
                continue
            if history.actions not in actions:
                yield (
                    f"history {history.name!r}: `actions` must be one of "
                    f"{list(actions)}. Received: {history.actions!r}"
                )
            elif history.key not in actions[history.actions].key:
                yield (
                    f"history {history.name!r}: its key {history.key!r} must be in "
                    f"the key of {history.actions!r}"
                )
        new = [*(column for a in self.actions for column in joined(a))]
        new += [*(name for h in self.history for name in h.made), *self.labels]
        twice = sorted({name for name in new if new.count(name) > 1})
        tables = [table.name for table in self.tables]
        if len(set(tables)) < len(tables):
            yield f"two tables have the same name: {tables}"
        if "impressions" in actions:
            yield "an action cannot be called impressions; give it another name"
        if twice or len(actions) < len(self.actions):
            yield f"two new columns have the same name: {twice or list(actions)}"
        if (self.actions or self.history) and not self.shuffle_columns():
            yield (
                "the keys of all `actions` and `history` must share a column, such as "
                "the user, by which the rows are shuffled once"
            )

    def patterns(self) -> list[str]:
        """The globs of all logs."""
        logs = self.logs or []
        of_all = logs if isinstance(logs, list) else sum(logs.values(), [])
        others = (*self.tables, *self.actions)
        return of_all + [glob for other in others for glob in other.logs]

    def shuffle_columns(self) -> list[str]:
        """The key columns that all `actions` and `history` share."""
        keys = [list(a.key) for a in self.actions] + [[h.key] for h in self.history]
        return [name for name in keys[0] if all(name in key for key in keys[1:])]

    def needed(self) -> Iterator[tuple[str, str]]:
        """Yields (YAML path, column) for the columns of the impressions needed here."""
        if self.time:
            yield "data.time", self.time
        for i, table in enumerate(self.tables):
            yield from ((f"data.tables.{i}.key", column) for column in table.key)
        yield from _read_by("data.where", self.where)
        for i, action in enumerate(self.actions):
            yield from ((f"data.actions.{i}.key", column) for column in action.key)
        for i, history in enumerate(self.history):
            yield f"data.history.{i}.key", history.key
            if history.actions is None:
                yield from _listed(i, history)
        later = [column for action in self.actions for column in joined(action)]
        for name, text in self.labels.items():
            of_label = _read_by(f"data.labels.{name}", text)
            yield from (needed for needed in of_label if needed[1] not in later)

    def needed_of(self, i: int) -> Iterator[tuple[str, str]]:
        """Yields (YAML path, column) for the columns of the i-th log of actions."""
        action, path = self.actions[i], f"data.actions.{i}"
        yield from ((f"{path}.key", column) for column in action.key.values())
        yield f"{path}.time", action.time
        yield from _read_by(f"{path}.where", action.where)
        for name, value in action.values.items():
            yield f"{path}.values.{name}", value.column
        for j, history in enumerate(self.history):
            if history.actions == action.name:
                yield from _listed(j, history)

    def expressions(self) -> Iterator[tuple[str, str]]:
        """Yields (YAML path, text) of all expressions."""
        if self.where:
            yield "data.where", self.where
        for key, parts in (("actions", self.actions), ("history", self.history)):
            for i, part in enumerate(parts):
                if part.where:
                    yield f"data.{key}.{i}.where", part.where
        for name, text in self.labels.items():
            yield f"data.labels.{name}", text

    def made(self) -> list[str]:
        """The columns that are not in the logs, but made from them."""
        new = [column for action in self.actions for column in joined(action)]
        new += [name for history in self.history for name in history.made]
        return [*new, *self.labels]


def _listed(i: int, history: History) -> Iterator[tuple[str, str]]:
    yield f"data.history.{i}.column", history.column
    for name, column in history.fields.items():
        yield f"data.history.{i}.fields.{name}", column
    yield from _read_by(f"data.history.{i}.where", history.where)


def _read_by(path: str, text: str | None) -> Iterator[tuple[str, str]]:
    """Yields (YAML path, column) for the columns of an expression, if there is one."""
    for column in expressions.columns_of(text) if text else ():
        yield path, column
