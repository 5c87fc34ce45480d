"""How well scores put rows in order: exact, from the sorted scores themselves."""

from collections.abc import Sequence

import numpy as np


def auc(
    label: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None
) -> float:
    """The chance that a positive row outranks a negative one; NaN with one class.

        AUC = P(score of a positive > score of a negative) + P(equal) / 2

    Args:
        label: Array (rows,), 0 or 1.
        score: Array (rows,), in any unit.
        weight: Array (rows,) >= 0; a pair weighs the product. Defaults to 1.

    Example:
    >>> auc(np.array([1, 0, 1, 0]), np.array([0.8, 0.4, 0.4, 0.2]))
    0.875
    """
    won, pairs, _ = by_group(label, score, None, weight)
    return _ratio(won.sum(), pairs.sum())


def grouped_auc(
    label: np.ndarray,
    score: np.ndarray,
    group: np.ndarray,
    weight: np.ndarray | None = None,
) -> float:
    """The mean of each group's AUC, weighted by its impressions: GAUC.

        GAUC = sum_u n_u AUC_u / sum_u n_u

    n_u is the number of rows of group (user) u, or the sum of their weights. Groups
    with a single class have no AUC and are left out; NaN if none is left.

    Args:
        label: Array (rows,), 0 or 1.
        score: Array (rows,), in any unit.
        group: Array (rows,) of ids, such as the user's.
        weight: Array (rows,) >= 0. Defaults to 1.

    Example:
    >>> label, score = np.array([1, 0, 1, 0, 0]), np.array([0.2, 0.1, 0.3, 0.4, 0.5])
    >>> grouped_auc(label, score, np.array([7, 7, 8, 8, 9]))  # (2 * 1 + 2 * 0) / 4
    0.5

    References:
        - [Deep Interest Network](https://arxiv.org/abs/1706.06978), eq. 9.
    """
    won, pairs, impressions = by_group(label, score, group, weight)
    both = pairs > 0
    return _ratio(
        (impressions[both] * won[both] / pairs[both]).sum(), impressions[both].sum()
    )


def by_group(label, score, group=None, weight=None):
    """Returns each group's pairs in order, pairs of both classes, and impressions."""
    order = np.argsort(score) if group is None else np.lexsort((score, group))
    positive = np.asarray(label)[order] > 0.5
    score = np.asarray(score)[order]
    weight = np.ones(len(order)) if weight is None else np.asarray(weight, float)[order]
    new_group = np.zeros(len(order), bool)
    if len(order):
        new_group[0] = True
    if group is not None:
        group = np.asarray(group)[order]
        new_group[1:] = group[1:] != group[:-1]
    new_score = new_group.copy()
    new_score[1:] |= score[1:] != score[:-1]
    of_group = np.cumsum(new_group) - 1  # (rows,)
    run = np.cumsum(new_score) - 1  # of equal scores in one group
    group_of_run = of_group[new_score]
    positives = np.bincount(run, weight * positive)  # (runs,)
    negatives = np.bincount(run, weight * ~positive)
    before = np.cumsum(negatives) - negatives
    # The negatives of earlier groups are not below.
    before -= before[new_group[new_score]][group_of_run]
    won = np.bincount(group_of_run, positives * (before + negatives / 2))
    of_class = [np.bincount(group_of_run, x) for x in (positives, negatives)]
    return won, of_class[0] * of_class[1], np.bincount(of_group, weight)


def pr_auc(
    label: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None
) -> float:
    """The area under the precision-recall curve, as average precision.

        AP = sum_i w_i precision(s_i) / W_1  over positive rows i

    precision(s) is that of all rows with scores of at least s. NaN without a positive.

    Args:
        label: Array (rows,), 0 or 1.
        score: Array (rows,), in any unit.
        weight: Array (rows,) >= 0. Defaults to 1.

    Example:
    >>> label, score = np.array([1, 0, 1, 0]), np.array([0.8, 0.6, 0.4, 0.2])
    >>> pr_auc(label, score) == (1 + 2 / 3) / 2
    True
    """
    weight = np.ones(len(label)) if weight is None else np.asarray(weight, float)
    positive = weight * (np.asarray(label) > 0.5)
    found, rows = (at_least(score, w) for w in (positive, weight))
    precision = np.divide(found, rows, out=np.zeros(len(found)), where=positive > 0)
    return _ratio((positive * precision).sum(), positive.sum())


