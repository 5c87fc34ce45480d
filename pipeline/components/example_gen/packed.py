"""Rows of a log on their way to their partition: Arrow's IPC format, compressed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from pipeline.beam import spill
from pipeline.beam.spill import Place
from pipeline.components.example_gen.joined_logs import PART, POSITION, TIME, Log


class Packed(NamedTuple):
    """Rows that follow one another in the logs, if not at once.

    Attributes:
        part: The part of the log that the first is from.
        position: The place of the first in that.
        rows: The rows, or where they stand.
    """

    part: int
    position: int
    rows: bytes | Place


def pack(batch: pa.RecordBatch, keep: Callable[[bytes], bytes | Place]) -> Packed:
    """Packs rows, in the order of the logs.

    Args:
        batch: The rows, at least one.
        keep: From `spill.spilling`.
    """
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    first = (batch.column(name)[0].as_py() for name in (PART, POSITION))
    return Packed(*first, keep(sink.getvalue().to_pybytes()))


def unpack(
    log: Log, packed: Iterable[Packed], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yields the rows of a partition, in the order of the logs.

    Args:
        log: Whose rows they are.
        packed: All of them: no row stands between two that were packed together.
        columns: The columns wanted, in this order.
    """
    names = [*log.names, PART, POSITION]
    wanted = pa.ipc.IpcReadOptions(included_fields=sorted(map(names.index, columns)))
    for some in sorted(packed, key=lambda some: (some.part, some.position)):
        stream = pa.ipc.open_stream(spill.read(some.rows), options=wanted)
        for batch in stream:
            yield batch.select(columns)


def unpacked(
    log: Log, packed: Iterable[Packed], columns: Sequence[str]
) -> pa.RecordBatch:
    """The rows of a partition as one batch, in the order of the logs; see `unpack`."""
    types = dict(zip(log.names, (column.type for column in log.columns), strict=True))
    types |= {TIME: pa.float64(), PART: pa.int32(), POSITION: pa.int64()}
    schema = pa.schema([(name, types[name]) for name in columns])
    table = pa.Table.from_batches(unpack(log, packed, columns), schema)
    return pa.RecordBatch.from_arrays(
        [column.combine_chunks() for column in table.columns], schema=schema
    )


def rechunked(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yields the same rows in batches of `rows` rows, and what is left."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(waiting)
            yield from table.slice(0, rows).combine_chunks().to_batches()
            waiting = table.slice(rows).to_batches()
            count -= rows
    if count:
        yield from pa.Table.from_batches(waiting).combine_chunks().to_batches()
