"""Tables of users or items, whose columns join a log by key while it is read.

A table is read once, and written to a file that all workers map into their memory. A
row of the log whose key the table lacks gets nulls.
"""

import functools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.logs.values import casting
from pipeline.logs.values.casting import Column

_KEY = "\0key"  # no column of a table is called so
_SEPARATOR = "\x1f"

Missing = Callable[[str], tuple[str, ...] | None]


class StaticTable(NamedTuple):
    """A table as workers join it.

    Attributes:
        path: The file that `write` wrote.
        key: The columns of the log that say which row of the table it is.
        columns: The new columns of the log, and their types.
    """

    path: str
    key: tuple[Column, ...]
    columns: tuple[tuple[str, pa.DataType], ...]


def write(
    batches: Sequence[pa.RecordBatch], key: Sequence[str], folder: Path, name: str
) -> str:
    """Writes a table for `join`; of rows with one key the last counts.

    Args:
        batches: Its rows; the columns of the key are texts.
        key: Those columns.
        folder: A folder that all workers see.
        name: Of the file.
    """
    table = pa.Table.from_batches(batches).combine_chunks()
    keys = _joined([table[name].combine_chunks() for name in key])
    places = pa.table({_KEY: keys, "place": pa.array(range(len(keys)))})
    last = places.group_by(_KEY).aggregate([("place", "max")])["place_max"]
    table = table.drop_columns(list(key)).append_column(_KEY, keys).take(last)
    path = folder / f"{name}.arrow"
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table.filter(pc.is_valid(table[_KEY])))
    return str(path)


def join(rows: pa.RecordBatch, tables: Sequence[StaticTable]) -> pa.RecordBatch:
    """Rows with the columns of tables behind their own, which come first."""
    for table in tables:
        keys, _ = casting.cast(rows, list(table.key))
        values = _read(table.path)
        known = values[_KEY].combine_chunks()
        places = pc.index_in(_joined(keys.columns), value_set=known)
        for name, _ in table.columns:
            if name not in rows.schema.names:
                column = values[name].take(places).combine_chunks()
                rows = rows.append_column(name, column)
    return rows


def wanted(name: str, columns: Collection[str]) -> list[str]:
    """Which columns of a table are wanted: those called `NAME.column`."""
    start = f"{name}."
    found = [c.removeprefix(start) for c in columns if c.startswith(start)]
    return list(dict.fromkeys(found))


@functools.lru_cache(maxsize=16)
def _read(path: str) -> pa.Table:
    table = pa.ipc.open_file(pa.memory_map(path)).read_all()
    return table.combine_chunks()


def _joined(columns: Sequence[pa.Array]) -> pa.Array:
    """One text a row; null where one of them is."""
    return pc.binary_join_element_wise(*columns, _SEPARATOR)
