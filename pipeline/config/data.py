"""The `data` section of a config: which logs there are, and how they become examples.

docs/data.md says what each key does, with examples.
"""

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BeforeValidator, Field, field_validator, model_validator

from pipeline.config import expressions


class Section(pydantic.BaseModel):
    """A part of a config: an unknown key is an error, and nothing changes later."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


# Feature and task names become the inputs and outputs of the served model, so they
# are held to what TensorFlow takes.
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$")]

# What tools write into a log where there is no value: those that pandas reads so, and
# Hive's and MySQL's.
MISSING_WORDS = (
    "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None", "\\N",
)  # fmt: skip

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(value: Any) -> Any:
    """Turns "90s", "30m", "1.5h" or "7d" into seconds; a number stays as it is."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", value.strip())
    if not match:
        raise ValueError("a duration is a number of seconds, or such as 90s, 30m, 7d")
    return float(match[1]) * _SECONDS[match[2]]


def _parsed(text: str) -> str:
    expressions.parse(text)
    return text


def _character(text: str) -> str:
    if len(text) != 1 or not text.isascii() or text in "\r\n":
        raise ValueError(
            f"one ASCII character is needed, and no line break. Received: {text!r}"
        )
    return text


Duration = Annotated[float, BeforeValidator(_seconds), Field(ge=0, lt=float("inf"))]
Expression = Annotated[str, pydantic.AfterValidator(_parsed)]
Column = Annotated[str, Field(min_length=1)]
Patterns = Annotated[list[str], Field(min_length=1)]
Character = Annotated[str, pydantic.AfterValidator(_character)]


