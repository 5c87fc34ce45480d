"""Readers of logs by format: an open file -> chunks of rows. CSV: see `csv`.

A record that cannot be parsed is handed over beside the rows. A file that cannot be
read to its end raises, since nobody knows how many rows are lost.
"""

import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.logs import tfrecord
from pipeline.logs.values import column_types, nested, texts

CHUNK_ROWS = 32_768
_BLANKS = b"\xef\xbb\xbf \t"  # a byte order mark, too
_LINES = (
    "A log has an object a line, as pandas writes it by df.to_json(path, "
    'orient="records", lines=True)'
)
_LONG_NUMBER = re.compile(rb"\d{19}")
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
# What a file starts with that is no text, and how its name would tell it.
_STARTS = {
    b"PAR1": "parquet",
    b"\x1f\x8b": "csv.gz",
    b"BZh": "csv.bz2",
    b"\x28\xb5\x2f\xfd": "csv.zst",
    b"PK\x03\x04": "csv.zip or .xlsx",
}


class Unparsed(NamedTuple):
    """A record that is no row: where it stands, why, what it is, how many lines."""

    position: int
    reason: str
    record: Any
    lines: int = 1


class Chunk(NamedTuple):
    """At most `CHUNK_ROWS` rows.

    Attributes:
        rows: The rows, with the types that the file has; strings may be bytes.
        positions: int64 (rows,). Where they stand in the file, counted from 1: the
            line, or first line, of CSV (where blank ones do not count) and JSON Lines;
            the row or record of others.
        unparsed: Records that are no rows.
        share: What part of the source it is, where that is known.
        forms: How values are written that may be misread: (column, form) of each.
    """

    rows: pa.RecordBatch
    positions: np.ndarray
    unparsed: list[Unparsed]
    share: float = 0.0
    forms: frozenset[tuple[str, str]] = frozenset()

    @property
    def lines(self) -> int:
        """How many rows, and lines that are none, it stands for."""
        return self.rows.num_rows + sum(record.lines for record in self.unparsed)


def no_text(head: bytes) -> str | None:
    """What a file is, by its first bytes, where it is no UTF-8 text; else None."""
    for start, extension in _STARTS.items():
        if head.startswith(start):
            return (
                f"it starts as a .{extension} file does, and is no plain text. Give it "
                "a name that ends so"
            )
    # Of UTF-16, every second byte of plain text is 0.
    if head.startswith(_BYTE_ORDER_MARKS) or 3 * head.count(0) > len(head):
        return (
            "it is not UTF-8 text, but looks like UTF-16. Write it anew, as by: iconv "
            "-f UTF-16 -t UTF-8"
        )
    return None


def check_text(stream: BinaryIO) -> None:
    """Raises a ValueError for a file that starts as no UTF-8 text does."""
    if fault := no_text(stream.peek(2)[:60]):
        raise ValueError(fault)


def read_jsonl(
    stream: BinaryIO, line: int = 1, paths: Sequence[str] = ()
) -> Iterator[Chunk]:
    """Reads JSON Lines: an object a line; a key that it lacks is null.

    Args:
        stream: The file, or a part of it that starts with a line.
        line: The number of the stream's first line in the file.
        paths: Fields of objects that are read as columns.
    """
    check_text(stream)
    rows, positions, unparsed = [], [], []
    for position, text in enumerate(stream, line):
        if not text.strip():
            continue
        try:
            if text.lstrip(_BLANKS)[:1] == b"[":
                raise ValueError(f"an array. {_LINES}")
            row = _json(text)
            if not isinstance(row, dict):
                raise ValueError("another value")
            if _are_columns(row):
                raise ValueError(f"it holds columns, each with all its rows. {_LINES}")
        except (ValueError, RecursionError) as error:
            record = text.decode(errors="backslashreplace").rstrip("\n")
            unparsed.append(Unparsed(position, f"not a JSON object: {error}", record))
            continue
        rows.append(nested.flat_object(row, paths) if paths else row)
        positions.append(position)
        if len(rows) == CHUNK_ROWS:
            yield Chunk(_from_objects(rows), np.array(positions), unparsed)
            rows, positions, unparsed = [], [], []
    if rows or unparsed:
        yield Chunk(_from_objects(rows), np.array(positions, np.int64), unparsed)


def _are_columns(row: dict) -> bool:
    """Whether an object is a table as pandas writes one: {column: {row: value}}."""
    if len(row) < 2 or not all(isinstance(v, dict) and v for v in row.values()):
        return False
    first, *others = (value.keys() for value in row.values())
    return all(k.isdigit() for k in first) and all(keys == first for keys in others)


def _json(text: bytes) -> Any:
    # orjson is several times faster, but makes floats of integers of over 64 bits, and
    # refuses NaN and halves of surrogate pairs.
    if not _LONG_NUMBER.search(text):
        try:
            return orjson.loads(text)
        except ValueError:
            pass
    return json.loads(text.removeprefix(b"\xef\xbb\xbf"))


def _from_objects(rows: list[dict]) -> pa.RecordBatch:
    try:
        table = pa.array(rows, None if rows else pa.struct([]))
        if not any("struct" in str(field.type) for field in table.type):
            return pa.RecordBatch.from_struct_array(table)
    except (ValueError, TypeError, OverflowError):
        pass  # Some column has unlike values; one by one takes three times as long.
    names = dict.fromkeys(name for row in rows for name in row)
    arrays = [_from_json([row.get(name) for row in rows]) for name in names]
    return pa.RecordBatch.from_arrays(arrays, list(names))


