"""A mergeable summary of a column of numbers, for quantiles and histograms.

A float64, read as an integer whose order is that of the numbers, is a path of 64 bits
from the root of a binary tree. The summary counts values by a prefix of that path: the
longest for which at most `BUCKETS` prefixes occur. A union never needs a longer prefix
than its parts, so the summary of a whole depends on the values alone, not on how they
were divided or in which order the parts were merged.

Error: a quantile is off by less than the width of the bucket it falls into. Columns of
at most `BUCKETS` distinct values are exact. Of 200k normal or log-normal values all
1001 quantiles came within 0.12 % of the value and 0.01 % of the rank. Buckets are wide
only where most values differ by far less than their size while the rest spread over
many orders of magnitude.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BUCKETS = 8192
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True)
class Sketch:
    """Buckets in ascending order; see the module for what a bucket is.

    Attributes:
        shift: How many low bits the prefixes leave out.
        prefix: uint64 (buckets,).
        count: int64 (buckets,). Values in the bucket.
        low: float64 (buckets,). The least of them.
        high: float64 (buckets,). The greatest of them.
    """

    shift: int
    prefix: np.ndarray
    count: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def rows(self) -> int:
        """How many values were seen."""
        return int(self.count.sum())


def sketch(values: np.ndarray) -> Sketch:
    """Returns the summary of finite float64 values (rows,)."""
    values = np.sort(values) + 0.0  # + 0.0 makes -0.0 the same number as 0.0
    return _group(0, _paths(values), np.ones(len(values), np.int64), values, values)


def merge(parts: Sequence[Sketch]) -> Sketch:
    """Returns the summary of all values that the parts have seen."""
    shift = max(part.shift for part in parts)
    prefix = [part.prefix >> np.uint64(shift - part.shift) for part in parts]
    prefix = np.concatenate(prefix)
    order = np.argsort(prefix, kind="stable")
    count, low, high = (
        np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("count", "low", "high")
    )
    return _group(shift, prefix[order], count, low, high)


def quantiles(part: Sketch, intervals: int) -> np.ndarray:
    """Returns the `intervals` + 1 quantiles from minimum to maximum.

    Between neighbouring values they are interpolated, as `numpy.quantile` does.
    """
    if not len(part.count):
        return np.zeros(intervals + 1)
    rank = np.linspace(0, 1, intervals + 1) * (part.rows - 1)
    below, above = (_value_at(part, f(rank).astype(int)) for f in (np.floor, np.ceil))
    return below + (above - below) * (rank % 1)


def histogram(part: Sketch, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the edges (bins + 1,) and counts (bins,) of bins of equal width."""
    if not len(part.count):
        return np.zeros(bins + 1), np.zeros(bins)
    low, high = part.low[0], part.high[-1]
    # Each product stays finite where `high - low` would not.
    share = np.linspace(0, 1, bins + 1)
    edges = low * (1 - share) + high * share
    centre = part.low / 2 + part.high / 2
    index = np.clip(np.searchsorted(edges, centre, side="right") - 1, 0, bins - 1)
    return edges, np.bincount(index, weights=part.count, minlength=bins)


def _paths(values: np.ndarray) -> np.ndarray:
    """float64 -> uint64 with the same order."""
    bits = values.view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _group(shift, prefix, count, low, high) -> Sketch:
    """Joins equal prefixes of a sorted array; shortens them if still too many."""

    def fits(more):
        shorter = prefix >> np.uint64(more)
        return 1 + np.count_nonzero(shorter[1:] != shorter[:-1]) <= BUCKETS

    more = bisect.bisect_left(range(63), True, key=fits)
    prefix = prefix >> np.uint64(more)
    start = np.flatnonzero(np.r_[True, prefix[1:] != prefix[:-1]][: len(prefix)])
    if not len(start):
        return Sketch(shift, prefix, count, low, high)
    return Sketch(
        shift + more,
        prefix[start],
        np.add.reduceat(count, start),
        np.minimum.reduceat(low, start),
        np.maximum.reduceat(high, start),
    )


def _value_at(part: Sketch, rank: np.ndarray) -> np.ndarray:
    """The values at 0-based ranks; those of a bucket are taken as evenly spaced."""
    end = np.cumsum(part.count)
    bucket = np.searchsorted(end, rank, side="right")
    count, low, high = part.count[bucket], part.low[bucket], part.high[bucket]
    position = rank - (end[bucket] - count)
    share = position / np.maximum(count - 1, 1)
    return low * (1 - share) + high * share