def _one(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Split(Section):
    """How rows are divided into train, valid and test.

    `hash`: by a hash of `column` (all rows of a user stay together), or of several
    together. `time`: by order of `column`, the oldest rows train. `random`: each row by
    itself, drawn by `seed`. `given`: `data.logs` names the files of each split; those
    of valid may be left out, and the share `valid` of the rows of train is drawn, by
    `column` if there is one.
    """

    by: Literal["hash", "time", "random", "given"] = "hash"
    column: Column | Annotated[list[Column], Field(min_length=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    train: Annotated[float, Field(gt=0, lt=1)] = 0.8
    valid: Annotated[float, Field(gt=0, lt=1)] = 0.1

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
        return _one(self.column) or []


class Reading(Section):
    """How the files of a log are read.

    `format` is told by the files' names where it is not given. The others are for CSV.
    `delimiter`: between fields; a tab in .tsv files, else a comma. `quote`: around a
    field in which delimiters, quotes (doubled) or line breaks stand; null for none.
    `escape`: what stands before a quote that does not end a field, mostly a backslash.
    `columns`: the names, where the files have no header. `skip_lines`: so many lines
    before the header are skipped, then those that start with `comment`. `strip`: white
    space around a field is no part of it. `decimal` and `thousands`: the point of
    numbers, and what stands between their thousands. `multiline`: whether a quoted
    field may hold line breaks; "false" lets a large file with quotes be read by several
    workers.
    """

    format: Literal["csv", "jsonl", "parquet", "tfrecord"] | None = None
    delimiter: Character | None = None
    quote: Character | None = '"'
    columns: Annotated[list[Column], Field(min_length=1)] | None = None
    strip: bool = False
    escape: Character | None = None
    skip_lines: Annotated[int, Field(ge=0)] = 0
    comment: Annotated[str, Field(min_length=1)] | None = None
    decimal: Character = "."
    thousands: Character | None = None
    multiline: bool = True

    @field_validator("columns")
    @classmethod
    def _each_once(cls, columns: list[str] | None) -> list[str] | None:
        twice = sorted({c for c in columns or [] if columns.count(c) > 1})
        if twice:
            raise ValueError(f"each column needs a name of its own. Received: {twice}")
        return columns

    @model_validator(mode="after")
    def _differ(self) -> "Reading":
        if self.quote and self.quote == self.delimiter:
            raise ValueError("`delimiter` and `quote` must differ")
        if self.decimal == self.thousands:
            raise ValueError("`decimal` and `thousands` must differ")
        return self


class Value(Section):
    """What an impression gets of its actions: their sum, the first, the last ..."""

    column: Column
    take: Literal["sum", "min", "max", "first", "last"] = "last"

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value


class _Keyed(Reading):
    """A further log, whose rows belong to impressions by a key."""

    name: Name
    logs: Annotated[Patterns, BeforeValidator(_one)]
    key: Annotated[dict[Column, Column], Field(min_length=1)]

    @field_validator("key", mode="before")
    @classmethod
    def _key(cls, key: Any) -> Any:
        key = _one(key)
        return {name: name for name in key} if isinstance(key, list) else key


class Table(_Keyed):
    """A table of users or items, whose columns each impression gets by `key`.

    They are called `name.column`, and joined where the config names them. `key`: a
    column, a list, or {column of the impressions: column here}; of rows with one key
    the last counts.
    """


class Action(_Keyed):
    """A log of actions that came after impressions, or that a user's history is from.

    With `window`, each impression gets the column `name`: 1 if an action with the same
    `key` came at the impression's time or up to `window` later, else 0; and a column
    for each of `values`. An action belongs to the last impression not after it; with
    `min_delay`, to the last that is more than that before it.

    `key`: a column, a list, or {column of the impressions: column here}. `where` is
    an expression; rows for which it does not hold are no such actions. `incomplete`: of
    impressions whose window was not over at the end of the logs: no label
    ("unlabelled"), no such rows ("drop"), or the label as far as is known ("keep").
    """

    time: Column
    window: Duration | None = None
    min_delay: Duration | None = None
    where: Expression | None = None
    values: dict[Name, Value] = {}
    incomplete: Literal["unlabelled", "drop", "keep"] = "unlabelled"

    @model_validator(mode="after")
    def _check(self) -> "Action":
        if self.values and self.window is None:
            raise ValueError("`values` are of the actions in the `window`; give one")
        return self


class History(Section):
    """A list column: what the user of an impression did before it, the oldest first.

    `key`: the user's column. `actions`: the name of one of `data.actions`; without it
    the earlier impressions count. `column` is the column listed, and `where` says which
    actions count. An action counts if its time is earlier than the impression's by
    more than `min_delay`; the last `max_length` are kept.
    """

    name: Name
    key: Column
    column: Column
    actions: str | None = None
    where: Expression | None = None
    max_length: Annotated[int, Field(ge=1)] = 20
    min_delay: Duration = 0.0


def _is_value(word: str) -> bool:
    """Whether a word is the text of a number or a boolean."""
    if word.lower() in ("true", "false"):
        return True
    try:
        return not math.isnan(float(word))
    except ValueError:
        return False


class Data(Reading):
    """Where the logs come from: own files (`logs`) or a bundled dataset (`source`).

    `where`: an expression; only rows for which it holds become examples. `labels`: new
    columns, {name: expression}. `time`: the column with an impression's time, which
    `actions` and `history` need; a number counts `time_unit`s. `until`: when the logs
    end, if that is not their latest time.
    """

    source: Literal["feed", "census"] | None = None
    options: dict[str, Any] = {}
    logs: Patterns | dict[Literal["train", "valid", "test"], Patterns] | None = None
    tables: list[Table] = []
    where: Expression | None = None
    time: Column | None = None
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    actions: list[Action] = []
    until: float | str | None = None
    history: list[History] = []
    labels: dict[Name, Expression] = {}
    missing: list[str] = list(MISSING_WORDS)
    verbatim: list[Column] = []
    split: Split
    max_dead_letter_rate: Annotated[float, Field(ge=0, le=1)] = 0.001

    @field_validator("logs", mode="before")
    @classmethod
    def _one_pattern(cls, logs: Any) -> Any:
        return _one(logs)

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
        new += [*(h.name for h in self.history), *self.labels]
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
        return [*new, *(history.name for history in self.history), *self.labels]


def joined(action: Action) -> list[str]:
    """The columns that an action gives to the impressions."""
    return [] if action.window is None else [action.name, *action.values]


def _listed(i: int, history: History) -> Iterator[tuple[str, str]]:
    yield f"data.history.{i}.column", history.column
    yield from _read_by(f"data.history.{i}.where", history.where)


def _read_by(path: str, text: str | None) -> Iterator[tuple[str, str]]:
    """Yields (YAML path, column) for the columns of an expression, if there is one."""
    for column in expressions.columns_of(text) if text else ():
        yield path, column