def _from_json(values: list) -> pa.Array:
    """JSON values -> a column; one of unlike or nested values becomes texts."""
    try:
        array = pa.array(values)
        if "struct" not in str(array.type):
            return array
    except (ValueError, TypeError, OverflowError):
        pass

    def text(value: Any) -> bytes | None:
        if value is None:
            return None
        if isinstance(value, float):
            (written,) = texts.of(pa.array([value])).to_pylist()
            return written and written.encode()
        value = value if isinstance(value, str) else json.dumps(value)
        # Half of a surrogate pair can stand in JSON, not in UTF-8: a misfit, later.
        return value.encode("utf-8", "surrogatepass")

    are = {type(value) for value in values}
    if list in are and dict not in are:
        lists = [v if isinstance(v, list) or v is None else [v] for v in values]
        lists = [None if v is None else [text(item) for item in v] for v in lists]
        return pa.array(lists, pa.list_(pa.binary()))
    if list in are:  # beside maps, which as items of lists would be none any more
        values = [_written(v, text) if isinstance(v, list) else v for v in values]
    return pa.array([text(value) for value in values], pa.binary())


def _written(items: list, text: Callable[[Any], bytes | None]) -> str:
    """A list as a text in brackets, its items as they are in a list."""
    found = [text(item) for item in items]
    return json.dumps([f and f.decode("utf-8", "surrogatepass") for f in found])


def check_names(names: list[str]) -> None:
    """Raises a ValueError for a file in which two columns have the same name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"each column needs a name of its own. Received: {twice}")


def read_parquet(
    stream: BinaryIO,
    row_groups: tuple[int, ...] | None,
    columns: list[str] | None,
    paths: Sequence[str] = (),
) -> Iterator[Chunk]:
    """Reads consecutive row groups of a Parquet file; None: all of them.

    The fields of structs at `paths` become columns.
    """
    file = _parquet(stream)
    columns = columns and nested.columns_of(columns, file.schema_arrow)
    groups = row_groups or tuple(range(file.num_row_groups))
    earlier = range(min(groups, default=0))
    first = 1 + sum(file.metadata.row_group(i).num_rows for i in earlier)
    total = sum(file.metadata.row_group(i).num_rows for i in groups)
    for rows in file.iter_batches(CHUNK_ROWS, list(groups), columns):
        if any(column_types.plain_type(type_) != type_ for type_ in rows.schema.types):
            arrays = [column_types.plain(column) for column in rows.columns]
            rows = pa.RecordBatch.from_arrays(arrays, rows.schema.names)
        rows = nested.flat(rows, paths)
        positions = np.arange(first, first + rows.num_rows)
        yield Chunk(rows, positions, [], rows.num_rows / total)
        first += rows.num_rows


def _parquet(stream: BinaryIO) -> pq.ParquetFile:
    """Opens a Parquet file.

    Arrow cannot read its own lists of a fixed size where a row has none. Without the
    Arrow schema, which only Arrow writes, they are lists as all others.
    """
    file = pq.ParquetFile(stream)
    types = file.schema_arrow.types
    has_fixed = any("fixed" in str(type_) for type_ in types)
    # To Parquet alone, a duration is a number.
    if not has_fixed or any("duration" in str(type_) for type_ in types):
        return file
    stream.seek(-8, os.SEEK_END)
    length = int.from_bytes(stream.read(4), "little")
    stream.seek(-8 - length, os.SEEK_END)
    foot = stream.read().replace(b"ARROW:schema", b"arrow:unused")
    return pq.ParquetFile(stream, metadata=pq.read_metadata(io.BytesIO(b"PAR1" + foot)))


def read_tfrecord(stream: BinaryIO) -> Iterator[Chunk]:
    """Reads a TFRecord file of tf.Example; every column is lists."""
    records, positions, unparsed = [], [], []
    for position, (record, whole) in enumerate(tfrecord.read(stream), 1):
        if whole:
            records.append(record)
            positions.append(position)
        else:
            reason = "the record does not match its checksum"
            unparsed.append(Unparsed(position, reason, record.decode("latin-1")))
        if len(records) == CHUNK_ROWS:
            yield from _from_examples(records, positions)
            records, positions = [], []
    if records:
        yield from _from_examples(records, positions)
    if unparsed:
        yield without_rows(unparsed)


def _from_examples(records: list[bytes], positions: list[int]) -> Iterator[Chunk]:
    # It imports TensorFlow, which takes seconds.
    from pipeline.logs import tf_examples

    decoded = tf_examples.decode(records)
    for places, rows in decoded.batches:
        yield Chunk(rows, np.array(positions)[places], [])
    if decoded.errors:
        unparsed = [
            Unparsed(
                positions[place],
                f"not a tf.Example: {error}",
                records[place].decode("latin-1"),
            )
            for place, error in decoded.errors.items()
        ]
        yield without_rows(unparsed)


def without_rows(unparsed: list[Unparsed]) -> Chunk:
    """A chunk of nothing but records that are no rows."""
    rows = pa.RecordBatch.from_pydict({})
    return Chunk(rows, np.zeros(0, np.int64), unparsed)
