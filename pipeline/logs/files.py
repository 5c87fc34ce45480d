"""Logs: which files there are, and their rows as Arrow record batches.

A source is a file, or a part of it: some row groups of a Parquet file, or a range of a
large CSV or JSON Lines file that starts and ends with a line. It is read as a stream of
chunks of at most `CHUNK_ROWS` rows, so memory does not grow with the file. A record
that cannot be parsed is handed over beside the rows; a file that cannot be read to its
end is an error, since nobody knows how many rows are lost.

Files are found and opened by Beam's file systems only, so a path may be local,
`gs://`, `s3://`, `hdfs://` or of any scheme that a file system is registered for.
"""

import contextlib
import glob
import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata

from pipeline.config import dated
from pipeline.config.reading import Reading
from pipeline.errors import PipelineError
from pipeline.logs import csv, csv_header, formats, static_tables
from pipeline.logs.csv import NotUtf8
from pipeline.logs.static_tables import StaticTable
from pipeline.logs.values import column_types, nested
from pipeline.progress import NOWHERE, Done
from pipeline.storage import away
from pipeline.storage.filesystems import FileSystems

_EXTENSIONS = {
    "csv": "csv|tsv",
    "jsonl": "jsonl|ndjson|json",
    "parquet": "parquet|pq",
    "tfrecord": "tfrecords?",
}
# A ValueError or an ImportError: no file system for such paths is installed.
_CANNOT_LIST = (BeamIOError, OSError, ValueError, ImportError)
_CANNOT_READ = (
    OSError, EOFError, ValueError, OverflowError, pa.ArrowException, BeamIOError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zip": "zip"}
_HEADS = 50  # sources of which `heads` takes rows
_NOT_READ = r"\.(xz|lzma|7z|lz4|br|snappy|deflate|Z)$"
_OTHER_FORMATS = r"\.(xlsx?|ods|feather|arrow|orc|avro|pkl|pickle|npz|h5|hdf5?)$"


@dataclass(frozen=True)
class Source:
    """A file, or a part of it.

    Attributes:
        path: Its name, as Beam's file systems take it.
        format: "csv", "jsonl", "parquet" or "tfrecord".
        size: Bytes.
        split: "train", "valid" or "test" where the config gives the splits.
        dialect: How a CSV is written.
        row_groups: The row groups of a Parquet file that are read; None for all.
        start: The byte at which the part of a CSV or JSON Lines file starts.
        stop: The byte before which it ends; None for the end of the file.
        line: The number of its first line in the file.
        paths: Fields of structs, `user.id`, that are read as columns. A column of that
            very name comes first.
        tables: What joins the rows while they are read.
        rows: Reading ends with the chunk in which this row is; None for the last.
    """

    path: str
    format: str
    size: int
    split: str | None = None
    dialect: Reading = Reading(delimiter=",")
    row_groups: tuple[int, ...] | None = None
    start: int = 0
    stop: int | None = None
    line: int = 1
    paths: tuple[str, ...] = ()
    tables: tuple[StaticTable, ...] = ()
    rows: int | None = None

    @property
    def compression(self) -> str | None:
        """The codec of the whole file, told by its name; None if there is none."""
        for extension, codec in _COMPRESSED.items():
            if self.path.endswith(extension) and self.format != "parquet":
                return codec
        return None


def find(
    patterns: Iterable[tuple[str, str, str | None]],
    reading: Reading,
    columns: Iterable[str] = (),
    tables: tuple[StaticTable, ...] = (),
) -> list[Source]:
    """Finds the files of glob patterns, in the order of their names.

    Files whose names start with "." or "_" are not logs but marks of those that wrote
    them, such as `_SUCCESS`.

    Args:
        patterns: (YAML path for messages, glob pattern, split or None).
        reading: The format, where the files' names do not tell it, and how CSVs are
            written.
        columns: Names of columns that are wanted, of which some may be paths.
        tables: What joins the rows while they are read.

    Raises:
        PipelineError: If a pattern matches nothing, or a file's format is unknown, or
            a file is a folder, empty where its format allows no such, or belongs to two
            splits.
    """
    found: dict[str, Source] = {}
    problems = []
    columns = [*columns, *(name for table in tables for name in table.reads)]
    paths = tuple(dict.fromkeys(name for name in columns if "." in name))
    for where, pattern, split in patterns:
        pattern = dated.all_periods(pattern)
        try:
            _check_permission(pattern)
            files = _match(pattern)
        except _CANNOT_LIST as error:
            problems.append(f"{where}: {pattern!r} cannot be listed: {error}")
            continue
        files = [f for f in files if not _name(f.path).startswith((".", "_"))]
        if not files:
            problems.append(
                f"{where}: no file matches {pattern!r}. A relative path starts at the "
                "working directory; the files of a folder are 'folder/*'"
            )
        for file in files:
            kind = reading.format or format_of(file.path)
            earlier = found.get(file.path)
            if os.path.isdir(file.path):
                problems.append(
                    f"{where}: {file.path} is a folder. Its files are '{file.path}/*'"
                )
            elif codec := re.search(_NOT_READ, file.path):
                problems.append(
                    f"{where}: {file.path}: {codec[0]} files are not read. Compress by "
                    f"one of {', '.join(_COMPRESSED)}"
                )
            elif other := re.search(_OTHER_FORMATS, file.path):
                problems.append(
                    f"{where}: {file.path}: {other[0]} files are not read. Write it as "
                    "Parquet, as pandas does by DataFrame.to_parquet"
                )
            elif kind is None:
                problems.append(
                    f"data.format: cannot tell the format of {file.path} by its name. "
                    f"Give one of {', '.join(_EXTENSIONS)}"
                )
            elif not file.size_in_bytes and not _may_be_empty(kind, file.path, reading):
                problems.append(
                    f"{where}: {file.path} is empty, as after an upload that failed. "
                    "Write it anew, or keep it out of the pattern"
                )
            elif earlier and earlier.split != split:
                problems.append(
                    f"{where}: {file.path} is in the split {earlier.split!r} too"
                )
            else:
                dialect = _dialect(file.path, reading)
                found[file.path] = Source(
                    file.path,
                    kind,
                    file.size_in_bytes,
                    split,
                    dialect,
                    paths=paths,
                    tables=tables,
                )
    if problems:
        raise PipelineError("\n".join(problems))
    return sorted(found.values(), key=lambda source: source.path)


def versions(patterns: Iterable[str]) -> list[tuple[str, int, float | None]]:
    """Files of glob patterns: path, size and time of the last change, where known.

    Raises:
        PipelineError: If a pattern cannot be listed.
    """
    found = set()
    for pattern in patterns:
        try:
            files = _match(dated.all_periods(pattern))
        except _CANNOT_LIST as error:
            raise PipelineError(f"{pattern!r} cannot be listed: {error}") from error
        found |= {(f.path, f.size_in_bytes, f.last_updated_in_seconds) for f in files}
    return sorted(found)


# Formats in which a file's head or foot lists the columns.
LISTS_COLUMNS = ("csv", "parquet")


def listed_columns(source: Source) -> dict[str, pa.DataType] | None:
    """The columns that a file's head or foot lists; None in formats without such.

    A CSV's are all strings.
    """
    listed = _listed(source)
    if listed is None:
        return None
    joined = {name: type_ for table in source.tables for name, type_ in table.columns}
    return listed | {name: t for name, t in joined.items() if name not in listed}


def _listed(source: Source) -> dict[str, pa.DataType] | None:
    if source.format == "csv":
        return dict.fromkeys(_csv_names(source), pa.string())
    if source.format == "parquet":
        with opened(source) as stream:
            schema = pq.read_schema(stream)
            formats.check_names(schema.names)
        types = map(column_types.plain_type, schema.types)
        found = dict(zip(schema.names, types, strict=True))
        fields = {path: nested.type_at(found, path) for path in source.paths}
        return found | {path: type_ for path, type_ in fields.items() if type_}
    return None


def heads(sources: list[Source], rows: int) -> list[Source]:
    """Limits sources to their first rows, of which all together have about `rows`.

    Of very many sources only some, evenly spaced, have any.
    """
    every = -(-len(sources) // _HEADS)
    share = max(rows // max(min(len(sources), _HEADS), 1), 1)
    return [
        replace(source, rows=0 if i % every else share)
        for i, source in enumerate(sources)
    ]


def read(
    source: Source, columns: list[str] | None = None, done: Done = NOWHERE
) -> Iterator[formats.Chunk]:
    """Yields the rows of a source, up to its limit.

    Args:
        source: What to read.
        columns: The columns wanted; JSON Lines and TFRecord yield all the same.
        done: Counts the rows, by bytes of the source. Defaults to nowhere.

    Raises:
        PipelineError: If the file cannot be read to its end.
    """
    if not source.tables:
        yield from _read(source, columns, done)
        return
    if columns is not None:
        joined = {name for table in source.tables for name, _ in table.columns}
        needed = [name for table in source.tables for name in table.reads]
        columns = [name for name in (*columns, *needed) if name not in joined]
        columns = list(dict.fromkeys(columns))
    for chunk in _read(source, columns, done):
        yield chunk._replace(rows=static_tables.join(chunk.rows, source.tables))


def _read(
    source: Source, columns: list[str] | None, done: Done
) -> Iterator[formats.Chunk]:
    """Yields the rows as they stand in the file, up to the source's limit."""
    left = float("inf") if source.rows is None else source.rows
    if left <= 0:
        return
    for chunk in _read_all(source, columns):
        yield chunk
        done.add(chunk.lines, round(chunk.share * source.size))
        left -= chunk.lines
        if left <= 0:
            return


def _read_all(source: Source, columns: list[str] | None) -> Iterator[formats.Chunk]:
    if source.format == "csv":
        yield from _read_csv(source, columns)
        return
    with _opened(source) as (stream, position):
        if source.format == "parquet":
            groups, paths = source.row_groups, source.paths
            yield from formats.read_parquet(stream, groups, columns, paths)
        elif source.format == "jsonl":
            rows = formats.read_jsonl(stream, source.line, source.paths)
            yield from _with_shares(rows, position, source)
        else:
            rows = formats.read_tfrecord(stream)
            yield from _with_shares(rows, position, source)


def _with_shares(
    chunks: Iterator[formats.Chunk], position: Callable[[], int], source: Source
) -> Iterator[formats.Chunk]:
    """Tells what part of the source each chunk is, by the bytes that were read."""
    before = position()
    for chunk in chunks:
        now = position()
        yield chunk._replace(share=(now - before) / max(source.size, 1))
        before = now


def _read_csv(source: Source, columns: list[str] | None) -> Iterator[formats.Chunk]:
    names = _csv_names(source) if source.start else None
    last, lost = 0, set()  # The last row and the records that are handed over.
    for by_bytes in (False, True):
        try:
            with _opened(source, NotUtf8) as (stream, position):
                chunks = csv.read(
                    stream, source.dialect, columns, names, source.line, by_bytes
                )
                for chunk in _with_shares(chunks, position, source):
                    new = chunk.positions > last
                    if not new.all():
                        rows = chunk.rows.filter(pa.array(new))
                        chunk = chunk._replace(
                            rows=rows, positions=chunk.positions[new]
                        )
                    unparsed = [r for r in chunk.unparsed if r.position not in lost]
                    yield chunk._replace(unparsed=unparsed)
                    last = max(last, chunk.positions.max(initial=0))
                    lost |= {record.position for record in unparsed}
            return
        except NotUtf8:
            continue  # once again, by bytes


def _csv_names(source: Source) -> list[str]:
    if source.dialect.columns:
        return source.dialect.columns
    with opened(replace(source, start=0, stop=None)) as stream:
        formats.check_text(stream)
        csv_header.skip(stream, source.dialect)
        return csv_header.header(stream, source.dialect)


def advice(source: Source, wanted: Collection[str]) -> str:
    """How a file may be meant to be read, to have columns; "" where nobody can tell."""
    if source.format != "csv":
        return ""
    with opened(source) as stream:
        return csv_header.advice(stream, source.dialect, wanted)


@contextlib.contextmanager
def opened(source: Source, *but: type[Exception]) -> Iterator[Any]:
    """Opens a file; what goes wrong while it is read becomes an error about it.

    Args:
        source: The file.
        but: Exceptions that are let through.
    """
    with _opened(source, *but) as (stream, _):
        yield stream


@contextlib.contextmanager
def _opened(
    source: Source, *but: type[Exception]
) -> Iterator[tuple[Any, Callable[[], int]]]:
    """The same, with what tells the place in the file to which it is read."""
    path = source.path if "://" in source.path else str(away.fetch(Path(source.path)))
    try:
        # Arrow's decompressors are used, not Beam's, as those take a file that was cut
        # off for a whole one.
        with (
            FileSystems.open(
                path, compression_type=CompressionTypes.UNCOMPRESSED
            ) as plain,
            _decoded(source, plain) as stream,
        ):
            yield stream, plain.tell
    except but:
        raise
    except _CANNOT_READ as error:
        raise PipelineError(
            f"{source.path}: cannot be read to its end as {source.format}: {error}. "
            "Write the file anew, or keep it out of `data.logs`"
        ) from error


def _match(pattern: str) -> list[FileMetadata]:
    # A file's own name may be like a glob, such as a[1].csv; Beam escapes nothing.
    meant = pattern if os.path.isfile(pattern) else None
    if meant is not None:
        pattern = re.sub(r"[*\[]", "?", pattern)
    # Beam finds nothing by a glob whose first part is no folder's name.
    first = re.split(r"[*?\[]", pattern)[0]
    pattern = pattern if "/" in first else f"./{pattern}"
    files = FileSystems.match([pattern])[0].metadata_list
    return [f for f in files if meant is None or os.path.samefile(f.path, meant)]


def _check_permission(pattern: str) -> None:
    """Raises a PermissionError if a local folder of a glob may not be listed.

    To a glob such a folder is empty, and its files would be left out in silence.
    """
    if "://" in pattern:
        return
    folder = os.path.dirname(pattern)
    folders: Iterable[str] = [folder or "."]
    if glob.has_magic(folder):
        _check_permission(folder)
        folders = glob.iglob(folder, recursive=True)
    for path in folders:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if glob.has_magic(pattern):
                os.scandir(path).close()
            else:
                os.stat(pattern)


def _may_be_empty(format: str, path: str, reading: Reading) -> bool:
    """Whether a file without a byte is a log without rows, as Beam and Spark write."""
    headless = format in ("jsonl", "tfrecord") or (format == "csv" and reading.columns)
    return bool(headless) and not path.endswith(tuple(_COMPRESSED))


def _name(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def format_of(path: str) -> str | None:
    """The format that a file's name tells; None where it tells none."""
    name = _name(path).lower()
    for format, extensions in _EXTENSIONS.items():
        if re.search(rf"\.({extensions})(?=[.-]|$)", name):
            return format
    return None


def _dialect(path: str, reading: Reading) -> Reading:
    tabs = re.search(r"\.tsv(?=[.-]|$)", _name(path).lower())
    # Of a larger section no more than this, as each part of a log has it.
    options = {name: getattr(reading, name) for name in Reading.model_fields}
    options["delimiter"] = reading.delimiter or ("\t" if tabs else ",")
    return Reading.model_construct(**options)


def _decoded(source: Source, plain: Any) -> Any:
    """What is read of an open file: decompressed, or a part of it."""
    if source.compression == "zip":
        return _unzipped(plain)
    if source.compression:
        file = pa.PythonFile(plain, mode="r")
        plain = pa.CompressedInputStream(file, source.compression)
    elif source.format == "parquet":
        return plain
    elif source.start or source.stop is not None:
        plain.seek(source.start)
        plain = _Range(plain, source.stop)
    return plain if hasattr(plain, "peek") else io.BufferedReader(plain, 1 << 20)


def _unzipped(plain: Any) -> Any:
    """Opens the only file in a zip archive."""
    archive = zipfile.ZipFile(plain)
    # Besides it macOS packs files whose names start with "._".
    files = [i for i in archive.infolist() if not i.is_dir()]
    files = [i for i in files if not _name(i.filename).startswith((".", "_"))]
    if len(files) != 1:
        raise ValueError(
            f"a .zip must hold one file. Received: {len(files)} files. Unzip it"
        )
    try:
        return archive.open(files[0])
    except RuntimeError as error:  # a password, or a compression that Python lacks
        raise ValueError(f"{error}. Unzip it") from error


class _Range(io.RawIOBase):
    """What is left of an open file, up to a byte."""

    def __init__(self, stream: Any, stop: int | None):
        self.stream, self.stop = stream, stop

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        if self.stop is not None:
            size = min(size, self.stop - self.stream.tell())
        data = self.stream.read(size)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.stream.close()
        super().close()
