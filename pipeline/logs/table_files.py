"""The files of `data.tables`, read and made ready to be joined by `static_tables`."""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from pipeline.beam.results import Workers
from pipeline.config.data import Data
from pipeline.config.joins import Table
from pipeline.errors import PipelineError, nearest
from pipeline.logs import files, static_tables
from pipeline.logs.inspect import InspectionSpec, inspect, missing, unread
from pipeline.logs.static_tables import Missing, StaticTable, ValidTime
from pipeline.logs.values import casting, texts
from pipeline.logs.values.casting import Misfits
from pipeline.logs.values.scalars import readable


def prepare(
    data: Data,
    columns: Collection[str],
    missing_words: Missing,
    workers: Workers,
) -> tuple[StaticTable, ...]:
    """Reads the tables of which columns are wanted.

    Args:
        data: The section of the config.
        columns: Those that are wanted of the log, of which some are of tables.
        missing_words: Which texts of a column stand for no value.
        workers: Who looks at the files; its folder gets the tables.

    Raises:
        PipelineError: If a table has no such column, or a row that does not fit.
    """
    found = []
    for i, table in enumerate(data.tables):
        if names := static_tables.wanted(table.name, columns):
            where = f"data.tables.{i}"
            valid = None
            if table.time:
                missing = missing_words(data.time)
                valid = ValidTime(data.time, missing, texts.UNITS[data.time_unit])
            found.append(_prepare(where, table, names, missing_words, valid, workers))
    return tuple(found)


def _prepare(
    where: str,
    table: Table,
    names: Sequence[str],
    missing_words: Missing,
    valid: ValidTime | None,
    workers: Workers,
) -> StaticTable:
    patterns = [(f"{where}.logs.{j}", glob, None) for j, glob in enumerate(table.logs)]
    sources = files.find(patterns, table)
    log = inspect(InspectionSpec({}), sources, workers)
    needed = [(f"{where}.key", name) for name in table.key.values()]
    needed += [(f"{where}.time", table.time)] if valid else []
    problems = unread(f"{where}.logs", log) or missing(log, needed, {})
    problems += [
        f"{where}: there is no column {name!r}, as in {table.name}.{name}."
        f"{nearest(name, log.types)}"
        for name in names
        if name not in log.types
    ]
    if problems:
        raise PipelineError("\n".join(problems))
    key = [
        casting.column(f"\0{ours}", "string", pa.null(), missing_words(ours), its)
        for ours, its in table.key.items()
    ]
    own = [
        casting.column(f"{table.name}.{n}", "own", log.types[n], None, source=n)
        for n in names
    ]
    batches, starts = [], []
    for source in sources:
        for chunk in files.read(source):
            batch, misfits = casting.cast(chunk.rows, [*key, *own])
            if valid:
                starts.append(valid._replace(column=table.time).of(chunk.rows))
                misfits |= _without_time(chunk.rows, table.time, starts[-1])
            reasons = [
                *(f"{chunk.positions[row]}: {text}" for row, text in misfits.items()),
                *(f"{record.position}: {record.reason}" for record in chunk.unparsed),
            ]
            if reasons:
                raise PipelineError(
                    f"{where}: each row of a table must fit. Received: {source.path}, "
                    f"{reasons[0]}. Mend the table"
                )
            batches.append(batch)
    keys = [column.name for column in key]
    times = np.concatenate([[], *starts]) if valid else None
    schema = pa.schema([(column.name, column.type) for column in (*key, *own)])
    rows = pa.Table.from_batches(batches, schema)
    path = static_tables.write(rows, keys, workers.folder, table.name, times)
    of_log = [column._replace(name=column.name[1:], column=None) for column in key]
    return StaticTable(path, tuple(of_log), tuple((c.name, c.type) for c in own), valid)


def _without_time(rows: pa.RecordBatch, name: str, times: np.ndarray) -> Misfits:
    column = rows.column(name) if name in rows.schema.names else pa.nulls(len(times))
    reason = f"column {name!r}: a number or an ISO 8601 time is needed. Received: "
    return {
        int(row): f"{reason}{readable(column, int(row))!r}"
        for row in np.flatnonzero(~np.isfinite(times))
    }
