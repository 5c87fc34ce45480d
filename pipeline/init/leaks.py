"""Features that tell a label: known only later, or made from it."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pipeline.init import names
from pipeline.init.labels import Label, follows, is_function_of
from pipeline.init.profiles import Profile
from pipeline.init.spaces import in_space

# A column that alone ranks a label better than this, or explains more, tells it.
TELLS = 0.99
_BINS = 100
_FEW_POSITIVES = 10
_FEW_NUMBERS = 100


def suspects(
    features: Iterable[Profile],
    labels: Sequence[Label],
    profiles: Mapping[str, Profile],
) -> dict[str, str]:
    """Says which columns tell a label alone, and how that was seen.

    Args:
        features: The columns to look at.
        labels: The labels, with their spaces.
        profiles: Of all columns.

    Returns:
        {column: the reason}.
    """
    found: dict[str, str] = {}
    items = [q for q in profiles.values() if names.is_item(q)]
    for p in features:
        for label in labels:
            reason = _reason if label.kind == "binary" else _reason_of_number
            why = reason(p, label, in_space(label, labels, profiles))
            # What an item always has, as its price, is known before it is bought.
            if why and label.kind != "binary" and p.name != label.source:
                why = None if any(is_function_of(p, q) for q in items) else why
            if why:
                found.setdefault(p.name, why)
    return found


def _reason(p: Profile, label: Label, rows: np.ndarray) -> str | None:
    y = label.values[rows]
    if label.expression and p.name == label.source:
        return f"{label.task} is made from it"
    if min(np.sum(y == 1), np.sum(y == 0)) < _FEW_POSITIVES:
        return None
    filled = np.where(p.known, 1.0, np.nan)[rows]
    if follows(filled, y):
        return f"filled only where {label.task} is 1"
    if p.kind == "number" and follows(np.nan_to_num(p.numbers[rows]), y):
        return f"0 or missing wherever {label.task} is 0"
    value = tells(p, label.values, rows)
    if value > TELLS:
        return f"alone it ranks {label.task} with an AUC of {value:.4f}"
    return None


def _reason_of_number(p: Profile, label: Label, rows: np.ndarray) -> str | None:
    if label.expression and p.name == label.source:
        return f"{label.task} is made from it"
    y = label.values[rows]
    if len(y) < _FEW_NUMBERS or len(np.unique(y)) < 2:
        return None
    share = explains(p, label.values, rows)
    if share > TELLS:
        return f"alone it explains {share:.2%} of the order of {label.task}"
    return None


def explains(p: Profile, label: np.ndarray, rows: np.ndarray) -> float:
    """The share of the variance of a label's ranks that a column alone explains.

    As `tells` does, by the mean of each value in half of the rows, on the rest.

    Args:
        p: The column.
        label: float64 (rows,).
        rows: bool (rows,). Those that count.
    """
    _, place, count = np.unique(label[rows], return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - count / 2)[place]
    codes = _bins(p, rows)
    learnt, measured = slice(0, None, 2), slice(1, None, 2)
    size = codes.max(initial=0) + 1
    count = np.bincount(codes[learnt], minlength=size)
    total = np.bincount(codes[learnt], rank[learnt], size)
    score = np.where(count > 0, total / np.maximum(count, 1), rank[learnt].mean())
    error = rank[measured] - score[codes[measured]]
    spread = rank[measured] - rank[measured].mean()
    return float(1 - np.sum(error**2) / max(np.sum(spread**2), 1e-9))


def tells(p: Profile, label: np.ndarray, rows: np.ndarray) -> float:
    """The AUC of a column alone: the label's rate by value, from half of the rows.

    The rate that a value has in every other row is the score of that value in the rest;
    a value that has no row there scores the mean. Numbers are cut at their quantiles.

    Args:
        p: The column.
        label: float64 (rows,), 0 or 1.
        rows: bool (rows,). Those that count.
    """
    y = label[rows]
    codes = _bins(p, rows)
    learnt, measured = slice(0, None, 2), slice(1, None, 2)
    size = codes.max(initial=0) + 1
    count = np.bincount(codes[learnt], minlength=size)
    ones = np.bincount(codes[learnt], y[learnt], size)
    mean = y[learnt].mean()
    # One more row with the mean, so that a value seen once tells little.
    score = (ones + mean) / (count + 1)
    ones = np.bincount(codes[measured], y[measured], size)
    zeros = np.bincount(codes[measured], 1 - y[measured], size)
    return _auc(score, ones, zeros)


def _auc(score: np.ndarray, ones: np.ndarray, zeros: np.ndarray) -> float:
    """The AUC of scores that so many positives and negatives have, each (scores,).

    As `tfmtl.metrics.exact`, whose import takes seconds, has it of single rows.
    """
    _, place = np.unique(score, return_inverse=True)
    ones, zeros = np.bincount(place, ones), np.bincount(place, zeros)
    won = ones * (np.cumsum(zeros) - zeros / 2)
    pairs = ones.sum() * zeros.sum()
    return float(won.sum() / pairs) if pairs else np.nan


def _bins(p: Profile, rows: np.ndarray) -> np.ndarray:
    """The value or bin of each row, int (rows,); 0 where it is missing."""
    numbers = None if p.numbers is None else p.numbers[rows]
    if numbers is None or p.distinct <= _BINS or not np.isfinite(numbers).any():
        return p.codes[rows] + 1
    known = np.isfinite(numbers)
    edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, _BINS)))
    return np.where(known, np.searchsorted(edges, numbers, side="right") + 1, 0)
