"""Boundaries of bins: where to cut a column of numbers."""

import numpy as np


def quantile_boundaries(values, bins: int = 48, counts=None) -> tuple[float, ...]:
    """Returns boundaries between which about equally many values lie.

    A value that would fill a bin alone, such as the 0 of an amount that few rows have,
    counts as one bin, so that the other values share the rest by their quantiles. A
    column of few distinct values is cut at each of them.

    Args:
        values: Array (rows,). Numbers of the training split, scaled as the model gets
            them; what is not finite is left out.
        bins: Integer. At most so many bins. Defaults to 48.
        counts: Array (rows,). How often each value occurs. Defaults to once.

    Returns:
        Ascending boundaries from the least value to the greatest: one more than there
        are bins.

    Raises:
        ValueError: If there are fewer than two distinct values, or no bins.

    Example:
    >>> quantile_boundaries([0, 0, 0, 0, 0, 0, 1, 2, 3, 4], bins=3)
    (0.0, 1.0, 3.0, 4.0)
    """
    values = np.asarray(values, "float32")  # as the model gets them
    counts = np.ones(len(values)) if counts is None else np.asarray(counts, "float64")
    finite = np.isfinite(values)
    values, where = np.unique(values[finite], return_inverse=True)
    counts = np.bincount(where, counts[finite])
    if bins < 1 or len(values) < 2:
        raise ValueError(
            "Boundaries need at least two distinct values, and one bin. Received: "
            f"{len(values)} distinct finite values, bins={bins}."
        )
    if len(values) > bins + 1:
        weight = np.minimum(counts, _share(counts, bins))
        reached = np.cumsum(weight) / weight.sum()
        steps = np.arange(1, bins) / bins
        # A bin begins behind the value with which the one before is full; rounding must
        # not let a sum that is the step fall short of it.
        at = 1 + np.searchsorted(reached, steps - 1e-9)
        values = values[np.unique(np.r_[0, at, len(values) - 1])]
    return check_boundaries("Boundaries of the values", values)


def _share(counts: np.ndarray, bins: int) -> float:
    """Returns what each bin gets once the values that fill one alone are apart."""
    rest = counts.sum()
    for alone, count in enumerate(np.sort(counts)[::-1][: bins - 1]):
        if count <= rest / (bins - alone):
            return rest / (bins - alone)
        rest -= count
    return rest


def check_boundaries(what: str, boundaries) -> tuple[float, ...]:
    """Returns boundaries as floats; raises a ValueError unless they ascend.

    Args:
        what: String. What they are, for the message.
        boundaries: Array-like of numbers.
    """
    given = np.asarray(boundaries, "float32")
    # In float32, as the model gets them: else a bin may have no width there.
    ascend = given.ndim == 1 and len(given) > 1 and np.isfinite(given).all()
    if not ascend or not (np.diff(given) > 0).all():
        raise ValueError(
            f"{what} must be at least two finite numbers, each greater than the one "
            f"before in float32. Received: {given.size} of shape {given.shape}."
        )
    return tuple(float(x) for x in given)
