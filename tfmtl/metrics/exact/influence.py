"""How much each row moves an exact metric: what intervals are made of.

The influence c_i of row i is the first term of what the metric's value over these rows
differs from its value over all rows there could be:

    metric - true metric ~ sum_i c_i,  sum_i c_i = 0

so that the variance of the metric is near sum_i c_i^2, and that of the difference of
two models' metrics on the same rows near sum_i (c_i - c'_i)^2. For the AUC this is
DeLong's variance. Every function here has the arguments of the metric of its name, and
returns an array (rows,).

References:
    - Hampel, The Influence Curve and its Role in Robust Estimation, 1974.
    - [DeLong et al., 1988](https://doi.org/10.2307/2531595): the AUC.
    - [Obuchowski, 1997](https://doi.org/10.2307/2533958): the AUC of clustered rows.
"""

from collections.abc import Callable

import numpy as np

from tfmtl.metrics.exact import errors, grouped, ranking
from tfmtl.metrics.exact.xauc import shares_in_order


def auc(label, score, weight=None) -> np.ndarray:
    """Influence on the AUC: of a positive the share of negatives below it, and so on.

    c_i = w_i (P(s_i > score of a negative) - AUC) / W_1  of a positive row
    c_j = w_j (P(score of a positive > s_j) - AUC) / W_0  of a negative one
    """
    positive = np.asarray(label) > 0.5
    weight = _weights(weight, len(positive))
    of_class = [np.where(positive == is_one, weight, 0) for is_one in (False, True)]
    totals = [w.sum() for w in of_class]
    weight_below = _below(score)
    below = weight_below(of_class[0]) / totals[0]
    above = 1 - weight_below(of_class[1]) / totals[1]
    area = (of_class[1] * below).sum() / totals[1]
    return np.where(
        positive,
        weight * (below - area) / totals[1],
        weight * (above - area) / totals[0],
    )


def grouped_auc(label, score, group, weight=None) -> np.ndarray:
    """Influence on the grouped AUC, where groups and not rows are drawn.

    c_u = n_u (AUC_u - GAUC) / sum n, spread evenly over the rows of group u.
    """
    codes = np.unique(group, return_inverse=True)[1].reshape(-1)
    won, pairs, impressions = ranking.by_group(label, score, codes, weight)
    both = pairs > 0
    area = np.divide(won, pairs, out=np.zeros_like(won), where=both)
    n = np.where(both, impressions, 0)
    of_group = n * (area - (n * area).sum() / n.sum()) / n.sum()
    return (of_group / np.bincount(codes))[codes]


def _of_groups(values, weights, group) -> np.ndarray:
    """Influence on a mean over groups, which are what is drawn, spread over rows."""
    codes = np.unique(group, return_inverse=True)[1].reshape(-1)
    mean = grouped.mean_of_groups(values, weights)
    of_group = weights * (values - mean) / weights.sum()
    return (of_group / np.bincount(codes))[codes]


def uauc(label, score, group, weight=None) -> np.ndarray:
    """Influence on the mean of the groups' AUC."""
    return _of_groups(*grouped.uauc_of_groups(label, score, group, weight), group)


def grouped_xauc(label, prediction, group, weight=None) -> np.ndarray:
    """Influence on the grouped XAUC."""
    found = grouped.grouped_xauc_of_groups(label, prediction, group, weight)
    return _of_groups(*found, group)


def ndcg(label, score, group, weight=None, k=10) -> np.ndarray:
    """Influence on the mean of the groups' NDCG."""
    return _of_groups(*grouped.ndcg_of_groups(label, score, group, weight, k), group)


def mrr(label, score, group, weight=None) -> np.ndarray:
    """Influence on the mean reciprocal rank."""
    return _of_groups(*grouped.mrr_of_groups(label, score, group, weight), group)


def hit_rate(label, score, group, weight=None, k=10) -> np.ndarray:
    """Influence on the hit rate."""
    found = grouped.hit_rate_of_groups(label, score, group, weight, k)
    return _of_groups(*found, group)


def pr_auc(label, score, weight=None) -> np.ndarray:
    """Influence on the average precision: of a row's own, and on that of others.

    With T(s) the positives and N(s) all rows of scores of at least s:

        c_i = w_i / W_1 (T(s_i) / N(s_i) - AP + sum_j w_j (N - T) / N^2)  of a positive
        c_i = w_i / W_1 (- sum_j w_j T / N^2)  of a negative one

    Sums are over the positive rows j with scores of at most s_i.
    """
    positive = np.asarray(label) > 0.5
    weight = _weights(weight, len(positive))
    hits = np.where(positive, weight, 0)
    found, rows = (ranking.at_least(score, w) for w in (hits, weight))
    known = np.where(rows > 0, rows, 1)
    precision = found / known

    def at_most(values):
        return ranking.at_least(-np.asarray(score), hits * values)

    of_positive = precision - ranking.pr_auc(label, score, weight)
    of_positive = of_positive + at_most((rows - found) / known**2)
    of_negative = -at_most(found / known**2)
    return weight * np.where(positive, of_positive, of_negative) / hits.sum()


