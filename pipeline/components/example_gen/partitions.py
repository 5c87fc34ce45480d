"""The side of the join that reads: logs -> Arrow batches by partition.

A partition is a hash of the key column that all `data.actions` and `data.history`
share. An element is (partition, some thousand rows in Arrow's IPC format).
"""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.beam import results
from pipeline.components.example_gen import splits
from pipeline.components.example_gen import writer as ingest
from pipeline.components.example_gen.dead_letters import DeadLetters
from pipeline.config import Config, expressions
from pipeline.config.data import Action, Data, History
from pipeline.errors import PipelineError
from pipeline.logs import casting as columns
from pipeline.logs import evaluation, files
from pipeline.logs.casting import Column, Misfits
from pipeline.logs.files import Source

# Names that columns of logs have while they travel, beside their own.
PART, POSITION, TIME, KEY, HISTORY = "\0part", "\0position", "\0time", "\0key ", "\0h "
# The partition of what is no rows but a log's last time. Tagged outputs would say it
# better, but Beam's Dask runner does not keep them apart.
END = -1
_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


class Log(NamedTuple):
    """A log, and what travels of it.

    Attributes:
        name: "impressions", or that of the actions.
        parts: Its parts.
        columns: What is read.
        names: What those columns are called while they travel.
        where: Which rows count.
        needs_key: Whether a row whose key is missing is a dead letter.
        histories: Those that list its rows.
    """

    name: str
    parts: list[Source]
    columns: list[Column]
    names: list[str]
    where: str | None
    needs_key: bool
    histories: list[History]


class Count(NamedTuple):
    """Rows of a log: `rows_in` = those that travel + `filtered` + `dead`.

    `forms` are those of whole numbers, as `columns.whole_forms` finds them.
    """

    rows_in: int = 0
    filtered: int = 0
    dead: int = 0
    reasons: tuple[str, ...] = ()
    forms: tuple[tuple[str, str], ...] = ()

    def counts(self) -> dict[str, int]:
        """All that are numbers."""
        return {"rows_in": self.rows_in, "filtered": self.filtered, "dead": self.dead}


def impressions(
    config: Config,
    parts: list[Source],
    examples: list[Column],
    types: dict[str, pa.DataType],
) -> Log:
    """What travels of the impressions: all columns of the examples, and some again.

    Args:
        config: Its `data` section says which.
        parts: Their parts.
        examples: The columns of the examples.
        types: The columns as they were found.
    """
    data = config.data
    keys = dict.fromkeys(
        [c for a in data.actions for c in a.key] + [h.key for h in data.history]
    )
    again = [(KEY + name, name, "string") for name in keys]
    again.append((TIME, data.time, "any"))
    histories = [history for history in data.history if history.actions is None]
    again += [(HISTORY + h.name, h.column, "string") for h in histories]
    return Log(
        "impressions",
        parts,
        examples + [_typed(config, types, *each) for each in again],
        [column.name for column in examples] + [name for name, _, _ in again],
        data.where,
        False,
        histories,
    )


def actions(
    action: Action, config: Config, parts: list[Source], types: dict[str, pa.DataType]
) -> Log:
    """What travels of a log of actions.

    Args:
        action: Its section of the config.
        config: Its `data` section says which.
        parts: Its parts.
        types: Its columns, as they were found.
    """
    wanted = [(KEY + ours, theirs, "string") for ours, theirs in action.key.items()]
    wanted.append((TIME, action.time, "any"))
    for name, value in action.values.items():
        kind = "own" if value.take in ("first", "last") else "float"
        wanted.append((name, value.column, kind))
    histories = [h for h in config.data.history if h.actions == action.name]
    wanted += [(HISTORY + h.name, h.column, "string") for h in histories]
    return Log(
        action.name,
        parts,
        [_typed(config, types, *each) for each in wanted],
        [name for name, _, _ in wanted],
        action.where,
        True,
        histories,
    )


def seconds(column: pa.Array, data: Data) -> np.ndarray:
    """Times in seconds; float64 (rows,), NaN where there is none."""
    return splits.times(column, _UNITS[data.time_unit])


class Step(beam.DoFn):
    """A step that keeps what `run` returns for an element, under the element's name.

    What a user can mend is kept too: raised here, a runner would try again and wrap it.
    """

    def __init__(self, reports: Path, name: str):
        self.reports, self.name = reports, name

    def process(self, element: tuple[int, Any], *side: Any) -> Iterator[Any]:
        """Runs the step on an element."""
        try:
            report = yield from self.run(element, *side)
        except PipelineError as error:
            report = error
        results.write(self.reports, [((self.name, element[0]), report)])


