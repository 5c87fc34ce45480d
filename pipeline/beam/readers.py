"""One reader for each format of logs: an open file -> chunks of rows.

A record that cannot be parsed is handed over beside the rows. A file that cannot be
read to its end raises, since nobody knows how many rows are lost.
"""

import codecs
import csv
import json
import re
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import google_crc32c
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

CHUNK_ROWS = 32_768
# Arrow parses smaller blocks faster, but none may be shorter than a row.
_BLOCK_BYTES = 4 << 20
_LONG_NUMBER = re.compile(rb"\d{19}")
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Dialect(NamedTuple):
    """How a CSV is written; `pipeline.config_data.Reading` says what each means."""

    delimiter: str = ","
    quote: str | None = '"'
    columns: tuple[str, ...] | None = None
    strip: bool = False
    multiline: bool = True


class NotUtf8(ValueError):
    """Bytes of a file are not UTF-8: it is to be read `by_bytes`, which is slower."""


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
    """

    rows: pa.RecordBatch
    positions: np.ndarray
    unparsed: list[Unparsed]


def csv_header(stream: BinaryIO, dialect: Dialect) -> list[str]:
    """Reads the first line of a CSV: the names of its columns."""
    line = stream.readline()
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(f"the header is not UTF-8 text. Received: {line[:60]!r}")
    if dialect.quote is None:
        names = text.rstrip("\r\n").split(dialect.delimiter) if text.strip() else []
    else:
        rows = csv.reader([text], delimiter=dialect.delimiter, quotechar=dialect.quote)
        names = next(rows, [])
    if dialect.strip:
        names = [name.strip() for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ValueError(
            "the header must name each column, and each only once. Received: "
            f"{twice or line[:60]}. A file without a header needs `data.columns`"
        )
    return names


def _check_text(stream: BinaryIO) -> None:
    head = stream.peek(2)[:60]
    # Of UTF-16, every second byte of plain text is 0.
    if head.startswith(_BYTE_ORDER_MARKS) or 3 * head.count(0) > len(head):
        raise ValueError(f"the file is not UTF-8 text. It starts with {head[:20]!r}")


def read_csv(
    stream: BinaryIO,
    dialect: Dialect,
    columns: list[str] | None = None,
    names: list[str] | None = None,
    line: int = 1,
    by_bytes: bool = False,
) -> Iterator[Chunk]:
    """Reads a CSV; every field is bytes, an empty one is null.

    A quote that is opened and not closed makes one field of the rows behind it. A field
    with a line break, behind which stands what looks like a whole row, is taken for
    that: its record is handed over as unparsed, with the lines it stands for.

    Args:
        stream: The file, or a part of it that starts with a line.
        dialect: How it is written.
        columns: The columns wanted. Defaults to all.
        names: All columns, in order. Defaults to what the first line of the stream
            names, or `dialect.columns`.
        line: The number of the stream's first line in the file.
        by_bytes: Whether fields and invalid rows may be anything but UTF-8.

    Raises:
        NotUtf8: If bytes are not UTF-8, and the file is not read by bytes. Arrow would
            give up at an invalid row that has such.
    """
    _check_text(stream)
    if names is None and dialect.columns:
        names = list(dialect.columns)
        if stream.peek(3).startswith(codecs.BOM_UTF8):
            stream.read(3)
    elif names is None:
        names = csv_header(stream, dialect)
        line += 1
    if not stream.peek(1):
        return
    unparsed: list[Unparsed] = []  # since the last chunk
    invalid: list[int] = []  # the row numbers, of the whole file
    further: list[int] = []  # their lines after the first
    breaks = np.zeros((2, 0), np.int64)  # valid rows with line breaks, and how many

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        reason = f"{row.actual_columns} fields where {row.expected_columns} are named"
        lines = row.text.rstrip("\r\n").count("\n") + 1
        if lines > 1:
            reason += f", in {lines} lines: is a quote left open?"
        text = row.text
        if by_bytes:
            text = text.encode("latin-1").decode(errors="backslashreplace")
        unparsed.append(Unparsed(row.number, reason, text, lines))
        invalid.append(row.number)
        further.append(lines - 1)
        return "skip"

    def lines_of(number: np.ndarray, valid_before: np.ndarray) -> np.ndarray:
        """The lines of rows: their number, and line breaks inside of rows before."""
        inside = np.concatenate([[0], np.cumsum(breaks[1])])
        skipped = np.concatenate([[0], np.cumsum(np.array(further, np.int64))])
        return (
            number
            + (line - 1)
            + inside[np.searchsorted(breaks[0], valid_before)]
            + skipped[np.searchsorted(np.array(invalid, np.int64), number)]
        )

    reader = pyarrow.csv.open_csv(
        stream if by_bytes else _Utf8(stream),
        # Arrow numbers the rows in one thread only.
        pyarrow.csv.ReadOptions(
            column_names=names,
            use_threads=False,
            block_size=_BLOCK_BYTES,
            # In Latin-1 every byte is a character.
            encoding="latin-1" if by_bytes else "utf-8",
        ),
        pyarrow.csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            newlines_in_values=dialect.multiline and dialect.quote is not None,
            invalid_row_handler=skip,
        ),
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()),
            include_columns=columns,
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    valid = 0
    for block in reader:
        if by_bytes:
            block = _bytes(block)
        if dialect.strip:
            block = _stripped(block)
        counts = _line_breaks(block)
        at = np.flatnonzero(counts)
        breaks = np.concatenate([breaks, [valid + at, counts[at]]], axis=1)
        # The k-th invalid row comes after (its number - 1 - k) valid ones.
        before = np.array(invalid, np.int64) - 1 - np.arange(len(invalid))
        index = np.arange(valid, valid + block.num_rows)
        valid += block.num_rows
        skipped = np.searchsorted(before, index, side="right")
        positions = lines_of(index + skipped + 1, index)
        swallowed = _swallowed(block, at, dialect.delimiter, len(names))
        for row in swallowed:
            lines = int(counts[row]) + 1
            reason = (
                f"a field of {lines} lines that look like rows: is a quote left open?"
            )
            (record,) = block.slice(row, 1).to_pylist()
            text = {
                k: v.decode(errors="backslashreplace") if v else v
                for k, v in record.items()
            }
            unparsed.append(Unparsed(-int(positions[row]), reason, text, lines))
        lost = [_placed(record, invalid, before, lines_of) for record in unparsed]
        unparsed.clear()
        if swallowed.size:
            kept = np.ones(block.num_rows, bool)
            kept[swallowed] = False
            block, positions = block.filter(pa.array(kept)), positions[kept]
        for start in range(0, max(block.num_rows, 1), CHUNK_ROWS):
            rows = block.slice(start, CHUNK_ROWS)
            yield Chunk(rows, positions[start : start + CHUNK_ROWS], lost)
            lost = []
    if unparsed:
        before = np.array(invalid, np.int64) - 1 - np.arange(len(invalid))
        yield _without_rows(
            [_placed(record, invalid, before, lines_of) for record in unparsed]
        )


class _Utf8:
    """A stream of bytes as Arrow reads it, which must be UTF-8."""

    closed = False

    def __init__(self, stream: BinaryIO):
        self.stream = stream
        self.decoder = codecs.getincrementaldecoder("utf-8")()

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        try:
            self.decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise NotUtf8(str(error)) from None
        return data

    def close(self) -> None:
        self.closed = True


def _bytes(block: pa.RecordBatch) -> pa.RecordBatch:
    """Undoes that the bytes were taken for Latin-1."""
    arrays = []
    for column in block.columns:
        if not column.buffers()[2].to_pybytes().isascii():
            values = column.to_pylist()
            column = pa.array(
                [v and v.decode().encode("latin-1") for v in values], pa.binary()
            )
        arrays.append(column)
    return pa.RecordBatch.from_arrays(arrays, block.schema.names)


def _line_breaks(block: pa.RecordBatch) -> np.ndarray:
    """The line breaks inside of the fields of each row, int64 (rows,)."""
    total = np.zeros(block.num_rows, np.int64)
    for column in block.columns:
        # To look for the byte takes a tenth of the time of counting by rows.
        data = column.buffers()[2]
        if data is None or b"\n" not in data.to_pybytes():
            continue
        counts = pc.count_substring(column, b"\n").fill_null(0)
        total += counts.to_numpy(zero_copy_only=False)
    return total


def _stripped(block: pa.RecordBatch) -> pa.RecordBatch:
    """Without the white space around fields; a field of nothing else is null."""
    arrays = []
    for column in block.columns:
        text = pc.ascii_trim_whitespace(column.view(pa.string()))
        text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
        arrays.append(text.view(pa.binary()))
    return pa.RecordBatch.from_arrays(arrays, block.schema.names)


def _swallowed(
    block: pa.RecordBatch, rows: np.ndarray, delimiter: str, columns: int
) -> np.ndarray:
    """Those of the rows that hold a line with all the delimiters of a row."""
    separator = re.escape(delimiter)
    pattern = rf"\n[^\n]*(?:{separator}[^\n]*){{{columns - 1}}}"
    found = np.zeros(len(rows), bool)
    for column in block.take(pa.array(rows)).columns if len(rows) else ():
        matches = pc.match_substring_regex(column, pattern).fill_null(False)
        found |= matches.to_numpy(zero_copy_only=False)
    return rows[found]


def _placed(
    record: Unparsed, invalid: list[int], before: np.ndarray, lines_of
) -> Unparsed:
    """An unparsed record with its line: given as Arrow's row, or minus the line."""
    if record.position < 0:
        return record._replace(position=-record.position)
    rows = before[invalid.index(record.position)]
    return record._replace(position=int(lines_of(record.position, rows)))


