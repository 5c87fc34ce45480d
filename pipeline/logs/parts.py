"""Cuts logs into parts that workers read side by side.

- Parquet: runs of row groups.
- JSON Lines: ranges of bytes, each from the start of a line to the start of another.
- CSV: the same, if no quote stands in the file, or `multiline: false` says that no
  field has a line break in it. Else only who has read the file from its start knows
  which line breaks end a row.

A compressed file, or a TFRecord, is one part. Lines are counted beforehand by the
workers, so that a dead letter names the line of the file and not that of the part.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from pipeline.beam.results import Workers, parallel_map
from pipeline.logs import files as sources
from pipeline.logs.files import Source

# A file is cut if it is larger than four parts: below, what another look at it costs
# is more than what is won.
RANGE_BYTES = 64 << 20
PART_ROWS = 32_768
GROUP_BYTES = 8 << 20
_BLOCK_BYTES = 1 << 20
# Heads of files are read side by side, since a far storage takes its time for each.
THREADS = 16


class _Range(NamedTuple):
    """A range of a file, moved to starts of lines, and what was counted in it."""

    start: int
    stop: int
    lines: int
    quotes: int


def divide(files: Sequence[Source], workers: Workers) -> list[Source]:
    """Cuts files into parts, in their order.

    Args:
        files: Whole files.
        workers: Who counts the lines.

    Raises:
        PipelineError: If a file cannot be read.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        plans = list(pool.map(_plan, files))
    cuts = [part for parts in plans if _is_cut(parts) for part in parts]
    counted = iter(parallel_map(workers, count, cuts) if cuts else ())
    result = []
    for file, parts in zip(files, plans, strict=True):
        if _is_cut(parts):
            result += _ranges(file, [next(counted) for _ in parts])
        else:
            result += parts
    return result


def groups(parts: Iterable[Source]) -> list[tuple[Source, ...]]:
    """Parts in their order, small ones together, so that their rows share shards."""
    found: list[list[Source]] = []
    size = 0
    for part in parts:
        if not found or size + part.size > GROUP_BYTES:
            found.append([])
            size = 0
        found[-1].append(part)
        size += part.size
    return [tuple(group) for group in found]


def count(index: int, part: Source) -> _Range:
    """Moves a range to the starts of lines, and counts lines and quotes in it."""
    quote = (part.dialect.quote or "").encode()
    with sources.opened(replace(part, start=0, stop=None)) as stream:
        start, stop = (_line_start(stream, at) for at in (part.start, part.stop))
        stream.seek(start)
        left, lines, quotes = stop - start, 0, 0
        while left > 0 and (block := stream.read(min(left, _BLOCK_BYTES))):
            left -= len(block)
            lines += block.count(b"\n")
            quotes += block.count(quote) if quote else 0
    return _Range(start, stop, lines, quotes)


def _line_start(stream: Any, position: int) -> int:
    """The start of the first line that starts at a position or behind it."""
    if position == 0:
        return 0
    stream.seek(position - 1)
    stream.readline()
    return stream.tell()


def _is_cut(parts: list[Source]) -> bool:
    return any(part.stop is not None for part in parts)


def _plan(file: Source) -> list[Source]:
    """The parts of a file; ranges that do not start with lines yet have a `stop`."""
    if file.rows is not None:
        return [file]
    if file.format == "parquet":
        return _row_groups(file, PART_ROWS)
    if (
        file.format not in ("csv", "jsonl")
        or file.compression
        or file.size <= 4 * RANGE_BYTES
        or _has_quotes_early(file)
    ):
        return [file]
    starts = range(0, file.size, RANGE_BYTES)
    ends = [*starts[1:], file.size]
    return [
        replace(file, start=start, stop=stop, size=stop - start)
        for start, stop in zip(starts, ends, strict=True)
    ]


def _needs_no_quotes(file: Source) -> bool:
    dialect = file.dialect
    return file.format == "csv" and dialect.multiline and dialect.quote is not None


def _has_quotes_early(file: Source) -> bool:
    if not _needs_no_quotes(file):
        return False
    with sources.opened(file) as stream:
        return file.dialect.quote.encode() in stream.read(_BLOCK_BYTES)


def _ranges(file: Source, counted: Sequence[_Range]) -> list[Source]:
    if _needs_no_quotes(file) and any(part.quotes for part in counted):
        return [file]
    parts, line = [], 1
    for start, stop, lines, _ in counted:
        if stop > start:  # else a line longer than a range
            size = stop - start
            parts.append(replace(file, start=start, stop=stop, size=size, line=line))
        line += lines
    return parts


def _row_groups(file: Source, rows: int) -> list[Source]:
    """Runs of row groups of about `rows` rows or more."""
    with sources.opened(file) as stream:
        metadata = pq.read_metadata(stream)
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    # Row groups with the same number are read together.
    number = (np.cumsum(sizes) - sizes) // rows
    groups = [tuple(np.flatnonzero(number == n).tolist()) for n in np.unique(number)]
    return [
        replace(file, size=file.size // len(groups), row_groups=group)
        for group in groups
    ] or [file]
