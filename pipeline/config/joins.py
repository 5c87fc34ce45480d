"""What the impressions get from other rows: tables, actions and histories."""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import BeforeValidator, Field, field_validator, model_validator

from pipeline.config.reading import Reading
from pipeline.config.values import (
    Column,
    Columns,
    Duration,
    Expression,
    Name,
    Patterns,
    Section,
    one,
    or_text,
)

_Key = Annotated[dict[Column, Column], Field(min_length=1)]


class Value(Section):
    """What an impression gets of its actions; a text is the `column`."""

    model_config = pydantic.ConfigDict(json_schema_extra=or_text)

    column: Column
    """The column of the log of actions."""
    take: Literal["sum", "min", "max", "first", "last"] = "last"
    """What is taken of several actions."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value


class _Keyed(Reading):
    """A further log, whose rows belong to impressions by a key."""

    name: Name
    """A table's columns are called `name.column`; actions become the column `name`."""
    logs: Annotated[
        Patterns, BeforeValidator(one, json_schema_input_type=str | Patterns)
    ]
    """Its files; globs allowed."""
    key: _Key
    """What its rows and the impressions share: a column, a list of columns, or {column
    of the impressions: column here}.
    """

    @field_validator(
        "key", mode="before", json_schema_input_type=Column | Columns | _Key
    )
    @classmethod
    def _key(cls, key: Any) -> Any:
        key = one(key)
        are_names = isinstance(key, list) and all(isinstance(n, str) for n in key)
        return {name: name for name in key} if are_names else key


class Table(_Keyed):
    """A table of users or items, whose columns each impression gets by `key`.

    They are called `name.column`, and joined where the config names them. Of rows with
    one key the last counts, or by `time` the newest of those not after the impression.
    """

    time: Column | None = None
    """The column with the time from which a row is valid, for tables whose rows have
    changed; `data.time` is the impression's. Without, rows are valid always.
    """


class Action(_Keyed):
    """A log of actions that came after impressions, or that a user's history is from.

    With `window`, each impression gets the column `name`: 1 if an action with the same
    `key` came at the impression's time or up to `window` later, else 0; and a column
    for each of `values`. An action belongs to the last impression not after it.
    """

    time: Column
    """The column with an action's time."""
    window: Duration | None = None
    """How long after an impression an action still is its own, such as 30m; without,
    the log is for histories alone.
    """
    min_delay: Duration | None = None
    """An action belongs to the last impression that is more than this before it."""
    where: Expression | None = None
    """An expression; rows for which it does not hold are no such actions."""
    values: dict[Name, Value] = {}
    """Further columns of the impressions, {new column: what it has of the actions}."""
    incomplete: Literal["unlabelled", "drop", "keep"] = "unlabelled"
    """What impressions get whose window was not over at the end of the logs: no label,
    no rows, or the label as far as is known.
    """

    @model_validator(mode="after")
    def _check(self) -> "Action":
        if self.values and self.window is None:
            raise ValueError("`values` are of the actions in the `window`; give one")
        return self


class History(Section):
    """A list column: what the user of an impression did before it, the oldest first.

    With `fields` and `age` there are more such columns, which say more of the same
    events: side fields of a sequence.
    """

    name: Name
    """The new column."""
    key: Column
    """The user's column."""
    column: Column
    """The column that is listed."""
    fields: dict[Name, Column] = {}
    """Further list columns of the same events, {new column: column that it lists}."""
    age: Name | None = None
    """A further list column, of how many seconds each event was before the impression.
    """
    actions: str | None = None
    """The name of one of `data.actions`; without, earlier impressions count."""
    where: Expression | None = None
    """An expression that says which actions count."""
    max_length: Annotated[int, Field(ge=1)] = 20
    """So many of the last are kept."""
    min_delay: Duration = 0.0
    """An action counts if it was more than this before the impression, such as 10m."""

    @property
    def listed(self) -> dict[str, str]:
        """{new column: the column that it lists}."""
        return {self.name: self.column, **self.fields}

    @property
    def made(self) -> list[str]:
        """The new columns."""
        return [*self.listed, *([self.age] if self.age else [])]


def joined(action: Action) -> list[str]:
    """The columns that an action gives to the impressions."""
    return [] if action.window is None else [action.name, *action.values]
