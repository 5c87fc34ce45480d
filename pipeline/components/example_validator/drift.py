"""How far the distribution of a column has moved, by the L-infinity distance.

The distance is the greatest difference of a share between two sets of statistics: of
the rows without a value; of a value, for strings; of the values up to some number, for
numeric columns (Kolmogorov and Smirnov's distance; on the deciles, so to about 0.1).
It is 0 where nothing moved and 1 where nothing is as before. Ids, each of them rare,
come out near 0.
"""

import math

import numpy as np
from tensorflow_metadata.proto.v0.statistics_pb2 import FeatureNameStatistics

from pipeline.artifacts.statistics import common


def missing(old: FeatureNameStatistics, new: FeatureNameStatistics) -> float:
    """The distance between the shares of rows without a value."""

    def share(stats):
        missing, present = common(stats).num_missing, common(stats).num_non_missing
        return missing / max(missing + present, 1)

    return abs(share(old) - share(new))


def values(old: FeatureNameStatistics, new: FeatureNameStatistics) -> float:
    """The distance between the values that are there; 0 if one side has none."""
    if not (common(old).tot_num_values and common(new).tot_num_values):
        return 0.0
    if old.HasField("num_stats"):
        a, b = _deciles(old), _deciles(new)
        points = np.concatenate([a, b])
        up_to = [np.searchsorted(x, points, side="right") / len(x) for x in (a, b)]
        return float(np.abs(up_to[0] - up_to[1]).max())
    a, b = shares(old), shares(new)
    return max((abs(a.get(v, 0) - b.get(v, 0)) for v in {**a, **b}), default=0.0)


def by_chance(old: FeatureNameStatistics, new: FeatureNameStatistics) -> float:
    """How far values drawn alike are apart in one case of a thousand.

    The bound of Dvoretzky, Kiefer and Wolfowitz; of 1,000 rows each it is 0.09.
    """
    rows = [common(stats).num_non_missing or 1 for stats in (old, new)]
    return math.sqrt(math.log(2 / 0.001) / 2 * sum(1 / n for n in rows))


def shares(stats: FeatureNameStatistics) -> dict[str, float]:
    """Each frequent value's share of all values of a string column."""
    total = stats.string_stats.common_stats.tot_num_values
    buckets = stats.string_stats.rank_histogram.buckets
    return {bucket.label: bucket.sample_count / total for bucket in buckets}


def _deciles(stats: FeatureNameStatistics) -> np.ndarray:
    """From minimum to maximum: float64 (11,)."""
    quantiles = stats.num_stats.histograms[1].buckets
    return np.array([quantiles[0].low_value, *(q.high_value for q in quantiles)])
