"""What travels of each log to where the join matches its rows."""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from pipeline.components.example_gen.spec import Spec
from pipeline.logs.evaluation import Expression
from pipeline.logs.files import Source
from pipeline.logs.inspect import LogSchema
from pipeline.logs.values import casting, texts
from pipeline.logs.values.casting import Column

# Names that columns of logs have while they travel, beside their own.
PART, POSITION, TIME, KEY, HISTORY = "\0part", "\0position", "\0time", "\0key ", "\0h "
IMPRESSIONS = "impressions"


class Log(NamedTuple):
    """A log, and what travels of it.

    Attributes:
        name: `IMPRESSIONS`, or that of the actions.
        parts: Its parts.
        columns: What is read.
        names: What those columns are called while they travel.
        where: Which rows count.
        listed: {travelling column that a history lists: of which rows, if not of all}.
        needs_key: Whether a row whose key is missing is a dead letter.
        partition_by: The travelling column whose values stay together.
        unit: How many units of a time that is a number make a second.
    """

    name: str
    parts: list[Source]
    columns: list[Column]
    names: list[str]
    where: Expression | None
    listed: dict[str, Expression]
    needs_key: bool
    partition_by: str
    unit: float

    def travelling(self) -> list[str]:
        """The columns that are read to match rows alone: examples do not have them."""
        return [name for name in self.names if name.startswith("\0")]


def joined_logs(
    spec: Spec,
    columns: Sequence[Column],
    impressions: LogSchema,
    actions: Sequence[LogSchema],
) -> list[Log]:
    """The impressions, then the logs of `data.actions`.

    Args:
        spec: What the config says.
        columns: The columns of the examples, all of which travel.
        impressions: What there is in the impressions.
        actions: What there is in each log of actions.
    """
    data = spec.data

    def log(name, found, wanted, where, columns=()):
        histories = [h for h in data.history if (h.actions or IMPRESSIONS) == name]
        wanted += [
            (HISTORY + new, column, spec.listed_as(new))
            for history in histories
            for new, column in history.listed.items()
        ]
        return Log(
            name,
            found.parts,
            [*columns, *(_typed(spec, found, *each) for each in wanted)],
            [*(column.name for column in columns), *(name for name, _, _ in wanted)],
            spec.expression(where),
            {
                HISTORY + history.name: spec.expression(history.where)
                for history in histories
                if history.where
            },
            name != IMPRESSIONS,
            KEY + data.shuffle_columns()[0],
            texts.UNITS[data.time_unit],
        )

    keys = [key for action in data.actions for key in action.key]
    keys = dict.fromkeys(keys + [history.key for history in data.history])
    wanted = [(KEY + key, key, "string") for key in keys]
    wanted.append((TIME, data.time, "any"))
    logs = [log(IMPRESSIONS, impressions, wanted, data.where, columns)]
    for action, found in zip(data.actions, actions, strict=True):
        wanted = [(KEY + ours, theirs, "string") for ours, theirs in action.key.items()]
        wanted.append((TIME, action.time, "any"))
        for name, value in action.values.items():
            kind = "own" if value.take in ("first", "last") else "float"
            wanted.append((name, value.column, kind))
        logs.append(log(action.name, found, wanted, action.where))
    return logs


def _typed(spec: Spec, found: LogSchema, name: str, column: str, kind: str) -> Column:
    # A key is read as the column of the impressions that it is compared with, and what
    # a history lists as the feature that it becomes.
    missing = spec.missing(name.removeprefix(KEY).removeprefix(HISTORY))
    return casting.column(column, kind, found.types.get(column, pa.null()), missing)
