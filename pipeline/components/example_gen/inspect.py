"""Looks at a log before it is read: its parts, its columns, how its times spread."""

import functools
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.beam.results import parallel_map
from pipeline.components.example_gen import splits, writer
from pipeline.config import Config, expressions, nearest
from pipeline.logs import casting, column_types
from pipeline.logs import files as sources
from pipeline.logs import parts as ranges
from pipeline.logs.files import Source
from pipeline.statistics import sketch

_LISTS_COLUMNS = ("csv", "parquet")


class InspectionSpec(NamedTuple):
    """What is looked for in a log.

    Attributes:
        kinds: The columns that the config names, and their types.
        time: The column by which the rows are split, where the split is by time.
        where: Which rows count.
    """

    kinds: dict[str, str]
    time: str | None = None
    where: str | None = None


class LogSchema(NamedTuple):
    """What there is in a log.

    Attributes:
        files: Its files.
        found: The columns of each, by path.
        parts: The parts in which it is read.
        types: The columns of all.
        times: Sketches of the times, where they were looked for.
    """

    files: list[Source]
    found: dict[str, dict[str, pa.DataType]]
    parts: list[Source]
    types: dict[str, pa.DataType]
    times: list[sketch.Sketch]


def inspect(
    config: Config, spec: InspectionSpec, files: list[Source], work: Path
) -> LogSchema:
    """Looks at a log; reads no more of it than needed.

    Args:
        config: Its `beam` section says which workers read.
        spec: What is looked for.
        files: The files.
        work: A folder that all workers see.

    Raises:
        PipelineError: If a file cannot be read.
    """
    parts = ranges.divide(config, files, work)
    scan = functools.partial(_scan, config, spec)
    if spec.time is None and all(file.format in _LISTS_COLUMNS for file in files):
        # Heads of files only: not worth a job.
        looked_at = files
        with ThreadPoolExecutor(ranges.THREADS) as pool:
            scans = list(pool.map(scan, range(len(files)), files))
    else:
        looked_at, scans = parts, parallel_map(config, scan, parts, work)
    found: dict[str, dict[str, pa.DataType]] = {file.path: {} for file in files}
    types: dict[str, pa.DataType] = {}
    for source, (of_part, _) in zip(looked_at, scans, strict=True):
        for known in (found[source.path], types):
            for name, type_ in of_part.items():
                known[name] = column_types.common_type(known.get(name, type_), type_)
    times = [times for _, times in scans if times is not None and times.rows]
    return LogSchema(files, found, parts, types, times)


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
    problems = []
    for path, name in dict.fromkeys(needed):
        lacking = [
            file
            for file in log.files
            if name not in log.found[file.path]
            # In the other formats a row may leave out what it does not have.
            and (name not in log.types or file.format in _LISTS_COLUMNS)
        ]
        if lacking:
            where = ", ".join(file.path for file in lacking[:3])
            known = {*log.types, *others} - {name}
            hint = others.get(name) or nearest(name, sorted(known))
            problems.append(
                f"{path}: {len(lacking)} of {len(log.files)} files have no column "
                f"{name!r}.{hint} ({where}"
                f"{', ...' if len(lacking) > 3 else ''})"
            )
    if problems:
        problems.append(f"Columns found: {', '.join(log.types)}")
    return problems


class _Scan(NamedTuple):
    """What is found in a part of a log; `times` where the split is by time."""

    types: dict[str, pa.DataType]
    times: sketch.Sketch | None = None


def _scan(config: Config, spec: InspectionSpec, index: int, source: Source) -> _Scan:
    """Looks at a part of a log; reads no more of it than needed."""
    types, times = sources.listed_columns(source), []
    known = types is not None
    types = types or {}
    by_time = spec.time is not None and (spec.time in types or not known)
    if known and not by_time:
        return _Scan(types)
    wanted = [spec.time, *(expressions.columns_of(spec.where) if spec.where else [])]
    wanted = [name for name in dict.fromkeys(wanted) if name in types]
    for chunk in sources.read(source, wanted if known else None):
        rows = chunk.rows
        for name, array in zip(rows.schema.names, rows.columns, strict=True):
            if not known:
                type_ = casting.own_type(array, spec.kinds.get(name, "own"))
                types[name] = column_types.common_type(types.get(name, type_), type_)
        if by_time and spec.time in rows.schema.names:
            rows = writer.select(config, spec.where, rows, chunk.positions)[0]
            kind = spec.kinds[spec.time]
            type_ = casting.own_type(rows.column(spec.time), kind)
            column = casting.column(config, spec.time, kind, type_)
            values = splits.times(casting.cast(rows, [column])[0].column(0))
            times.append(sketch.sketch(values[np.isfinite(values)]))
    return _Scan(types, sketch.merge(times) if times else None)