def read_jsonl(stream: BinaryIO, line: int = 1) -> Iterator[Chunk]:
    """Reads JSON Lines: an object a line; a key that it lacks is null.

    Args:
        stream: The file, or a part of it that starts with a line.
        line: The number of the stream's first line in the file.
    """
    _check_text(stream)
    rows, positions, unparsed = [], [], []
    for position, text in enumerate(stream, line):
        if not text.strip():
            continue
        try:
            row = _json(text)
            if not isinstance(row, dict):
                raise ValueError("another value")
        except (ValueError, RecursionError) as error:
            record = text.decode(errors="backslashreplace").rstrip("\n")
            unparsed.append(Unparsed(position, f"not a JSON object: {error}", record))
            continue
        rows.append(row)
        positions.append(position)
        if len(rows) == CHUNK_ROWS:
            yield Chunk(_from_objects(rows), np.array(positions), unparsed)
            rows, positions, unparsed = [], [], []
    if rows or unparsed:
        yield Chunk(_from_objects(rows), np.array(positions, np.int64), unparsed)


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
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        value = value if isinstance(value, str) else json.dumps(value)
        # Half of a surrogate pair can stand in JSON, not in UTF-8: a misfit, later.
        return value.encode("utf-8", "surrogatepass")

    if any(isinstance(value, list) for value in values):
        lists = [v if isinstance(v, list) or v is None else [v] for v in values]
        texts = [None if v is None else [text(item) for item in v] for v in lists]
        return pa.array(texts, pa.list_(pa.binary()))
    return pa.array([text(value) for value in values], pa.binary())


