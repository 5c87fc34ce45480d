"""What workers do with every row, read once from the config and the logs' columns."""

import functools
import operator
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.components.example_gen import splits
from pipeline.components.example_gen.inspect import InspectionSpec, LogSchema
from pipeline.config import Config
from pipeline.config.data import Split
from pipeline.errors import PipelineError
from pipeline.logs import casting
from pipeline.logs.casting import Column
from pipeline.logs.evaluation import Expression
from pipeline.statistics import sketch


class Plan(NamedTuple):
    """What is done with every row.

    Attributes:
        columns: The columns of the examples, in the order of the logs.
        where: Which rows count.
        labels: Further columns.
        split: How the rows are divided.
        limits: Of the split by time.
        folder: Where the examples go.
        work: A folder for what is not whole yet.
    """

    columns: list[Column]
    where: Expression | None
    labels: dict[str, Expression]
    split: Split
    limits: np.ndarray | None
    folder: Path
    work: Path


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
        reasons: Why the first of the dead do not fit.
        forms: Of whole numbers, as `casting.whole_forms` finds them.
    """

    rows_in: int = 0
    rows: Counter[str] = Counter()
    dead: int = 0
    filtered: int = 0
    incomplete: int = 0
    unlabelled: int = 0
    reasons: tuple[str, ...] = ()
    forms: Counter[tuple[str, str]] = Counter()


def total(reports: Iterable[Report]) -> Report:
    """The sum of reports."""
    columns = zip(Report(), *reports, strict=True)
    return Report(*(functools.reduce(operator.add, column) for column in columns))


def kinds(config: Config) -> dict[str, str]:
    """{column: type} of the columns that the config names.

    Raises:
        PipelineError: If one column is to have two types.
    """
    found: dict[str, str] = {}
    for path, name, kind in config.columns():
        if name in config.data.made():
            continue
        earlier = found.get(name, kind)
        if earlier != kind and (kind != "any" or earlier == "list"):
            raise PipelineError(
                f"{path}: column {name!r} cannot be of type {kind!r} here and "
                f"{earlier!r} elsewhere. Give the logs two columns"
            )
        found[name] = earlier
    return found


def inspection(config: Config) -> InspectionSpec:
    """What is looked for in the impressions."""
    named, split, time = kinds(config), config.data.split, None
    if split.by == "time":
        words = config.missing_words(split.column)
        time = casting.column(split.column, named[split.column], pa.null(), words)
    return InspectionSpec(named, time, expression(config, config.data.where))


def plan(config: Config, logs: LogSchema, folder: Path, work: Path) -> Plan:
    """Makes the plan.

    Args:
        config: Its `data` section, features and tasks.
        logs: What there is in the impressions.
        folder: Where the examples go.
        work: A folder for what is not whole yet.

    Raises:
        PipelineError: If the split is by time, and no row has one.
    """
    data, named = config.data, kinds(config)
    separators = {f.name: f.separator for f in config.features if f.kind == "sequence"}
    columns = [
        casting.column(
            name,
            named.get(name, "own"),
            type_,
            config.missing_words(name),
            separators.get(name),
        )
        for name, type_ in logs.types.items()
    ]
    limits = None
    if data.split.by == "time":
        if not logs.times:
            raise PipelineError(
                f"data.split.column: a split by time needs numbers or ISO 8601 times. "
                f"No value of column {data.split.column!r} is one"
            )
        times = sketch.merge(logs.times)
        limits = splits.boundaries(times, data.split.train, data.split.valid)
    return Plan(
        columns,
        expression(config, data.where),
        {name: expression(config, text) for name, text in data.labels.items()},
        data.split,
        limits,
        folder,
        work,
    )


def expression(config: Config, text: str | None) -> Expression | None:
    """An expression of the config, if there is one, as workers get it."""
    return text and Expression(text, config.missing_words)
