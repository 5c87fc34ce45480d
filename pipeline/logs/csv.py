"""Reads CSVs: an open file -> chunks of rows, with the lines on which they stand."""

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pipeline.config.reading import Reading
from pipeline.logs import csv_header, formats
from pipeline.logs.formats import Chunk, Unparsed

# Arrow parses smaller blocks faster, but none may be shorter than a row.
_BLOCK_BYTES = 4 << 20


# A quote somewhere behind a backslash: what is left of a quote that one escapes.
ESCAPED = '\\"'
_ESCAPED = r"(?s)\\.*"


class NotUtf8(ValueError):
    """Bytes of a file are not UTF-8: it is to be read `by_bytes`, which is slower."""


def read(
    stream: BinaryIO,
    dialect: Reading,
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
        dialect: How it is written; the delimiter is known.
        columns: The columns wanted. Defaults to all.
        names: All columns, in order. Defaults to what the first line of the stream
            names, or `dialect.columns`.
        line: The number of the stream's first line in the file.
        by_bytes: Whether fields and invalid rows may be anything but UTF-8.

    Raises:
        NotUtf8: If bytes are not UTF-8, and the file is not read by bytes. Arrow would
            give up at an invalid row that has such.
    """
    formats.check_text(stream)
    if names is None:
        line += csv_header.skip(stream, dialect)
    if names is None and dialect.columns:
        names = dialect.columns
        if stream.peek(3).startswith(codecs.BOM_UTF8):
            stream.read(3)
    elif names is None:
        names = csv_header.header(stream, dialect)
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
        reason += csv_header.fault(
            row.text, row.actual_columns, row.expected_columns, dialect
        )
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
            escape_char=dialect.escape or False,
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
        if dialect.decimal != "." or dialect.thousands:
            block = _with_points(block, dialect)
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
        forms = _escaped(block, dialect)
        for start in range(0, max(block.num_rows, 1), formats.CHUNK_ROWS):
            rows = block.slice(start, formats.CHUNK_ROWS)
            places = positions[start : start + formats.CHUNK_ROWS]
            yield Chunk(rows, places, lost, forms=forms)
            lost = []
    if unparsed:
        before = np.array(invalid, np.int64) - 1 - np.arange(len(invalid))
        yield formats.without_rows(
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
        begun, _ = self.decoder.getstate()  # of a character
        if begun or not data.isascii():
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
        data = column.buffers()[2]
        if data is not None and not data.to_pybytes().isascii():
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


def _escaped(block: pa.RecordBatch, dialect: Reading) -> frozenset[tuple[str, str]]:
    """(column, `ESCAPED`) where backslashes may escape quotes, and nothing says so."""
    if dialect.escape or not dialect.quote:
        return frozenset()
    pattern = _ESCAPED + re.escape(dialect.quote)
    found = set()
    for name, column in zip(block.schema.names, block.columns, strict=True):
        # As for line breaks: most columns have no such byte.
        data = column.buffers()[2]
        if data is not None and b"\\" in data.to_pybytes():
            if pc.any(pc.match_substring_regex(column, pattern)).as_py():
                found.add((name, ESCAPED))
    return frozenset(found)


def _stripped(block: pa.RecordBatch) -> pa.RecordBatch:
    """Without the white space around fields; a field of nothing else is null."""
    arrays = []
    for column in block.columns:
        text = pc.ascii_trim_whitespace(column.view(pa.string()))
        text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
        arrays.append(text.view(pa.binary()))
    return pa.RecordBatch.from_arrays(arrays, block.schema.names)


def _with_points(block: pa.RecordBatch, dialect: Reading) -> pa.RecordBatch:
    """Numbers of the dialect as all others write them: 1.234,5 -> 1234.5."""
    point, thousands = dialect.decimal, dialect.thousands or ""
    digits = r"[0-9]+"
    if thousands:
        digits = rf"(?:[0-9]{{1,3}}(?:{re.escape(thousands)}[0-9]{{3}})+|[0-9]+)"
    number = rf"^\s*[+-]?{digits}(?:{re.escape(point)}[0-9]+)?(?:[eE][+-]?[0-9]+)?\s*$"
    arrays = []
    for column in block.columns:
        is_number = pc.match_substring_regex(column, number).fill_null(False)
        new = column.filter(is_number)
        if thousands:
            new = pc.replace_substring(new, thousands, "")
        new = pc.replace_substring(new, point, ".")
        arrays.append(pc.replace_with_mask(column, is_number, new))
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
