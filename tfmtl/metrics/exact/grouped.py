"""Metrics within groups, such as a user's rows or a request's, and their mean.

Each group has a value of its own, such as its NDCG. Groups in which it is not defined,
as without a positive row, are left out; NaN if none is left. Rows of weight 0 are left
out; other weights count where pairs do (`uauc`, `grouped_xauc`).
"""

import numpy as np

from tfmtl.metrics.exact import ranking
from tfmtl.metrics.exact.xauc import shares_in_order


def uauc(
    label: np.ndarray,
    score: np.ndarray,
    group: np.ndarray,
    weight: np.ndarray | None = None,
) -> float:
    """The mean of the groups' AUC, each counted once; `grouped_auc` weighs by rows.

    Args:
        label: Array (rows,), 0 or 1.
        score: Array (rows,), in any unit.
        group: Array (rows,) of ids, such as the user's.
        weight: Array (rows,) >= 0; a pair weighs the product. Defaults to 1.

    Example:
    >>> label, score = np.array([1, 0, 1, 0, 0]), np.array([0.2, 0.1, 0.3, 0.3, 0.1])
    >>> uauc(label, score, np.array([7, 7, 8, 8, 8]))  # (1 + 3/4) / 2
    0.875
    """
    return mean_of_groups(*uauc_of_groups(label, score, group, weight))


def grouped_xauc(
    label: np.ndarray,
    prediction: np.ndarray,
    group: np.ndarray,
    weight: np.ndarray | None = None,
) -> float:
    """The mean of the groups' XAUC, weighted by their rows.

    Args:
        label: Array (rows,), such as seconds watched.
        prediction: Array (rows,).
        group: Array (rows,) of ids.
        weight: Array (rows,) >= 0. Defaults to 1.

    Example:
    >>> label, prediction = np.array([1.0, 5.0, 9.0]), np.array([2.0, 1.0, 3.0])
    >>> grouped_xauc(label, prediction, np.array([4, 4, 4])) == 2 / 3
    True
    """
    return mean_of_groups(*grouped_xauc_of_groups(label, prediction, group, weight))


def ndcg(
    label: np.ndarray,
    score: np.ndarray,
    group: np.ndarray,
    weight: np.ndarray | None = None,
    k: int = 10,
) -> float:
    """The mean of the groups' NDCG among their k best scores.

        DCG@k = sum_{r <= k} label_r / log2(1 + r),    NDCG@k = DCG@k / best DCG@k

    Rows of equal scores share the mean of their places' discounts, as in scikit-learn.

    Args:
        label: Array (rows,) >= 0, the gains.
        score: Array (rows,).
        group: Array (rows,) of ids.
        weight: Array (rows,) >= 0; whether a row counts. Defaults to 1.
        k: Integer. Places that count. Defaults to 10.

    Example:
    >>> label, score = np.array([0, 1, 1]), np.array([0.3, 0.2, 0.1])
    >>> round(ndcg(label, score, np.zeros(3)), 4)
    0.6934
    """
    return mean_of_groups(*ndcg_of_groups(label, score, group, weight, k))


def mrr(
    label: np.ndarray,
    score: np.ndarray,
    group: np.ndarray,
    weight: np.ndarray | None = None,
) -> float:
    """The mean of 1 / the place of each group's first positive row.

    Of rows with equal scores the positive ones come last: a constant wins nothing.

    Example:
    >>> label, score = np.array([1, 0, 1, 0]), np.array([0.2, 0.1, 0.3, 0.4])
    >>> mrr(label, score, np.array([7, 7, 8, 8]))
    0.75
    """
    return mean_of_groups(*mrr_of_groups(label, score, group, weight))