def at_least(score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighs, for each row, the rows of scores that are not lower."""
    run = np.unique(score, return_inverse=True)[1].reshape(-1)
    return np.cumsum(np.bincount(run, weight)[::-1])[::-1][run]


def spearman(a: np.ndarray, b: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The correlation of the ranks of `a` and `b`; NaN where either is constant.

    A row of weight 2 counts as two rows would.
    """
    weight = np.ones(len(a)) if weight is None else np.asarray(weight, float)
    both = ranks(a, weight), ranks(b, weight)
    x, y = (r - _ratio((weight * r).sum(), weight.sum()) for r in both)
    covariance, *variances = ((weight * p).sum() for p in (x * y, x * x, y * y))
    return _ratio(covariance, np.sqrt(variances[0] * variances[1]))


def ranks(values: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Ranks from 1, ascending; equal values share the mean of theirs.

    With weights, a row takes as many ranks as it weighs.
    """
    order = np.argsort(values)
    ascending = np.asarray(values)[order]
    new = np.ones(len(order), bool)
    new[1:] = ascending[1:] != ascending[:-1]
    run = np.cumsum(new) - 1  # of equal values
    size = np.bincount(run, None if weight is None else np.asarray(weight)[order])
    result = np.empty(len(order))
    result[order] = (np.cumsum(size) - (size - 1) / 2)[run]
    return result


def roc(
    label: np.ndarray,
    score: np.ndarray,
    points: int = 100,
    weight: np.ndarray | None = None,
) -> list[list[float]]:
    """The ROC curve as [false, true] positive rates, thinned for a plot."""
    order = np.argsort(-score)
    last = np.append(score[order][1:] != score[order][:-1], True)  # of equal scores
    weight = np.ones(len(order)) if weight is None else np.asarray(weight, float)[order]
    positive = label[order] > 0.5
    hits = np.append(0, np.cumsum(weight * positive)[last])
    misses = np.append(0, np.cumsum(weight * ~positive)[last])
    if not hits[-1] or not misses[-1]:
        return []
    x, y = misses / misses[-1], hits / hits[-1]
    # The steep start is kept by thinning along x + y, which grows at every step.
    kept = np.unique(np.searchsorted(x + y, np.linspace(0, 2, points + 1)))
    kept = kept[kept < len(x)]
    # Seven digits: of a rare class, precision needs small false positive rates.
    return np.round(np.stack([x[kept], y[kept]], axis=1), 7).tolist()


def precision_recall(
    curve: Sequence[Sequence[float]], positive_rate: float
) -> list[list[float]]:
    """The precision-recall curve as [recall, precision], from a ROC curve.

        precision = r TPR / (r TPR + (1 - r) FPR),    recall = TPR

    The two curves hold the same, once the share of positives r is known.

    Args:
        curve: Points [false, true] positive rate, such as `roc` returns.
        positive_rate: Share of positive rows, by weight.

    Example:
    >>> label, score = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    >>> precision_recall(roc(label, score), label.mean())
    [[0.5, 1.0], [0.5, 0.5], [1.0, 0.66667], [1.0, 0.5]]

    References:
        - [The relationship between precision-recall and ROC
          curves](https://doi.org/10.1145/1143844.1143874)
    """
    fpr, tpr = np.asarray(curve, float).reshape(-1, 2).T
    found = positive_rate * tpr
    flagged = found + (1 - positive_rate) * fpr
    at = flagged > 0  # where no row is called positive, there is no precision
    precision = found[at] / flagged[at]
    return np.round(np.stack([tpr[at], precision], axis=1), 5).tolist()


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator else float("nan")
