"""Tables of users or items, whose columns join a log by key while it is read.

A table is read once, and written to a file that all workers map into their memory. A
row of the log whose key the table lacks gets nulls; so does one that is older than all
rows of its key, where these have times.
"""

import functools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.logs.values import casting, times
from pipeline.logs.values.casting import Column
from pipeline.storage import away

_KEY, _TIME = "\0key", "\0time"  # no columns of a table are called so
_SEPARATOR = "\x1f"

Missing = Callable[[str], tuple[str, ...] | None]


class ValidTime(NamedTuple):
    """A column of times, from which rows of a table are valid, or of impressions.

    Attributes:
        column: The column.
        missing: The texts in it that stand for no value; None where each is one.
        unit: The units of a number that make a second.
    """

    column: str
    missing: tuple[str, ...] | None
    unit: float

    def of(self, rows: pa.RecordBatch) -> np.ndarray:
        """The times of rows in seconds, float64 (rows,); NaN where there is none."""
        if self.column not in rows.schema.names:
            return np.full(rows.num_rows, np.nan)
        type_ = casting.own_type(rows.column(self.column), "any")
        column = casting.column(self.column, "any", type_, self.missing)
        return times.seconds(casting.cast(rows, [column])[0].column(0), self.unit)


class StaticTable(NamedTuple):
    """A table as workers join it.

    Attributes:
        path: The file that `write` wrote.
        key: The columns of the log that say which row of the table it is.
        columns: The new columns of the log, and their types.
        valid: The time of the log's rows, where those of the table have one.
    """

    path: str
    key: tuple[Column, ...]
    columns: tuple[tuple[str, pa.DataType], ...]
    valid: ValidTime | None = None

    @property
    def reads(self) -> list[str]:
        """The columns of the log that it needs."""
        times = [] if self.valid is None else [self.valid.column]
        return [*(column.name for column in self.key), *times]


def write(
    rows: pa.Table,
    key: Sequence[str],
    folder: Path,
    name: str,
    times: np.ndarray | None = None,
) -> str:
    """Writes a table for `join`; of rows with one key, and one time, the last counts.

    Args:
        rows: The rows; the columns of the key are texts.
        key: Those columns.
        folder: A folder that all workers see.
        name: Of the file.
        times: float64 (rows,). When each row became valid. Defaults to always.
    """
    rows = rows.combine_chunks()
    keys = _joined([rows[name].combine_chunks() for name in key])
    started = np.zeros(len(keys)) if times is None else times
    table = rows.drop_columns(list(key)).append_column(_KEY, keys)
    table = table.append_column(_TIME, pa.array(started))
    order = pc.sort_indices(table, [(_KEY, "ascending"), (_TIME, "ascending")])
    table = table.take(order).filter(pc.is_valid(table[_KEY].take(order)))
    path = folder / f"{name}.arrow"
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table)
    return str(path)


def join(rows: pa.RecordBatch, tables: Sequence[StaticTable]) -> pa.RecordBatch:
    """Rows with the columns of tables behind their own, which come first."""
    for table in tables:
        keys, _ = casting.cast(rows, list(table.key))
        at = None if table.valid is None else table.valid.of(rows)
        places = _versions(table.path).find(_joined(keys.columns), at)
        values = _read(table.path)
        for name, _ in table.columns:
            if name not in rows.schema.names:
                column = values[name].take(places).combine_chunks()
                rows = rows.append_column(name, column)
    return rows


class _Versions(NamedTuple):
    """Where the rows of a table are, which stand by key and then by time.

    Attributes:
        keys: The different keys.
        times: float64 (times,). The different times, in order.
        order: int64 (rows,). Of each row, key * (times + 1) + how many times are not
            after its own: it grows from row to row.
    """

    keys: pa.Array
    times: np.ndarray
    order: np.ndarray

    def find(self, keys: pa.Array, at: np.ndarray | None) -> pa.Array:
        """The last row of each key that is not after a time; null where there is none.

        Args:
            keys: The keys.
            at: float64 (keys,). The times; NaN is before all. Defaults to after all.
        """
        if not len(self.order):
            return pa.nulls(len(keys), pa.int64())
        number = pc.index_in(keys, value_set=self.keys)
        unknown = number.is_null().to_numpy(zero_copy_only=False)
        number = number.fill_null(0).to_numpy().astype(np.int64)
        seen = np.full(len(keys), len(self.times))
        if at is not None:
            seen = np.searchsorted(self.times, at, side="right")
            seen[np.isnan(at)] = 0
        first = number * (len(self.times) + 1)
        places = np.searchsorted(self.order, first + seen, side="right") - 1
        before = (places < 0) | (self.order[places] <= first)
        return pa.array(places, mask=unknown | before)


@functools.lru_cache(maxsize=16)
def _versions(path: str) -> _Versions:
    table = _read(path)
    keys = table[_KEY].combine_chunks().dictionary_encode()
    started = table[_TIME].to_numpy()
    times, rank = np.unique(started, return_inverse=True)
    number = keys.indices.to_numpy().astype(np.int64)
    return _Versions(keys.dictionary, times, number * (len(times) + 1) + rank + 1)


def wanted(name: str, columns: Collection[str]) -> list[str]:
    """Which columns of a table are wanted: those called `NAME.column`."""
    start = f"{name}."
    found = [c.removeprefix(start) for c in columns if c.startswith(start)]
    return list(dict.fromkeys(found))


@functools.lru_cache(maxsize=16)
def _read(path: str) -> pa.Table:
    path = str(away.fetch(Path(path)))
    table = pa.ipc.open_file(pa.memory_map(path)).read_all()
    return table.combine_chunks()


def _joined(columns: Sequence[pa.Array]) -> pa.Array:
    """One text a row; null where one of them is."""
    return pc.binary_join_element_wise(*columns, _SEPARATOR)
