"""Logs: which files there are, and their rows as Arrow record batches.

A source is a file, or some row groups of a Parquet file. It is read as a stream of
chunks of at most `CHUNK_ROWS` rows, so memory does not grow with the file. A record
that cannot be parsed is handed over beside the rows; a file that cannot be read to its
end is an error, since nobody knows how many rows are lost.
"""

import contextlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipeline.beam import readers
from pipeline.errors import PipelineError

_EXTENSIONS = {
    "csv": "csv|tsv",
    "jsonl": "jsonl|ndjson|json",
    "parquet": "parquet|pq",
    "tfrecord": "tfrecords?",
}
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


@dataclass(frozen=True)
class Source:
    """A file, or a part of it.

    Attributes:
        path: Its name, as Beam's file systems take it.
        format: "csv", "jsonl", "parquet" or "tfrecord".
        size: Bytes.
        split: "train", "valid" or "test" where the config gives the splits.
        delimiter: Between the fields of a CSV.
        row_groups: The row groups of a Parquet file that are read; None for all.
    """

    path: str
    format: str
    size: int
    split: str | None = None
    delimiter: str = ","
    row_groups: tuple[int, ...] | None = None


def find(
    patterns: Iterable[tuple[str, str, str | None]],
    format: str | None = None,
    delimiter: str = ",",
) -> list[Source]:
    """Finds the files of glob patterns, in the order of their names.

    Files whose names start with "." or "_" are not logs but marks of those that wrote
    them, such as `_SUCCESS`.

    Args:
        patterns: (YAML path for messages, glob pattern, split or None).
        format: The format; None to tell it by each file's name.
        delimiter: Between the fields of a CSV.

    Raises:
        PipelineError: If a pattern matches nothing, or a file's format is unknown, or
            a file is empty or belongs to two splits.
    """
    found: dict[str, Source] = {}
    problems = []
    for where, pattern, split in patterns:
        try:
            files = FileSystems.match([pattern])[0].metadata_list
        except BeamIOError as error:
            problems.append(f"{where}: {pattern!r} cannot be listed: {error}")
            continue
        files = [f for f in files if not _name(f.path).startswith((".", "_"))]
        if not files:
            problems.append(
                f"{where}: no file matches {pattern!r}. A relative path starts at the "
                "working directory; the files of a folder are 'folder/*'"
            )
        for file in files:
            kind = format or _format(file.path)
            earlier = found.get(file.path)
            if kind is None:
                problems.append(
                    f"data.format: cannot tell the format of {file.path} by its name. "
                    f"Give one of {', '.join(_EXTENSIONS)}"
                )
            elif not file.size_in_bytes:
                problems.append(
                    f"{where}: {file.path} is empty, as after an upload that failed. "
                    "Write it anew, or keep it out of the pattern"
                )
            elif earlier and earlier.split != split:
                problems.append(
                    f"{where}: {file.path} is in the split {earlier.split!r} too"
                )
            else:
                source = Source(file.path, kind, file.size_in_bytes, split, delimiter)
                found[file.path] = source
    if problems:
        raise PipelineError("\n".join(problems))
    return sorted(found.values(), key=lambda source: source.path)


def listed_columns(source: Source) -> dict[str, pa.DataType] | None:
    """The columns that a file's head or foot lists; None in formats without such.

    A CSV's are all strings.
    """
    with _reading(source) as stream:
        if source.format == "csv":
            names = readers.csv_header(stream, source.delimiter)
            return dict.fromkeys(names, pa.string())
        if source.format == "parquet":
            schema = pq.read_schema(stream)
            return dict(zip(schema.names, schema.types, strict=True))
    return None


def parts(source: Source, rows: int) -> list[Source]:
    """Divides a Parquet file into runs of row groups of about `rows` rows or more."""
    if source.format != "parquet":
        return [source]
    with _reading(source) as stream:
        metadata = pq.read_metadata(stream)
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    # Row groups with the same number are read together.
    number = (np.cumsum(sizes) - sizes) // rows
    distinct = np.unique(number)
    groups = [tuple(np.flatnonzero(number == n).tolist()) for n in distinct]
    return [
        replace(source, size=source.size // len(groups), row_groups=group)
        for group in groups
    ]


def read(source: Source, columns: list[str] | None = None) -> Iterator[readers.Chunk]:
    """Yields the rows of a source.

    Args:
        source: What to read.
        columns: The columns wanted; JSON Lines and TFRecord yield all the same.

    Raises:
        PipelineError: If the file cannot be read to its end.
    """
    with _reading(source) as stream:
        if source.format == "csv":
            yield from readers.read_csv(stream, source.delimiter, columns)
        elif source.format == "parquet":
            yield from readers.read_parquet(stream, source.row_groups, columns)
        elif source.format == "jsonl":
            yield from readers.read_jsonl(stream)
        else:
            yield from readers.read_tfrecord(stream)


@contextlib.contextmanager
def _reading(source: Source) -> Iterator[Any]:
    """Opens a file; what goes wrong while it is read becomes an error about it."""
    try:
        with _open(source) as stream:
            yield stream
    except (OSError, EOFError, ValueError, pa.ArrowException, BeamIOError) as error:
        raise PipelineError(
            f"{source.path}: cannot be read to its end as {source.format}: {error}. "
            "Write the file anew, or keep it out of `data.logs`"
        ) from error


def _name(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def _format(path: str) -> str | None:
    name = _name(path).lower()
    for format, extensions in _EXTENSIONS.items():
        if re.search(rf"\.({extensions})(?=[.-]|$)", name):
            return format
    return None


def _open(source: Source) -> Any:
    # Arrow's decompressors are used, not Beam's, as those take a file that was cut off
    # for a whole one.
    plain = FileSystems.open(
        source.path, compression_type=CompressionTypes.UNCOMPRESSED
    )
    for extension, codec in _COMPRESSED.items():
        if source.path.endswith(extension) and source.format != "parquet":
            file = pa.PythonFile(plain, mode="r")
            return io.BufferedReader(pa.CompressedInputStream(file, codec), 1 << 20)
    return plain
