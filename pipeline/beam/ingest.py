"""What ExampleGen's workers do with a file: look at it, and turn it into examples."""

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.beam import columns, quantiles, sources, splits
from pipeline.beam.columns import Column
from pipeline.beam.sources import Source
from pipeline.config import Config
from pipeline.errors import PipelineError

SHARD_ROWS = 32_768
REASONS = 5


class Scan(NamedTuple):
    """What the first job finds in a file; `times` where the split is by time."""

    types: dict[str, pa.DataType]
    times: quantiles.Sketch | None
    parts: list[Source]


class Plan(NamedTuple):
    """What the second job does with every row; `limits` where it splits by time."""

    config: Config
    columns: list[Column]
    limits: np.ndarray | None
    folder: Path
    work: Path


class Report(NamedTuple):
    """What became of the rows of some files."""

    rows: dict[str, int]
    dead: int
    reasons: list[str]


def kinds_of(config: Config) -> dict[str, str]:
    """{column: type} of the columns that the config names."""
    kinds: dict[str, str] = {}
    for path, name, kind in config.columns():
        earlier = kinds.get(name, kind)
        if earlier != kind and (kind != "any" or earlier == "list"):
            raise PipelineError(
                f"{path}: column {name!r} cannot be of type {kind!r} here and "
                f"{earlier!r} elsewhere. Give the logs two columns"
            )
        kinds[name] = earlier
    return kinds


def scan(config: Config, index: int, source: Source) -> Scan:
    """Looks at a file; reads no more of it than needed."""
    kinds, split = kinds_of(config), config.data.split
    types, times = sources.listed_columns(source), []
    known = types is not None
    types = types or {}
    by_time = split.by == "time" and (split.column in types or not known)
    if by_time or not known:
        for chunk in sources.read(source, [split.column] if known else None):
            rows = chunk.rows
            for name, array in zip(rows.schema.names, rows.columns, strict=True):
                if not known:
                    type_ = columns.own_type(array, kinds.get(name, "own"))
                    types[name] = columns.common_type(types.get(name, type_), type_)
            if by_time and split.column in rows.schema.names:
                kind = kinds[split.column]
                type_ = columns.own_type(rows.column(split.column), kind)
                column = typed(split.column, kind, type_)
                values = splits.times(columns.cast(rows, [column])[0].column(0))
                times.append(quantiles.sketch(values[np.isfinite(values)]))
    merged = quantiles.merge(times) if times else None
    return Scan(types, merged, sources.parts(source, SHARD_ROWS))


def typed(
    name: str, kind: str, type_: pa.DataType, separator: str | None = None
) -> Column:
    """A column of the examples; `type_` counts where the kind leaves the type open."""
    fixed = {"string": pa.string(), "float": pa.float64(), "list": columns.STRINGS}
    type_ = fixed.get(kind) or columns.settled_type(type_)
    return Column(name, kind, type_, separator)


def ingest(plan: Plan, index: int, group: Sequence[Source]) -> Report:
    """Reads some files and writes their rows and dead letters."""
    shards = {
        name: _Shards(plan.folder / f"Split-{name}", f"part-{index:08d}", plan.work)
        for name in splits.NAMES
    }
    dead, reasons = 0, []
    part = plan.work / uuid.uuid4().hex
    with part.open("w") as letters:
        for source in group:
            unit = "line" if source.format in ("csv", "jsonl") else "row"
            for chunk in sources.read(source):
                rows, misfits = columns.cast(chunk.rows, plan.columns)
                split, unsplit = _assign(plan, source, rows)
                misfits = {**unsplit, **misfits}
                split[list(misfits)] = -1
                for number, name in enumerate(splits.NAMES):
                    shards[name].add(rows.filter(pa.array(split == number)))
                lost = [record[:3] for record in chunk.unparsed] + [
                    (int(chunk.positions[row]), reason, _record(chunk.rows, row))
                    for row, reason in misfits.items()
                ]
                for position, reason, record in sorted(lost, key=lambda item: item[0]):
                    letter = {"source": source.path, unit: position, "reason": reason}
                    letters.write(json.dumps({**letter, "record": record}) + "\n")
                    if len(reasons) < REASONS:
                        reasons.append(f"{source.path}, {unit} {position}: {reason}")
                dead += len(misfits) + sum(record.lines for record in chunk.unparsed)
    rows_out = {name: writer.close() for name, writer in shards.items()}
    if dead:
        folder = plan.folder / "dead_letter"
        folder.mkdir(exist_ok=True)
        os.replace(part, folder / f"part-{index:08d}.jsonl")
    return Report(rows_out, dead, reasons)


def _assign(
    plan: Plan, source: Source, rows: pa.RecordBatch
) -> tuple[np.ndarray, columns.Misfits]:
    """The split of each row, as a position in `splits.NAMES`, and who has none."""
    split = plan.config.data.split
    if split.by == "given":
        return np.full(rows.num_rows, splits.NAMES.index(source.split), np.int8), {}
    column = rows.column(split.column)
    if split.by == "hash":
        bad = column.is_null().to_numpy(zero_copy_only=False)
        result = splits.by_hash(column, split.train, split.valid)
    else:
        values = splits.times(column)
        bad = ~np.isfinite(values)
        result = splits.by_time(values, plan.limits)
    needs = "a number or an ISO 8601 time" if split.by == "time" else "a value"
    return result, {
        int(row): f"column {split.column!r}: the split needs {needs}. Received: "
        f"{column[int(row)].as_py()!r}"
        for row in np.flatnonzero(bad)
    }


def _record(rows: pa.RecordBatch, row: int) -> dict[str, Any]:
    def readable(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode(errors="backslashreplace")
        if isinstance(value, list):
            return [readable(item) for item in value]
        return value if isinstance(value, (int, float, str, type(None))) else str(value)

    return {k: readable(v) for k, v in rows.slice(row, 1).to_pylist()[0].items()}


class _Shards:
    """Writes the rows of one split in files of `SHARD_ROWS` rows."""

    def __init__(self, folder: Path, prefix: str, work: Path):
        folder.mkdir(exist_ok=True)
        self.folder, self.prefix, self.work = folder, prefix, work
        self.batches: list[pa.RecordBatch] = []
        self.waiting = self.files = self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self.batches.append(batch)
        self.waiting += batch.num_rows
        self.rows += batch.num_rows
        while self.waiting >= SHARD_ROWS:
            self._write()

    def close(self) -> int:
        if self.waiting:
            self._write()
        return self.rows

    def _write(self) -> None:
        table = pa.Table.from_batches(self.batches)
        part = self.work / uuid.uuid4().hex
        pq.write_table(table.slice(0, SHARD_ROWS), part, compression="zstd")
        os.replace(part, self.folder / f"{self.prefix}-{self.files:08d}.parquet")
        self.files += 1
        self.batches = table.slice(SHARD_ROWS).to_batches()
        self.waiting = max(self.waiting - SHARD_ROWS, 0)
