"""What workers do with every row, and what became of the rows."""

import functools
import operator
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.components.example_gen import splits
from pipeline.components.example_gen.spec import Spec
from pipeline.config.data import Split
from pipeline.errors import PipelineError
from pipeline.logs import files
from pipeline.logs.evaluation import Expression
from pipeline.logs.inspect import LogSchema
from pipeline.logs.values.casting import Column
from pipeline.logs.values.scalars import readable
from pipeline.progress import NOWHERE, Done
from pipeline.statistics import sketch


class Plan(NamedTuple):
    """What is done with every row.

    Attributes:
        columns: The columns of the examples, in the order of the logs.
        where: Which rows count.
        labels: Further columns.
        split: How the rows are divided.
        limits: Of the split by time.
        cuts_valid: Whether the rows of valid are drawn from those of train.
        folder: Where the examples go.
        work: A folder for what is not whole yet.
        done: Counts the rows that are read.
        side_fields: {column of lists: the one whose events it lists, too}.
    """

    columns: list[Column]
    where: Expression | None
    labels: dict[str, Expression]
    split: Split
    limits: np.ndarray | None
    cuts_valid: bool
    folder: Path
    work: Path
    done: Done = NOWHERE
    side_fields: Mapping[str, str] = {}


class Report(NamedTuple):
    """What became of the rows of a log; of its parts, reports add up: see `total`.

    `rows_in` = all of `rows` + `dead` + `filtered` + `incomplete`.

    Attributes:
        rows_in: Rows that were read, and lines that are none.
        rows: Of impressions, the examples of each split. Of actions, those that are
            "matched" or "unmatched", "duplicates" (equal to an earlier one in key, time
            and all columns that are read) and "kept" (of a log without a window, for
            histories only).
        dead: Rows that do not fit.
        filtered: Rows for which `where` does not hold.
        incomplete: Impressions dropped, since the time for an action was not over.
        unlabelled: Impressions, not actions: those of which nobody can tell what came.
        at_once: Actions at the very time of their impression.
        reasons: Why the first of the dead do not fit.
        forms: How values are written, as `casting.whole_forms` and `Chunk` tell.
    """

    rows_in: int = 0
    rows: Counter[str] = Counter()
    dead: int = 0
    filtered: int = 0
    incomplete: int = 0
    unlabelled: int = 0
    at_once: int = 0
    reasons: tuple[str, ...] = ()
    forms: Counter[tuple[str, str]] = Counter()


def total(reports: Iterable[Report]) -> Report:
    """The sum of reports."""
    columns = zip(Report(), *reports, strict=True)
    return Report(*(functools.reduce(operator.add, column) for column in columns))


def plan(spec: Spec, logs: LogSchema, folder: Path, work: Path) -> Plan:
    """Makes the plan.

    Args:
        spec: What the config says.
        logs: What there is in the impressions.
        folder: Where the examples go.
        work: A folder for what is not whole yet.

    Raises:
        PipelineError: If the split is by time, and no row has one.
    """
    split, limits = spec.data.split, None
    if split.by == "time":
        times = sketch.merge(logs.folded) if logs.folded else None
        if times is None or not times.rows:
            raise PipelineError(
                "data.split.column: a split by time needs numbers or ISO 8601 times. "
                f"No value of column {split.column!r} is one"
                + _first(logs, split.column)
            )
        limits = splits.boundaries(times, split.train, split.valid)
    columns, data = spec.columns(logs.types), spec.data
    cuts_valid = isinstance(data.logs, dict) and set(data.logs) == {"train", "test"}
    return Plan(
        columns,
        spec.where,
        spec.labels,
        split,
        limits,
        cuts_valid,
        folder,
        work,
        side_fields=spec.side_fields,
    )


def _first(logs: LogSchema, column: str) -> str:
    """The first value of a column, or why there is none, for a message."""
    path = logs.files[0].path
    for chunk in files.read(logs.files[0]):
        if column in chunk.rows.schema.names:
            values = chunk.rows.column(column)
            for row in range(len(values)):
                if (value := readable(values, row)) not in (None, ""):
                    return f". The first is {value!r} ({path}, {chunk.positions[row]})"
        for position, reason, *_ in chunk.unparsed[:1]:
            return f". The first line that does not fit: {path}, {position}: {reason}"
        return ""
    return f". {path} has no rows"