def read_parquet(
    stream: BinaryIO, row_groups: tuple[int, ...] | None, columns: list[str] | None
) -> Iterator[Chunk]:
    """Reads consecutive row groups of a Parquet file; None: all of them."""
    file = pq.ParquetFile(stream)
    groups = row_groups or tuple(range(file.num_row_groups))
    earlier = range(min(groups, default=0))
    first = 1 + sum(file.metadata.row_group(i).num_rows for i in earlier)
    for rows in file.iter_batches(CHUNK_ROWS, list(groups), columns):
        yield Chunk(rows, np.arange(first, first + rows.num_rows), [])
        first += rows.num_rows


def read_tfrecord(stream: BinaryIO) -> Iterator[Chunk]:
    """Reads a TFRecord file of tf.Example; every column is lists."""
    records, positions, unparsed = [], [], []
    for position, (record, whole) in enumerate(_frames(stream), 1):
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
        yield _without_rows(unparsed)


def _from_examples(records: list[bytes], positions: list[int]) -> Iterator[Chunk]:
    # tfx_bsl brings TensorFlow, which takes seconds to import.
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    try:
        rows = ExamplesToRecordBatchDecoder().DecodeBatch(records)
    except RuntimeError as error:
        if len(records) > 1:  # The decoder does not say which one: halve.
            half = len(records) // 2
            yield from _from_examples(records[:half], positions[:half])
            yield from _from_examples(records[half:], positions[half:])
        else:
            reason, record = f"not a tf.Example: {error}", records[0].decode("latin-1")
            yield _without_rows([Unparsed(positions[0], reason, record)])
    else:
        yield Chunk(rows, np.array(positions), [])


def _frames(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Yields (record, whether it matches its checksum)."""
    while head := stream.read(12):  # the length, and the checksum of the length
        if len(head) < 12 or head[8:] != _checksum(head[:8]):
            raise EOFError("the frame of a record is damaged or cut off")
        length = int.from_bytes(head[:8], "little")
        record, checksum = stream.read(length), stream.read(4)
        if len(record) < length or len(checksum) < 4:
            raise EOFError("a record is cut off")
        yield record, checksum == _checksum(record)


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _without_rows(unparsed: list[Unparsed]) -> Chunk:
    rows = pa.RecordBatch.from_pydict({})
    return Chunk(rows, np.zeros(0, np.int64), unparsed)
