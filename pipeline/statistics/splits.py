"""What the rows of a split tell: which columns are filled, how often labels are 1.

Adds up like what `columns` makes of a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.artifacts import layout
from pipeline.artifacts.examples import in_space, labels
from pipeline.config import Config, Task
from pipeline.logs.values.column_types import is_list
from pipeline.logs.values.times import seconds
from pipeline.statistics import label_pairs
from pipeline.statistics.columns import Sums
from pipeline.statistics.label_pairs import LabelPair

ALL = layout.ALL_DOMAINS


@dataclass(frozen=True)
class Presence:
    """How often a column has a value, and how many values a list has.

    Attributes:
        present: Rows that are not null.
        missing: Rows that are null.
        total: Values in all rows; differs from `present` for lists.
        least: Values in the shortest row that is present.
        most: Values in the longest.
    """

    present: int
    missing: int
    total: int
    least: int
    most: int

    @classmethod
    def of(cls, column: pa.Array) -> Presence:
        """Reads a column of any type."""
        missing = column.null_count
        present = len(column) - missing
        if not (present and is_list(column.type)):
            single = int(present > 0)
            return cls(present, missing, present, single, single)
        size = pc.list_value_length(column)
        bounds = pc.min_max(size)
        total = pc.sum(size).as_py()
        return cls(
            present, missing, total, bounds["min"].as_py(), bounds["max"].as_py()
        )

    @classmethod
    def merge(cls, parts: Sequence[Presence]) -> Presence:
        """Adds up."""
        seen = [part for part in parts if part.present]
        return cls(
            sum(part.present for part in parts),
            sum(part.missing for part in parts),
            sum(part.total for part in parts),
            min((part.least for part in seen), default=0),
            max((part.most for part in seen), default=0),
        )


@dataclass(frozen=True)
class LabelSum(Sums):
    """Rows in a task's sample space, their weight, and the weighted sum of labels."""

    rows: int
    weight: Fraction
    total: Fraction

    @property
    def mean(self) -> float:
        """The mean label by weight; 0 without a row."""
        return float(self.total / (self.weight or 1))


@dataclass(frozen=True)
class SplitStatistics:
    """The rows of a batch or, merged, of a split.

    Attributes:
        rows: How many.
        columns: Column -> its presence, in the order of the examples.
        types: Column -> its Arrow type.
        labels: (domain value or `ALL`, task) -> label sum.
        pairs: (task, later task) -> how their labels go together.
        times: Column by whose time the rows are split -> (first, last).
    """

    rows: int
    columns: dict[str, Presence]
    types: dict[str, pa.DataType]
    labels: dict[tuple[str, str], LabelSum]
    pairs: dict[tuple[str, str], LabelPair]
    times: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, batch: pa.RecordBatch, config: Config) -> SplitStatistics:
        """Reads a batch of examples."""
        names = batch.schema.names
        values = labels(batch, config.tasks)
        return cls(
            batch.num_rows,
            dict(zip(names, map(Presence.of, batch.columns), strict=True)),
            dict(zip(names, batch.schema.types, strict=True)),
            _label_sums(batch, values, config.tasks, config.domain),
            label_pairs.pairs(values, config.tasks),
            _times(batch, config),
        )

    @classmethod
    def merge(cls, parts: Sequence[SplitStatistics]) -> SplitStatistics:
        """Adds up."""
        return cls(
            sum(part.rows for part in parts),
            _merge_values(Presence.merge, [part.columns for part in parts]),
            {name: kind for part in parts for name, kind in part.types.items()},
            _merge_values(LabelSum.merge, [part.labels for part in parts]),
            _merge_values(LabelPair.merge, [part.pairs for part in parts]),
            _merge_values(_extent, [part.times for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.columns) + len(self.labels) + len(self.pairs)


def _times(batch: pa.RecordBatch, config: Config) -> dict[str, tuple[float, float]]:
    split = config.data.split
    if split.by != "time" or split.column not in batch.schema.names:
        return {}
    found = seconds(batch.column(split.column))
    found = found[np.isfinite(found)]
    return {split.column: (found.min(), found.max())} if len(found) else {}


def _extent(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    first, last = zip(*parts, strict=True)
    return min(first), max(last)


def _merge_values(merge, parts: Sequence[dict]) -> dict:
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: merge([part[key] for part in parts if key in part]) for key in keys}


def _label_sums(
    batch: pa.RecordBatch,
    values: dict[str, np.ndarray],
    tasks: Sequence[Task],
    domain: str | None,
) -> dict[tuple[str, str], LabelSum]:
    if domain is None:
        names, code = [], np.zeros(batch.num_rows, int)
    else:
        encoded = batch.column(domain).cast(pa.string()).fill_null("")
        encoded = encoded.dictionary_encode()
        names, code = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    sums = {}
    for task in tasks:
        label = values[task.label_column].astype(np.float64)
        counts = in_space(values, task, tasks) & np.isfinite(label)
        label, where = label[counts], code[counts]
        weight = np.ones(len(label))
        if task.row_weight:
            weight = values[task.row_weight][counts].astype(np.float64)
        label = label * weight
        rows = np.bincount(where, minlength=len(names))
        weights = np.bincount(where, weight, minlength=len(names))
        totals = np.bincount(where, label, minlength=len(names))
        for name, *part in zip(names, rows, weights, totals, strict=False):
            sums[name, task.name] = _label_sum(*part)
        sums[ALL, task.name] = _label_sum(len(label), weight.sum(), label.sum())
    return sums


def _label_sum(rows, weight, total) -> LabelSum:
    return LabelSum(int(rows), Fraction(float(weight)), Fraction(float(total)))