class Read(Step):
    """(index, [(number of the part, part)]) -> (partition, rows), and (END, last time).

    Args:
        plan: Where dead letters go.
        log: What is read.
        partitions: How many there are.
        reports: Gets a `Count` of each element.
    """

    def __init__(self, plan: ingest.Plan, log: Log, partitions: int, reports: Path):
        super().__init__(reports, log.name)
        self.plan, self.log, self.partitions = plan, log, partitions

    def run(self, element: tuple[int, list[tuple[int, Source]]]) -> Iterator[Any]:
        """Reads the parts of an element."""
        index, group = element
        rows_in, filtered, end, forms = 0, 0, -np.inf, frozenset()
        folder, work = self.plan.folder, self.plan.work
        letters = DeadLetters(folder, f"{self.log.name}-{index:08d}", work)
        with ingest.writing(folder), letters:
            for number, source in group:
                for chunk in files.read(source):
                    letters.add_unparsed(source, chunk.unparsed)
                    rows_in += chunk.rows.num_rows
                    rows_in += sum(record.lines for record in chunk.unparsed)
                    raw, positions, wrong, dropped = ingest.select(
                        self.plan.config, self.log.where, chunk.rows, chunk.positions
                    )
                    filtered += dropped
                    forms |= columns.whole_forms(raw, self.log.columns)
                    arrays, misfits = self.cast(raw)
                    misfits = {**misfits, **wrong}
                    letters.add(ingest.letters([source], 0, positions, raw, misfits))
                    arrays[PART] = pa.array(np.full(raw.num_rows, number, np.int32))
                    arrays[POSITION] = pa.array(positions)
                    fits = np.ones(raw.num_rows, bool)
                    fits[list(misfits)] = False
                    kept = pa.RecordBatch.from_pydict(arrays).filter(pa.array(fits))
                    end = max(end, self.latest(chunk.rows))
                    yield from self.partition(kept)
        yield END, end
        reasons = tuple(letters.reasons)
        return Count(rows_in, filtered, letters.count, reasons, tuple(sorted(forms)))

    def latest(self, raw: pa.RecordBatch) -> float:
        """The last time of all rows: the log went on until then, be it for others."""
        (time,) = (
            column
            for column, name in zip(self.log.columns, self.log.names, strict=True)
            if name == TIME
        )
        batch, _ = columns.cast(raw, [time])
        times = seconds(batch.column(0), self.plan.config.data)
        return float(np.max(times[np.isfinite(times)], initial=-np.inf))

    def cast(self, raw: pa.RecordBatch) -> tuple[dict[str, pa.Array], Misfits]:
        """The columns that travel, by name."""
        data = self.plan.config.data
        batch, misfits = columns.cast(raw, self.log.columns)
        arrays = dict(zip(self.log.names, batch.columns, strict=True))
        source = dict(zip(self.log.names, self.log.columns, strict=True))
        times = seconds(arrays[TIME], data)
        for row in np.flatnonzero(~np.isfinite(times)):
            value = arrays[TIME][int(row)].as_py()
            reason = "a number or an ISO 8601 time is needed. Received: "
            misfits[int(row)] = f"column {source[TIME].name!r}: {reason}{value!r}"
        arrays[TIME] = pa.array(times)
        for name in source if self.log.needs_key else ():
            if name.startswith(KEY):
                null = arrays[name].is_null().to_numpy(zero_copy_only=False)
                reason = f"column {source[name].name!r}: the join needs a value"
                misfits |= {int(row): reason for row in np.flatnonzero(null)}
        for history in self.log.histories:
            if history.where is not None:
                holds, wrong = evaluation.values(
                    expressions.parse(history.where),
                    raw,
                    self.plan.config.missing_words,
                )
                misfits = {**wrong, **misfits}
                name, no = HISTORY + history.name, pa.scalar(None, pa.string())
                counts = np.nan_to_num(holds) != 0
                arrays[name] = pc.if_else(pa.array(counts), arrays[name], no)
        return arrays, misfits

    def partition(self, batch: pa.RecordBatch) -> Iterator[tuple[int, bytes]]:
        """Yields the rows of each partition."""
        key = KEY + self.plan.config.data.shuffle_columns()[0]
        encoded = batch.column(key).dictionary_encode()
        hashes = [zlib.crc32(v.encode()) for v in encoded.dictionary.to_pylist()]
        number = np.append(np.array(hashes, np.int64) % self.partitions, 0)
        number = number[encoded.indices.fill_null(len(hashes)).to_numpy()]
        for partition in np.unique(number):
            rows = batch.filter(pa.array(number == partition))
            yield int(partition), _packed(rows)


def unpacked(log: Log, batches: Iterable[bytes]) -> pa.RecordBatch:
    """The rows of a partition, in the order of the logs."""
    types = dict(zip(log.names, (column.type for column in log.columns), strict=True))
    types |= {TIME: pa.float64(), PART: pa.int32(), POSITION: pa.int64()}
    tables = [pa.schema(types).empty_table()]
    tables += [pa.ipc.open_stream(batch).read_all() for batch in batches]
    table = pa.concat_tables(tables)
    order = np.lexsort([table[POSITION].to_numpy(), table[PART].to_numpy()])
    table = table.take(pa.array(order)).combine_chunks()
    return pa.RecordBatch.from_arrays(
        [column.combine_chunks() for column in table.columns], schema=table.schema
    )


def _packed(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _typed(
    config: Config, types: dict[str, pa.DataType], name: str, column: str, kind: str
) -> Column:
    typed = columns.column(config, column, kind, types.get(column, pa.null()))
    # A key is read as the column of the impressions that it is compared with, and what
    # a history lists as the feature that it becomes.
    ours = name.removeprefix(KEY).removeprefix(HISTORY)
    return typed._replace(missing=config.missing_words(ours))
