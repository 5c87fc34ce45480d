"""Two versions on the same requests, or logged requests beside training rows.

*Canary*: the same rows go to two models; how far apart are the scores of each task?
*Skew*: are the features that a server gets those that the model was trained on? Rows
with a common key are held against each other one by one; without a key, the
distributions are. Either way it says which feature and which task.

Distances are between distributions: of numbers, Kolmogorov and Smirnov's, the greatest
difference of the shares of rows up to some value; of texts, the greatest difference of
the share of some value. 0 where nothing differs, 1 where nothing is the same.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from serving.client.encoding import input_columns
from serving.client.logged_rows import Row

_NUMBERS = ("DT_FLOAT", "DT_DOUBLE")


def scores(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Compares the outputs for the same rows, number by number.

    Args:
        first: dict. {task: (rows, 1)}.
        second: dict. The same of another model; tasks that only one has are left out.

    Returns:
        dict: {task: {"mean_first", "mean_second", "mean_difference" (of absolute
        values), "p99_difference", "max_difference", "rank_correlation"}}. The last is
        Spearman's, NaN where all scores are the same.
    """
    found = {}
    for name in first:
        if name not in second or first[name].dtype.kind != "f":
            continue
        a = first[name].astype(np.float64).ravel()
        b = second[name].astype(np.float64).ravel()
        difference = np.abs(a - b)
        found[name] = {
            "mean_first": float(a.mean()),
            "mean_second": float(b.mean()),
            "mean_difference": float(difference.mean()),
            "p99_difference": float(np.percentile(difference, 99, method="higher")),
            "max_difference": float(difference.max()),
            "rank_correlation": _correlation(_ranks(a), _ranks(b)),
        }
    return found


def score_distributions(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Compares the outputs of one model for two sets of rows.

    Returns:
        dict: {task: {"mean_first", "mean_second", "distance"}}.
    """
    return {
        name: {
            "mean_first": float(first[name].mean()),
            "mean_second": float(second[name].mean()),
            "distance": _of_numbers(first[name].ravel(), second[name].ravel()),
        }
        for name in first
        if name in second and first[name].dtype.kind == "f"
    }


def features(
    first: Sequence[Row], second: Sequence[Row], inputs: Mapping[str, Any]
) -> dict[str, dict[str, float]]:
    """Compares the distributions of the features in two sets of rows.

    Args:
        first: list of dict. Such as logged requests.
        second: list of dict. Such as training rows.
        inputs: dict. The signature's inputs, as the server's metadata has them.

    Returns:
        dict: {feature: {"missing_first", "missing_second": shares of rows without a
        value, "distance": between the values that are there}}.
    """
    found = {}
    for name, info in inputs.items():
        sides = [_values(rows, name, info) for rows in (first, second)]
        missing = [sum(not row for row in side) / len(side) for side in sides]
        flat = [[value for row in side for value in row] for side in sides]
        if info["dtype"] in _NUMBERS:
            distance = _of_numbers(*map(np.asarray, flat))
        else:
            distance = _of_texts(*flat)
        found[name] = {
            "missing_first": missing[0],
            "missing_second": missing[1],
            "distance": distance,
        }
    return found


def joined(
    first: Sequence[Row], second: Sequence[Row], key: str
) -> tuple[list[Row], list[Row]]:
    """The rows of both with the same value of `key`, in the same order.

    Raises:
        ValueError: a row has no key, a key stands twice, or none is common.
    """
    sides = []
    for which, rows in (("first", first), ("second", second)):
        by_key: dict[str, Row] = {}
        given = {key: [row.get(key) for row in rows]}
        # As texts of the logs: 5 in one file is 5.0 in another.
        (texts,) = input_columns(given, {key: {"dtype": "DT_STRING"}}).values()
        for number, (text, row) in enumerate(zip(texts, rows, strict=True)):
            if text == "":
                raise ValueError(f"Row {number} of the {which} file has no {key!r}")
            if by_key.setdefault(text, row) is not row:
                raise ValueError(f"{key} {row[key]!r} stands twice in the {which} file")
        sides.append(by_key)
    common = [value for value in sides[0] if value in sides[1]]
    if not common:
        raise ValueError(f"No value of {key!r} is in both files")
    return [sides[0][v] for v in common], [sides[1][v] for v in common]


def mismatches(
    first: Sequence[Row], second: Sequence[Row], inputs: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Compares rows one by one.

    Returns:
        dict: {feature: {"different": share of rows, "example": [row number, value of
        the first, value of the second], None where all are the same}}. Numbers are the
        same if float32 cannot tell them apart.
    """
    found = {}
    for name, info in inputs.items():
        sides = [_values(rows, name, info) for rows in (first, second)]
        rows = [i for i, (a, b) in enumerate(zip(*sides, strict=True)) if a != b]
        example = [rows[0], sides[0][rows[0]], sides[1][rows[0]]] if rows else None
        found[name] = {"different": len(rows) / len(first), "example": example}
    return found


def _values(rows: Sequence[Row], name: str, info: Mapping[str, Any]) -> list[list]:
    """The values of a feature in each row, as the model sees them; [] if missing."""
    given = [{name: row.get(name)} for row in rows]
    sizes = info.get("tensor_shape", {}).get("dim", ())
    if len(sizes) == 2:
        given = [{name: _listed(row[name])} for row in given]
    (column,) = input_columns(given, {name: info}).values()
    return [list(_known(value, info["dtype"])) for value in column]


def _known(value: Any, dtype: str) -> Iterable[Any]:
    values = value if isinstance(value, list) else [value]
    if dtype in _NUMBERS:
        return (float(np.float32(v)) for v in values if v == v)
    # Bytes that are no text travel as {"b64": ...}, which is text enough to compare.
    return (v if isinstance(v, str) else str(v) for v in values if v != "")


def _listed(value: Any) -> list:
    return [] if value is None else list(value)


def _of_numbers(first: np.ndarray, second: np.ndarray) -> float:
    if not (len(first) and len(second)):
        return 0.0
    points = np.concatenate([first, second])
    up_to = [
        np.searchsorted(np.sort(side), points, side="right") / len(side)
        for side in (first, second)
    ]
    return float(np.abs(up_to[0] - up_to[1]).max())


def _of_texts(first: Sequence[str], second: Sequence[str]) -> float:
    if not (first and second):
        return 0.0
    counts = [Counter(first), Counter(second)]
    return max(
        abs(counts[0][value] / len(first) - counts[1][value] / len(second))
        for value in {**counts[0], **counts[1]}
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value; the mean rank of equal ones."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[where]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    length = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / length) if length else float("nan")