def log_loss(label, score, weight=None) -> np.ndarray:
    """Influence on the log-loss, a mean."""
    return _of_mean(errors.row_log_loss(label, score), weight)


def normalized_entropy(label, score, weight=None) -> np.ndarray:
    """Influence on the normalised entropy: of the log-loss, and of the labels' shares.

    NE = L / H(q), dNE = (dL - NE dH) / H, and H is the mean of -log q_y to first order
    """
    shares = errors.label_shares(label, score, weight)
    background = errors.label_entropy(label, score, weight)
    value = errors.normalized_entropy(label, score, weight)
    surprise = -np.log(shares[np.asarray(label, int)])
    by_entropy = _of_mean(surprise, weight)
    return (log_loss(label, score, weight) - value * by_entropy) / background


def accuracy(label, score, weight=None) -> np.ndarray:
    """Influence on the accuracy, a mean."""
    return _of_mean(errors.row_accuracy(label, score), weight)


def calibration(label, prediction, weight=None) -> np.ndarray:
    """Influence on the calibration, a ratio of sums."""
    weight = _weights(weight, len(label))
    ratio = errors.calibration(label, prediction, weight)
    return weight * (prediction - ratio * label) / (weight * label).sum()


def mae(label, prediction, weight=None) -> np.ndarray:
    """Influence on the mean absolute error."""
    return _of_mean(np.abs(prediction - label), weight)


def rmse(label, prediction, weight=None) -> np.ndarray:
    """Influence on the root of the mean squared error; 0 where there is no error."""
    squares = (prediction - label) ** 2
    root = np.sqrt(np.average(squares, weights=weight))
    return _of_mean(squares, weight) / (2 * root if root else 1.0)


def spearman(a, b, weight=None) -> np.ndarray:
    """Influence on the correlation of ranks, which are themselves estimated.

    With u and v the ranks over the rows, less their means, and S_uv = mean u v:

        IF_uv(i) = u_i v_i + mean_j H(a_i < a_j) v_j + mean_j H(b_i < b_j) u_j - 3 S_uv
        c_i = w_i / W (IF_uv - S_uv / 2 (IF_uu / S_uu + IF_vv / S_vv)) / sqrt(S_uu S_vv)

    H is 1/2 for equal values.
    """
    weight = _weights(weight, len(a))
    total = weight.sum()
    u, v = (ranking.ranks(x, weight) / total for x in (a, b))
    u, v = (r - (weight * r).sum() / total for r in (u, v))

    below_a, below_b = _below(a), _below(b)

    def covariance(p, q, below_p, below_q):
        value = (weight * p * q).sum() / total
        # sum_j w_j q_j = 0, so that the mean above a value is - that below it.
        through = -below_p(weight * q) - below_q(weight * p)
        return value, p * q + through / total - 3 * value

    uv, by_uv = covariance(u, v, below_a, below_b)
    uu, by_uu = covariance(u, u, below_a, below_a)
    vv, by_vv = covariance(v, v, below_b, below_b)
    moved = by_uv - uv / 2 * (by_uu / uu + by_vv / vv)
    return weight * moved / (total * np.sqrt(uu * vv))


def xauc(label, prediction, weight=None) -> np.ndarray:
    """Influence on XAUC, a ratio of sums over pairs: c_i = 2 w_i (n_i - X d_i) / D.

    n_i weighs the rows that are in order with row i, d_i those of another label, and D
    is the sum of w_i d_i.
    """
    weight = _weights(weight, len(label))
    in_order, different = shares_in_order(label, prediction, weight)
    pairs = (weight * different).sum()
    value = (weight * in_order).sum() / pairs
    return 2 * weight * (in_order - value * different) / pairs


def _weights(weight, rows: int) -> np.ndarray:
    return np.ones(rows) if weight is None else np.asarray(weight, np.float64)


def _of_mean(values: np.ndarray, weight) -> np.ndarray:
    weight = _weights(weight, len(values))
    return weight * (values - np.average(values, weights=weight)) / weight.sum()


def _below(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what weighs the rows of smaller values, and half of those of equal ones.

    The values are sorted once, for any number of weights.
    """
    order = np.argsort(values, kind="stable")
    ascending = np.asarray(values)[order]
    run = np.cumsum(np.append(True, ascending[1:] != ascending[:-1])) - 1

    def weigh(weight: np.ndarray) -> np.ndarray:
        of_run = np.bincount(run, weight[order])
        below = np.empty(len(order))
        below[order] = (np.cumsum(of_run) - of_run / 2)[run]
        return below

    return weigh
