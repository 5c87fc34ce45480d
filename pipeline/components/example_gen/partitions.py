"""The side of the join that reads: logs -> packed rows by partition.

A partition is a hash of the key column that all `data.actions` and `data.history`
share.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.beam import spill
from pipeline.beam.atomic import writing
from pipeline.beam.work import Work
from pipeline.components.example_gen.joined_logs import KEY, PART, POSITION, TIME, Log
from pipeline.components.example_gen.packed import Packed, pack
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

# The bytes of rows that are divided at a time. More make larger pieces, and so fewer.
_DIVIDED = 64 << 20

# Which log, the number of the element, [(number of the part, part), ...].
Element = tuple[int, int, list[tuple[int, Source]]]


class Read(Work):
    """`Element` -> (partition, (which log, `Packed`)), and a report at its end.

    That is (`REPORT`, ((which log, number), report, last time)). What a user can mend
    is reported too.

    Args:
        plan: Where dead letters go.
        logs: What is read.
        partitions: How many there are.
        spilled: Where rows wait to be matched; see `spill.spilling`.
    """

    def __init__(
        self, plan: Plan, logs: Sequence[Log], partitions: int, spilled: Path | None
    ):
        self.folder, self.work, self.done = plan.folder, plan.work, plan.done
        self.logs, self.partitions, self.spilled = logs, partitions, spilled

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
        with writing(self.folder), letters, spill.spilling(self.spilled) as keep:
            waiting: list[pa.RecordBatch] = []
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
                    waiting.append(kept)
                    if sum(rows.nbytes for rows in waiting) >= _DIVIDED:
                        yield from self.divide(which, waiting, keep)
                        waiting = []
            yield from self.divide(which, waiting, keep)
        report = Report(
            rows_in,
            dead=letters.count,
            filtered=filtered,
            reasons=tuple(letters.reasons),
            forms=forms,
        )
        return report, end

    def divide(
        self,
        which: int,
        batches: Sequence[pa.RecordBatch],
        keep: Callable[[bytes], bytes | spill.Place],
    ) -> Iterator[tuple[int, tuple[int, Packed]]]:
        """Yields the rows of each partition that has any."""
        if not batches:
            return
        table = pa.Table.from_batches(batches).combine_chunks()
        key = table[self.logs[which].partition_by].combine_chunks().dictionary_encode()
        hashes = [zlib.crc32(v.encode()) for v in key.dictionary.to_pylist()]
        number = np.append(np.array(hashes, np.int64) % self.partitions, 0)
        number = number[key.indices.fill_null(len(hashes)).to_numpy()]
        order = np.argsort(number, kind="stable")  # the rows of one stay in order
        ends = np.cumsum(np.bincount(number, minlength=self.partitions))
        for partition, (start, stop) in enumerate(
            zip([0, *ends[:-1]], ends, strict=True)
        ):
            if start < stop:
                of = table.take(pa.array(order[start:stop])).combine_chunks()
                yield partition, (which, pack(of.to_batches()[0], keep))


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
