"""The rows that a calibration is fitted on, a bounded number of them."""

import numpy as np

_KEPT = 2**20  # rows that are kept before neighbours are pooled
_POOLED = 2**16


class Rows:
    """Rows of one task, of which neighbours are pooled once there are a million."""

    def __init__(self):
        self.rows = self.positives = self.negatives = 0
        self.finite = True
        self._parts = []
        self._kept = 0

    @classmethod
    def of(cls, parts):
        """Puts the rows of several together."""
        whole = cls()
        for part in parts:
            whole.rows += part.rows
            whole.positives += part.positives
            whole.negatives += part.negatives
            whole.finite = whole.finite and part.finite
            whole._parts.append(np.stack(part.pooled()))
        return whole

    def add(self, score, label, weight):
        """Takes in rows; one of weight 0 is none."""
        inside = weight > 0
        part = np.stack([score, label, weight]).astype("float64")[:, inside]
        self.rows += part.shape[1]
        self.positives += int(np.count_nonzero(part[1]))
        self.negatives = self.rows - self.positives
        finite = np.isfinite(part).all(axis=0)
        self.finite = self.finite and bool(finite.all())
        self._parts.append(part[:, finite])
        self._kept += part.shape[1]
        if self._kept > _KEPT:
            self._parts = [np.stack(self.pooled())]
            self._kept = self._parts[0].shape[1]

    def pooled(self):
        """Returns score, mean label and weight, one a score, rising."""
        rows = np.concatenate([np.zeros((3, 0)), *self._parts], axis=1)
        return pool_neighbours(*rows, _POOLED)

    def lacking(self, kind, least):
        """Says why nothing can be fitted on these rows; "" if it can."""
        if not self.finite:
            return "not all predictions and labels are finite"
        if kind == "binary" and min(self.positives, self.negatives) < least:
            return (
                f"it needs {least} positives and {least} negatives, and got "
                f"{self.positives} and {self.negatives}"
            )
        if self.positives < least:
            return (
                f"it needs {least} rows with a label that is not 0, and got "
                f"{self.positives} of {self.rows}"
            )
        return ""


def pool_neighbours(score, label, weight, most):
    """Pools rows of one score, and neighbours if there are more scores than `most`.

    Args:
        score: Array of shape (rows,).
        label: Array of shape (rows,).
        weight: Array of shape (rows,), above 0.
        most: Integer. How many groups there may be; those of neighbours weigh about
            the same.

    Returns:
        Mean score, rising, mean label, and weight of each group.

    Example:
    >>> score, label, weight = pool_neighbours([3, 1, 3], [1, 0, 0], [1, 1, 3], most=2)
    >>> score.tolist(), label.tolist(), weight.tolist()
    ([1.0, 3.0], [0.0, 0.25], [1.0, 4.0])
    """
    score, label, weight = (np.asarray(x, "float64") for x in (score, label, weight))
    scores, group = np.unique(score, return_inverse=True)
    if len(scores) > most:
        group = even_groups(np.bincount(group, weight), most)[group]
    return means_of(group, score, label, weight)


def even_groups(size, most):
    """Returns the number of each one's group: neighbours of about the same size."""
    middle = np.cumsum(size) - size / 2
    share = (middle / size.sum() * most).astype(int)
    return np.unique(share, return_inverse=True)[1]


def means_of(group, score, label, weight):
    """Returns mean score, mean label and weight of each group."""
    total = np.bincount(group, weight)
    means = (np.bincount(group, weight * x) / total for x in (score, label))
    return *means, total


def ratio_of(a, b):
    """Returns a / b, a float; NaN if b is 0."""
    return float(a / b) if b else float("nan")
