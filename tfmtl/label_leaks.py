"""Columns that tell a label: known only with it or later, or made from it."""

import numpy as np

from tfmtl.metrics import exact

TELLS = 0.99  # the AUC of one column alone that is too good to be true
_FEW_MISFITS = 1e-3  # logs are never quite clean
_FEW = 10  # rows with the action, or with a value, that say nothing yet
_CHANCE = 1e-6
_BINS = 100


def is_flag(values: np.ndarray) -> bool:
    """Returns whether a column holds 0 and 1 (or booleans), without a gap."""
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        return False
    return set(np.unique(values)) == {0, 1}


def says_where_known(values: np.ndarray, label: np.ndarray) -> bool:
    """Returns whether a column is 1 just where a label with gaps is known.

    Args:
        values: Column of (rows,).
        label: Float column of (rows,), NaN where it is missing.
    """
    known = np.isfinite(label)
    if known.all() or not is_flag(values):
        return False
    return bool(np.mean(known != (values == 1)) < _FEW_MISFITS)


def follows(values: np.ndarray, action: np.ndarray) -> bool:
    """Returns whether numbers are 0 or missing without an action, not by chance.

    Args:
        values: Float column of (rows,).
        action: Float column of (rows,) of 0 and 1, NaN where it is missing.
    """
    filled = np.isfinite(values) & (values != 0)
    count, rate = int(filled.sum()), float(np.nanmean(action))
    if count < _FEW or not 0 < rate < 1 or not (action[filled] == 1).all():
        return False
    return bool(count * np.log(rate) < np.log(_CHANCE))


def leak(values: np.ndarray, label: np.ndarray) -> str | None:
    """Returns how a column tells a binary label, or None.

    The rate that the label has for each value, or bin of a number, in every other row
    is the score of that value in the rest.

    Args:
        values: Column of (rows,): numbers, or objects with None for gaps.
        label: Float column of (rows,) of 0 and 1, NaN where it is missing.
    """
    rows = np.isfinite(label)
    values, label = values[rows], label[rows]
    positives = int(label.sum())
    if min(positives, len(label) - positives) < _FEW:
        return None
    if values.dtype.kind == "O":
        filled = np.array([bool(value) for value in values])
        texts = np.where(filled, values, "").astype(str)
        codes = np.unique(texts, return_inverse=True)[1]
    else:
        numbers = values.astype("float64")
        filled = np.isfinite(numbers) & (numbers != 0)
        codes = _bins(numbers)
    rate = label.mean()
    if follows(filled.astype("float64"), label):
        return "missing or 0 wherever {} is 0"
    learnt, measured = slice(0, None, 2), slice(1, None, 2)
    size = codes.max() + 1
    count = np.bincount(codes[learnt], minlength=size)
    ones = np.bincount(codes[learnt], label[learnt], size)
    # One more row with the mean, so that a value seen once tells little.
    score = (ones + rate) / (count + 1)
    if exact.auc(label[measured], score[codes[measured]]) > TELLS:
        return "ranks {} alone"
    return None


def _bins(numbers: np.ndarray) -> np.ndarray:
    """Returns the value or bin of each row, from 1; 0 where it is missing."""
    known = np.isfinite(numbers)
    edges = np.unique(numbers[known])
    if len(edges) > _BINS:
        edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, _BINS)))
    return np.where(known, np.searchsorted(edges, numbers, side="right") + 1, 0)
