"""Confidence intervals of metrics, and of what two models differ by on the same rows.

The variance of a metric is the sum of squares of its rows' influences, or, where rows
belong together as those of a user do, of the sums over each group:

    Var(metric) = G / (G - 1) sum_g (sum_{i in g} c_i)^2

with G groups (or rows). It holds for ratios and for U-statistics such as the AUC too,
takes one pass and, unlike a bootstrap, gives the same numbers however the rows lie.
"""

import dataclasses
import math
from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()
_FEW = 30  # degrees of freedom up to which Student's distribution is summed
_LARGEST = 700.0  # whose exponential is still a float


@dataclasses.dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Args:
        low: The lower end.
        high: The upper end.
        error: The standard error of the value.
        groups: Of how many groups or rows that is.
        p: The two-sided p-value of the value being `null`; None if no null was given.
    """

    low: float
    high: float
    error: float
    groups: int
    p: float | None = None


def standard_error(
    influence: np.ndarray, cluster: np.ndarray | None = None
) -> tuple[float, int]:
    """Returns the standard error of a metric, and of how many groups or rows it is.

    Args:
        influence: Array (rows,), see `tfmtl.metrics.exact.influence`.
        cluster: Int array (rows,), such as the user's code: rows of equal values are
            not independent. A row of a negative one stands alone. Defaults to rows
            that all are.

    Example:
    >>> error, rows = standard_error(np.array([0.1, -0.1, 0.1, -0.1]))
    >>> round(error, 4), rows
    (0.2309, 4)
    """
    if cluster is not None:
        alone = cluster < 0
        known = np.unique(cluster[~alone], return_inverse=True)[1].reshape(-1)
        influence = np.append(np.bincount(known, influence[~alone]), influence[alone])
    groups = len(influence)
    if groups < 2:
        return float("nan"), groups
    return math.sqrt(groups / (groups - 1) * (influence @ influence)), groups


def interval(
    value: float,
    influence: np.ndarray,
    cluster: np.ndarray | None = None,
    scale: str = "linear",
    level: float = 0.95,
    null: float | None = None,
) -> Interval:
    """Returns the confidence interval of a metric, or of a difference of two.

    Args:
        value: The metric.
        influence: Array (rows,), its influences, or the difference of two models'.
        cluster: Int array (rows,), see `standard_error`. Defaults to none.
        scale: On what scale the interval is symmetric, so that it stays within the
            metric's range and covers it as often as it says: "linear"; "logit" for
            values in (0, 1); "log" for values above 0; "atanh" for correlations.
        level: Float in (0, 1). How often such intervals hold the true value.
        null: What `p` tests the value against. Defaults to nothing.

    Returns:
        The interval, by Student's distribution with G - 1 degrees of freedom. Its ends
        are NaN, and there is no `p`, where there are fewer than two groups, the value
        is an end of its range, such as an AUC of 1 (influences are 0 there), or next to
        nothing is known of it, as of a ratio to a sum that may be 0.

    Example:
    >>> rows = np.array([0.3, 0.5, 0.4, 0.6])
    >>> found = interval(rows.mean(), (rows - rows.mean()) / 4, null=0)
    >>> round(found.low, 3), round(found.high, 3)
    (0.245, 0.655)
    """
    error, groups = standard_error(influence, cluster)
    to, back, slope = _SCALES[scale]
    if not math.isfinite(error) or not math.isfinite(to(value)):
        return Interval(float("nan"), float("nan"), error, groups)
    wide = error * slope(value)
    reach = student_quantile(0.5 + level / 2, groups - 1) * wide
    center = to(value)
    if abs(center) + reach > _LARGEST:
        return Interval(float("nan"), float("nan"), error, groups)
    p = None
    if null is not None:
        p = 1.0 if value == null else 0.0
        if wide:
            p = student_two_sided((center - to(null)) / wide, groups - 1)
    return Interval(back(center - reach), back(center + reach), error, groups, p)


def student_two_sided(t: float, freedom: int) -> float:
    """P(|T| > |t|) of Student's distribution, to about 0.001; exact up to 30 degrees.

    References:
        - Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
        - Wallace, Bounds on Normal Approximations to Student's and the Chi-Square
          Distributions, 1959.
    """
    if freedom <= _FEW:
        angle = math.atan(abs(t) / math.sqrt(freedom))
        sine, cosine = math.sin(angle), math.cos(angle)
        odd = freedom % 2
        term, total = (cosine if odd else 1.0), 0.0
        for k in range(2 + odd, freedom + 1, 2):
            total += term
            term *= cosine * cosine * (k - 1) / k
        within = 2 / math.pi * (angle + sine * total) if odd else sine * total
        return min(1.0, max(0.0, 1 - within))
    shrink = 1 - 2 / (8 * freedom + 3)
    z = shrink * math.sqrt(freedom * math.log1p(t * t / freedom))
    return math.erfc(z / math.sqrt(2))


def student_quantile(q: float, freedom: int) -> float:
    """The q-quantile of Student's distribution, q >= 0.5; see `student_two_sided`.

    Example:
    >>> [round(student_quantile(0.975, n), 2) for n in (1, 2, 9, 10**6)]
    [12.71, 4.3, 2.26, 1.96]
    """
    if freedom <= _FEW:
        low, high = 0.0, 1.0
        while student_two_sided(high, freedom) > 2 * (1 - q):
            low, high = high, 2 * high
        for _ in range(60):
            middle = (low + high) / 2
            beyond = student_two_sided(middle, freedom) > 2 * (1 - q)
            low, high = (middle, high) if beyond else (low, middle)
        return high
    z = _NORMAL.inv_cdf(q) / (1 - 2 / (8 * freedom + 3))
    return math.sqrt(freedom * math.expm1(z * z / freedom))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Corrects p-values for many comparisons, by Holm's steps.

    Whoever calls those below 0.05 different is wrong anywhere at all in at most 5 % of
    such families, however the comparisons depend on each other.

    Args:
        p_values: Array (comparisons,).

    Returns:
        Array (comparisons,), at most 1.

    Example:
    >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
    [0.03, 0.06, 0.06]

    References:
        - Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    order = np.argsort(p_values)
    steps = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def _logit(x: float) -> float:
    return math.log(x / (1 - x)) if 0 < x < 1 else math.inf


def _expit(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))


# {scale: (to it, back, the slope of the way to it)}
_SCALES = {
    "linear": (float, float, lambda x: 1.0),
    "logit": (_logit, _expit, lambda x: 1 / (x * (1 - x))),
    "log": (
        lambda x: math.log(x) if x > 0 else math.inf,
        math.exp,
        lambda x: 1 / x,
    ),
    "atanh": (
        lambda x: math.atanh(x) if abs(x) < 1 else math.inf,
        math.tanh,
        lambda x: 1 / (1 - x * x),
    ),
}
