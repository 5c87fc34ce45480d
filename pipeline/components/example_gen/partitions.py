"""The side of the join that reads: logs -> Arrow batches by partition.

A partition is a hash of the key column that all `data.actions` and `data.history`
share. A batch is some thousand rows in Arrow's IPC format.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.beam.atomic import writing
from pipeline.components.example_gen.joined_logs import KEY, PART, POSITION, TIME, Log
from pipeline.components.example_gen.plan import Plan, Report
from pipeline.errors import PipelineError
from pipeline.logs import evaluation, files
from pipeline.logs.dead_letters import DeadLetters, SourcedRows
from pipeline.logs.files import Source
from pipeline.logs.values import casting, times
from pipeline.logs.values.casting import Misfits
from pipeline.logs.values.scalars import readable

# The partition of what is no rows but the report of an element that was read. Tagged
# outputs would say it better, but Beam's Dask runner does not keep them apart.
REPORT = -1

# Which log, the number of the element, [(number of the part, part), ...].
Element = tuple[int, int, list[tuple[int, Source]]]


class Read(beam.DoFn):
    """`Element` -> (partition, (which log, rows)), and an element's report at its end.

    That is (`REPORT`, ((which log, number), report, last time)). What a user can mend
    is reported too.

    Args:
        plan: Where dead letters go.
        logs: What is read.
        partitions: How many there are.
    """

    def __init__(self, plan: Plan, logs: Sequence[Log], partitions: int):
        self.folder, self.work, self.done = plan.folder, plan.work, plan.done
        self.logs, self.partitions = logs, partitions

    def process(self, element: Element) -> Iterator[tuple[int, Any]]:
        """Reads the parts of an element."""
        which, index, group = element
        try:
            report, end = yield from self.read(which, index, group)
        except PipelineError as error:
            report, end = error, -np.inf
        yield REPORT, ((which, index), report, end)

    def read(self, which: int, index: int, group: list[tuple[int, Source]]) -> Iterator:
        """Yields the rows by partition; returns the report and the last time."""
        log = self.logs[which]
        rows_in, filtered, end, forms = 0, 0, -np.inf, Counter()
        letters = DeadLetters(self.folder, f"{log.name}-{index:08d}", self.work)
        with writing(self.folder), letters:
            for number, source in group:
                for chunk in files.read(source, done=self.done):
                    letters.add_unparsed(source, chunk.unparsed)
                    rows_in += chunk.lines
                    raw, positions, wrong, dropped = evaluation.select(log.where, chunk)
                    filtered += dropped
                    whole = casting.whole_forms(raw, log.columns)
                    forms.update(chunk.forms | whole)
                    arrays, misfits = _cast(log, raw)
                    misfits = {**misfits, **wrong}
                    part = np.zeros(raw.num_rows, int)
                    letters.add(SourcedRows(raw, [source], part, positions), misfits)
                    arrays[PART] = pa.array(np.full(raw.num_rows, number, np.int32))
                    arrays[POSITION] = pa.array(positions)
                    fits = np.ones(raw.num_rows, bool)
                    fits[list(misfits)] = False
                    kept = pa.RecordBatch.from_pydict(arrays).filter(pa.array(fits))
                    end = max(end, _latest(log, chunk.rows))
                    for partition, rows in self.partition(log, kept):
                        yield partition, (which, _packed(rows))
        report = Report(
            rows_in,
            dead=letters.count,
            filtered=filtered,
            reasons=tuple(letters.reasons),
            forms=forms,
        )
        return report, end

    def partition(
        self, log: Log, batch: pa.RecordBatch
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yields the rows of each partition."""
        encoded = batch.column(log.partition_by).dictionary_encode()
        hashes = [zlib.crc32(v.encode()) for v in encoded.dictionary.to_pylist()]
        number = np.append(np.array(hashes, np.int64) % self.partitions, 0)
        number = number[encoded.indices.fill_null(len(hashes)).to_numpy()]
        for partition in np.unique(number):
            yield int(partition), batch.filter(pa.array(number == partition))


def _latest(log: Log, raw: pa.RecordBatch) -> float:
    """The last time of all rows: the log went on until then, be it for others."""
    batch, _ = casting.cast(raw, [log.columns[log.names.index(TIME)]])
    found = times.seconds(batch.column(0), log.unit)
    return float(np.max(found[np.isfinite(found)], initial=-np.inf))


def _cast(log: Log, raw: pa.RecordBatch) -> tuple[dict[str, pa.Array], Misfits]:
    """The columns that travel, by name."""
    batch, misfits = casting.cast(raw, log.columns)
    arrays = dict(zip(log.names, batch.columns, strict=True))
    source = dict(zip(log.names, log.columns, strict=True))
    found = times.seconds(arrays[TIME], log.unit)
    for row in np.flatnonzero(~np.isfinite(found)):
        value = readable(arrays[TIME], int(row))
        reason = "a number or an ISO 8601 time is needed. Received: "
        misfits[int(row)] = f"column {source[TIME].name!r}: {reason}{value!r}"
    arrays[TIME] = pa.array(found)
    for name in source if log.needs_key else ():
        if name.startswith(KEY):
            null = arrays[name].is_null().to_numpy(zero_copy_only=False)
            reason = f"column {source[name].name!r}: the join needs a value"
            misfits |= {int(row): reason for row in np.flatnonzero(null)}
    for name, where in log.listed.items():
        holds, wrong = where.values(raw)
        misfits = {**wrong, **misfits}
        counts = pa.array(np.nan_to_num(holds) != 0)
        arrays[name] = pc.if_else(counts, arrays[name], pa.scalar(None, pa.string()))
    return arrays, misfits


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
