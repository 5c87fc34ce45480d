"""Some rows of logs, read as the pipeline reads them, whatever their format."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa

from pipeline.config.reading import Reading
from pipeline.errors import PipelineError
from pipeline.init import dialect
from pipeline.logs import files
from pipeline.logs.files import Source
from pipeline.logs.formats import Unparsed
from pipeline.logs.values import casting, column_types, nested

READ_ROWS = 1_000_000  # at most, of all files together
KEPT_ROWS = 60_000
_FIELDS = 64  # of a struct, at most; one with more is rather a map
_SPLIT_WORDS = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "dev", "eval"),
    "test": ("test", "testing"),
}


class JoinedTable(NamedTuple):
    """A table of users or items.

    Attributes:
        name: What its columns are called by in the log, `name.column`.
        logs: The files.
        reading: How they are written.
        of_log: The column of the log by which its rows are found.
        key: The same column in the table.
    """

    name: str
    logs: list[str]
    reading: Reading
    of_log: str
    key: str


class Sample(NamedTuple):
    """Rows of logs.

    Attributes:
        rows: The rows, in their order; every n-th of those read.
        reading: How the files are written.
        logs: The patterns, or {split: patterns} where the files' names tell splits.
        files: How many there are.
        read: How many rows were read.
        whole: Whether these are all rows of all files.
        tables: Those whose columns the rows have.
    """

    rows: pa.Table
    reading: Reading
    logs: list[str] | dict[str, list[str]]
    files: int
    read: int
    whole: bool
    tables: tuple[JoinedTable, ...] = ()

    def is_joined(self, column: str) -> bool:
        """Whether a column is one of a table."""
        return any(column.startswith(f"{table.name}.") for table in self.tables)


def sample(patterns: Sequence[str]) -> Sample:
    """Reads some rows of logs; how many does not depend on the files' size.

    Args:
        patterns: Files or globs.

    Raises:
        PipelineError: If there are no files, or they cannot be read.
    """
    where = [("logs", pattern, None) for pattern in patterns]
    found = files.find(where, Reading(format="csv", columns=["unknown"]))
    reading = dialect.sniff(max(found, key=lambda file: file.size > 0).path)
    found = files.find(where, reading)
    _check_alike(found)
    found, structs = _by_field(found)
    chunks, every, kept, read, whole = [], 1, 0, 0, True
    unparsed: Unparsed | None = None
    for source in files.heads(found, READ_ROWS):
        rows_of = 0
        for chunk in files.read(source):
            # Every n-th row of all that were read, whatever the chunks are.
            rows = chunk.rows.drop_columns(structs & {*chunk.rows.schema.names})
            unparsed = unparsed or next(iter(chunk.unparsed), None)
            first = -read % every
            chunks.append(rows.take(pa.array(range(first, rows.num_rows, every))))
            read += rows.num_rows
            rows_of += chunk.lines
            kept += chunks[-1].num_rows
            if kept > 2 * KEPT_ROWS:
                chunks, every = _halved(chunks), every * 2
                kept = sum(chunk.num_rows for chunk in chunks)
        whole &= rows_of < source.rows
    if not kept:
        path, hint = found[0].path, ""
        if unparsed is None:
            raise PipelineError(f"{path}: there is no row in it. Give a log with rows")
        if found[0].format == "jsonl":
            hint = ". JSON Lines have an object in each line"
        raise PipelineError(
            f"no row can be read in any of {len(found)} files, such as {path}, line "
            f"{unparsed.position}: {unparsed.reason}{hint}"
        )
    rows = _table(chunks)
    logs = _by_split([source.path for source in found], patterns)
    return Sample(rows, reading, logs, len(found), read, whole and every == 1)


def _check_alike(sources: list[Source]) -> None:
    """Raises a PipelineError for CSVs with another delimiter than they are read by."""
    csvs = [source for source in sources if source.format == "csv" and source.size]
    for source in files.heads(csvs, READ_ROWS):
        delimiter, by = _delimiter(source.path), source.dialect.delimiter
        if source.rows and delimiter not in (None, by):
            raise PipelineError(
                "the files of a log must be written alike. Received: "
                f"{delimiter!r} between the fields of {source.path}, and {by!r} in "
                "others. Write them alike, or call `init` for each kind"
            )


def _delimiter(path: str) -> str | None:
    """What stands between the fields of a CSV, if that can be told."""
    try:
        own = dialect.sniff(path)
    except PipelineError:
        return None
    (source,) = files.find([("logs", path, None)], own)
    return source.dialect.delimiter


def _by_field(sources: list[Source]) -> tuple[list[Source], set[str]]:
    """Sources that read structs by field, and the columns that are such."""
    source = max(sources, key=lambda source: source.size > 0)
    if source.format not in ("jsonl", "parquet"):
        return sources, set()
    rows = next((chunk.rows for chunk in files.read(source)), None)
    found = {} if rows is None else nested.fields(rows, source.format == "jsonl")
    found = {name: of for name, of in found.items() if len(of) <= _FIELDS}
    paths = tuple(path for of in found.values() for path in of)
    return [replace(source, paths=paths) for source in sources], {*found}


def _halved(chunks: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Every second row of all."""
    result, odd = [], 0
    for chunk in chunks:
        result.append(chunk.take(pa.array(range(odd, chunk.num_rows, 2))))
        odd = (odd + chunk.num_rows) % 2
    return result


def _table(chunks: Sequence[pa.RecordBatch]) -> pa.Table:
    """The rows of all chunks, each column of one type."""
    types: dict[str, pa.DataType] = {}
    for rows in chunks:
        for name, array in zip(rows.schema.names, rows.columns, strict=True):
            type_ = casting.own_type(array, "own")
            types[name] = column_types.common_type(types.get(name, type_), type_)
    columns = [
        casting.column(name, "own", type_, None) for name, type_ in types.items()
    ]
    return pa.Table.from_batches([casting.cast(rows, columns)[0] for rows in chunks])


def _by_split(
    paths: Sequence[str], patterns: Sequence[str]
) -> list[str] | dict[str, list[str]]:
    """{split: paths} if the names of all files tell it; valid need not be there."""
    found: dict[str, list[str]] = {split: [] for split in _SPLIT_WORDS}
    for path in paths:
        words = re.split(r"[^a-z]+", re.split(r"[/\\]", path)[-1].lower())
        splits = [s for s, names in _SPLIT_WORDS.items() if set(names) & set(words)]
        if len(splits) == 1:
            found[splits[0]].append(path)
    all_told = sum(map(len, found.values())) == len(paths)
    given = {split: of for split, of in found.items() if of}
    return given if all_told and {"train", "test"} <= given.keys() else list(patterns)