def hit_rate(
    label: np.ndarray,
    score: np.ndarray,
    group: np.ndarray,
    weight: np.ndarray | None = None,
    k: int = 10,
) -> float:
    """The share of groups with a positive row among their k best scores.

    Of the groups that have a positive row; equal scores as in `mrr`.

    Example:
    >>> label, score = np.array([1, 0, 1, 0]), np.array([0.2, 0.1, 0.3, 0.4])
    >>> hit_rate(label, score, np.array([7, 7, 8, 8]), k=1)
    0.5
    """
    return mean_of_groups(*hit_rate_of_groups(label, score, group, weight, k))


def mean_of_groups(values: np.ndarray, weights: np.ndarray) -> float:
    """The mean of the groups' values; NaN if none of them counts."""
    total = weights.sum()
    return float((values * weights).sum() / total) if total else float("nan")


def uauc_of_groups(label, score, group, weight=None):
    """Returns each group's AUC, and whether it counts, in the order of the ids."""
    won, pairs, _ = ranking.by_group(label, score, group, weight)
    return _divided(won, pairs), (pairs > 0) * 1.0


def grouped_xauc_of_groups(label, prediction, group, weight=None):
    """Returns each group's XAUC, and the weight of its rows."""
    codes, _ = _codes(group)
    weight = np.ones(len(codes)) if weight is None else np.asarray(weight, float)
    in_order, different = shares_in_order(label, prediction, weight, codes)
    won, pairs = (np.bincount(codes, weight * x) for x in (in_order, different))
    return _divided(won, pairs), np.bincount(codes, weight) * (pairs > 0)


def ndcg_of_groups(label, score, group, weight=None, k=10):
    """Returns each group's NDCG@k, and whether it counts."""
    every, groups = _codes(group)
    codes, place, order = _places(every, score, weight)
    gain = np.asarray(label, np.float64)[order]
    discount = np.where(place < k, 1 / np.log2(place + 2), 0)
    ordered = np.asarray(score)[order]
    same = (codes[1:] == codes[:-1]) & (ordered[1:] == ordered[:-1])
    run = np.cumsum(np.append(True, ~same)[: len(codes)]) - 1
    shared = (np.bincount(run, discount) / np.bincount(run))[run]
    found = np.bincount(codes, gain * shared, groups)
    codes, place, order = _places(every, label, weight)
    gain = np.asarray(label, np.float64)[order]
    discount = np.where(place < k, 1 / np.log2(place + 2), 0)
    best = np.bincount(codes, gain * discount, groups)
    return _divided(found, best), (best > 0) * 1.0


def mrr_of_groups(label, score, group, weight=None):
    """Returns each group's reciprocal rank, and whether it counts."""
    first = _first_positive(label, score, group, weight)
    return 1 / (first + 1), np.isfinite(first) * 1.0


def hit_rate_of_groups(label, score, group, weight=None, k=10):
    """Returns whether each group has a hit, and whether it counts."""
    first = _first_positive(label, score, group, weight)
    return (first < k) * 1.0, np.isfinite(first) * 1.0


def _first_positive(label, score, group, weight):
    """The place, from 0, of each group's first positive row; inf without one."""
    positive = np.asarray(label) > 0.5
    every, groups = _codes(group)
    codes, place, order = _places(every, score, weight, positive)
    first = np.full(groups, np.inf)
    hits = positive[order]
    np.minimum.at(first, codes[hits], place[hits])
    return first


def _places(codes, values, weight, last=None):
    """Sorts rows that count by group and falling value, those of `last` behind ties.

    Returns:
        The group's code of each row, its place in it from 0, and which row it is.
    """
    keys = (-np.asarray(values, np.float64), codes)
    order = np.lexsort(keys if last is None else (last, *keys))
    if weight is not None:
        order = order[np.asarray(weight)[order] > 0]
    codes = codes[order]
    starts = np.searchsorted(codes, codes)
    return codes, np.arange(len(codes)) - starts, order


def _codes(group):
    """Returns each row's group as a number from 0, and how many groups there are."""
    ids, codes = np.unique(group, return_inverse=True)
    return codes.reshape(-1), len(ids)


def _divided(a, b):
    return np.divide(a, b, out=np.zeros_like(a, dtype=np.float64), where=b > 0)
