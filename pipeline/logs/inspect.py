"""Looks at a log before it is read: its parts, its columns, what else is asked for."""

import functools
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline import progress
from pipeline.beam.results import Workers, parallel_map
from pipeline.errors import nearest
from pipeline.logs import files as sources
from pipeline.logs import parts as ranges
from pipeline.logs.files import LISTS_COLUMNS, Source
from pipeline.logs.formats import Chunk
from pipeline.logs.values import casting, column_types
from pipeline.progress import Done


class InspectionSpec(NamedTuple):
    """What is looked for in a log.

    Attributes:
        kinds: The columns that the config names, and their types.
        columns: Those that `fold` needs; without the first, a file is not read.
        fold: (what is known of a part, its next rows) -> what is known then; picklable.
    """

    kinds: dict[str, str]
    columns: tuple[str, ...] = ()
    fold: Callable[[Any, Chunk], Any] | None = None


class LogSchema(NamedTuple):
    """What there is in a log.

    Attributes:
        files: Its files.
        found: The columns of each, by path.
        parts: The parts in which it is read.
        types: The columns of all.
        folded: What `fold` made of each part that has rows.
    """

    files: list[Source]
    found: dict[str, dict[str, pa.DataType]]
    parts: list[Source]
    types: dict[str, pa.DataType]
    folded: list[Any]


def inspect(spec: InspectionSpec, files: list[Source], workers: Workers) -> LogSchema:
    """Looks at a log; reads no more of it than needed.

    Args:
        spec: What is looked for.
        files: The files.
        workers: Who reads.

    Raises:
        PipelineError: If a file cannot be read.
    """
    parts = ranges.divide(files, workers)
    if spec.fold is None and all(file.format in LISTS_COLUMNS for file in files):
        # Heads of files only: not worth a job.
        looked_at = files
        with ThreadPoolExecutor(ranges.THREADS) as pool:
            scan = functools.partial(_scan, spec, progress.NOWHERE)
            scans = list(pool.map(scan, range(len(files)), files))
    else:
        looked_at, size = parts, sum(part.size for part in parts)
        with progress.counting(size, workers.folder, "looks at the logs") as done:
            scan = functools.partial(_scan, spec, done)
            scans = parallel_map(workers, scan, parts)
    found: dict[str, dict[str, pa.DataType]] = {file.path: {} for file in files}
    types: dict[str, pa.DataType] = {}
    for source, (of_part, _) in zip(looked_at, scans, strict=True):
        for known in (found[source.path], types):
            for name, type_ in of_part.items():
                known[name] = column_types.common_type(known.get(name, type_), type_)
    folded = [of_part for _, of_part in scans if of_part is not None]
    return LogSchema(files, found, parts, types, folded)


def unread(where: str, log: LogSchema) -> list[str]:
    """What is to be said of a log in which no column was found."""
    if log.types:
        return []
    return [
        f"{where}: no row can be read in any of {len(log.files)} files, such as "
        f"{log.files[0].path}. JSON Lines have an object in each line, without a list "
        "around them"
    ]


def missing(
    log: LogSchema, needed: Iterable[tuple[str, str]], others: Mapping[str, str]
) -> list[str]:
    """What is to be said of columns that a log lacks.

    Args:
        log: The log.
        needed: (YAML path, column).
        others: Further names that may have been meant, and what is to be said where
            one stands that cannot be used there.
    """
    problems, of_files = [], {}
    needed = dict.fromkeys(needed)
    wanted = [name for _, name in needed]
    for path, name in needed:
        lacking = [
            file
            for file in log.files
            if name not in log.found[file.path]
            # In the other formats a row may leave out what it does not have.
            and (name not in log.types or file.format in LISTS_COLUMNS)
        ]
        of_files |= {file.path: file for file in lacking[:1]}
        if lacking:
            where = ", ".join(file.path for file in lacking[:3])
            known = {*log.types, *others} - {name}
            hint = others.get(name) or nearest(name, sorted(known))
            problems.append(
                f"{path}: {len(lacking)} of {len(log.files)} files have no column "
                f"{name!r}.{hint} ({where}"
                f"{', ...' if len(lacking) > 3 else ''})"
            )
    advice = {sources.advice(file, wanted) for file in of_files.values()} - {""}
    if len(advice) == 1:
        return [*problems[:1], *advice]
    if problems:
        problems.append(f"Columns found: {', '.join(log.types)}")
    return problems


class _Scan(NamedTuple):
    """What is found in a part of a log."""

    types: dict[str, pa.DataType]
    folded: Any = None


def _scan(spec: InspectionSpec, done: Done, index: int, source: Source) -> _Scan:
    """Looks at a part of a log; reads no more of it than needed."""
    types = sources.listed_columns(source)
    known = types is not None
    types = types or {}
    needed = set(spec.columns[:1])
    if known and (spec.fold is None or not needed <= set(types)):
        return _Scan(types)
    wanted = [name for name in dict.fromkeys(spec.columns) if name in types]
    folded = None
    for chunk in sources.read(source, wanted if known else None, done):
        rows = chunk.rows
        for name, array in zip(rows.schema.names, rows.columns, strict=True):
            if not known:
                type_ = casting.own_type(array, spec.kinds.get(name, "own"))
                types[name] = column_types.common_type(types.get(name, type_), type_)
        if spec.fold and needed <= set(rows.schema.names):
            folded = spec.fold(folded, chunk)
    return _Scan(types, folded)
