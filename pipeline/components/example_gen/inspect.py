"""Looks at a log before it is read: its parts, its columns, how its times spread."""

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.beam.results import Workers, parallel_map
from pipeline.components.example_gen import splits
from pipeline.config import expressions
from pipeline.logs import casting, column_types, evaluation
from pipeline.logs import files as sources
from pipeline.logs import parts as ranges
from pipeline.logs.casting import Column
from pipeline.logs.evaluation import Expression
from pipeline.logs.files import LISTS_COLUMNS, Source
from pipeline.statistics import sketch


class InspectionSpec(NamedTuple):
    """What is looked for in a log.

    Attributes:
        kinds: The columns that the config names, and their types.
        time: The column by which the rows are split, where the split is by time; its
            type is yet to be found.
        where: Which rows count.
    """

    kinds: dict[str, str]
    time: Column | None = None
    where: Expression | None = None


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
    scan = functools.partial(_scan, spec)
    if spec.time is None and all(file.format in LISTS_COLUMNS for file in files):
        # Heads of files only: not worth a job.
        looked_at = files
        with ThreadPoolExecutor(ranges.THREADS) as pool:
            scans = list(pool.map(scan, range(len(files)), files))
    else:
        looked_at, scans = parts, parallel_map(workers, scan, parts)
    found: dict[str, dict[str, pa.DataType]] = {file.path: {} for file in files}
    types: dict[str, pa.DataType] = {}
    for source, (of_part, _) in zip(looked_at, scans, strict=True):
        for known in (found[source.path], types):
            for name, type_ in of_part.items():
                known[name] = column_types.common_type(known.get(name, type_), type_)
    times = [times for _, times in scans if times is not None and times.rows]
    return LogSchema(files, found, parts, types, times)


class _Scan(NamedTuple):
    """What is found in a part of a log; `times` where the split is by time."""

    types: dict[str, pa.DataType]
    times: sketch.Sketch | None = None


def _scan(spec: InspectionSpec, index: int, source: Source) -> _Scan:
    """Looks at a part of a log; reads no more of it than needed."""
    types, times = sources.listed_columns(source), []
    known = types is not None
    types, time = types or {}, spec.time
    by_time = time is not None and (time.name in types or not known)
    if known and not by_time:
        return _Scan(types)
    wanted = expressions.columns_of(spec.where.text) if spec.where else []
    wanted = [n for n in dict.fromkeys([time and time.name, *wanted]) if n in types]
    for chunk in sources.read(source, wanted if known else None):
        rows = chunk.rows
        for name, array in zip(rows.schema.names, rows.columns, strict=True):
            if not known:
                type_ = casting.own_type(array, spec.kinds.get(name, "own"))
                types[name] = column_types.common_type(types.get(name, type_), type_)
        if by_time and time.name in rows.schema.names:
            rows = evaluation.select(spec.where, chunk)[0]
            type_ = casting.own_type(rows.column(time.name), time.kind)
            column = casting.column(time.name, time.kind, type_, time.missing)
            values = splits.times(casting.cast(rows, [column])[0].column(0))
            times.append(sketch.sketch(values[np.isfinite(values)]))
    return _Scan(types, sketch.merge(times) if times else None)
