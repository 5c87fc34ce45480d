"""Exact metrics of one group of rows, in NumPy.

The AUC and the rank correlation are computed from the sorted scores themselves, ties
counted as half, and not from thresholds or samples. What is not defined, such as the
AUC of a group with a single class, is None: never a number that looks like a result.
"""

import numpy as np

PRIMARY = {"binary": "auc", "regression": "spearman"}


def measure(kind: str, label: np.ndarray, score: np.ndarray) -> dict:
    """Returns every metric of a task's kind over the rows given.

    Binary: `auc`; `log_loss`; `normalized_entropy`, the log-loss over that of always
    predicting the group's mean label; `calibration`, the sum of predictions over the
    sum of labels. Regression: `spearman` (the correlation of ranks), `mae`, `rmse`,
    `calibration`. `invalid` counts predictions that are not finite or, for a binary
    task, not probabilities; where there are any, all other metrics are None.

    Args:
        kind: "binary" or "regression".
        label: float (rows,), 0 or 1 for a binary task.
        score: float (rows,), the predictions.

    Returns:
        {metric: number or None}.

    References:
        He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, 2014
        (normalised entropy and calibration).
    """
    label, score = label.astype(np.float64), score.astype(np.float64)
    usable = np.isfinite(score)
    if kind == "binary":
        usable &= (score >= 0) & (score <= 1)
    invalid = len(score) - int(usable.sum())
    if invalid or not len(score):
        names = _of_kind(kind, np.zeros(1), np.zeros(1))
        return {"invalid": invalid, "mean": None} | dict.fromkeys(names)
    metrics = {"mean": score.mean()} | _of_kind(kind, label, score)
    return {"invalid": 0} | {
        name: float(value) if np.isfinite(value) else None
        for name, value in metrics.items()
    }


def _of_kind(kind: str, label: np.ndarray, score: np.ndarray) -> dict[str, float]:
    calibration = _ratio(score.sum(), label.sum())
    if kind == "binary":
        loss = log_loss(label, score)
        background = log_loss(label, np.full_like(label, label.mean()))
        one_class = label.min() == label.max()
        return {
            "auc": auc(label, score),
            "log_loss": loss,
            "normalized_entropy": np.nan if one_class else loss / background,
            "calibration": calibration,
        }
    error = score - label
    return {
        "spearman": spearman(label, score),
        "mae": np.abs(error).mean(),
        "rmse": np.sqrt((error**2).mean()),
        "calibration": calibration,
    }


def auc(label: np.ndarray, score: np.ndarray) -> float:
    """The chance that a positive row outranks a negative one; NaN with one class."""
    positive = label > 0
    positives = int(positive.sum())
    negatives = len(label) - positives
    above = ranks(score)[positive].sum() - positives * (positives + 1) / 2
    return _ratio(above, positives * negatives)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """The correlation of the ranks of `a` and `b`; NaN where either is constant."""
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(), y - y.mean()
    return _ratio((x * y).sum(), np.sqrt((x * x).sum() * (y * y).sum()))


def log_loss(label: np.ndarray, score: np.ndarray) -> float:
    """The mean of -log p(label), with p kept 1e-7 away from 0 and 1."""
    score = np.clip(score, 1e-7, 1 - 1e-7)
    return -np.mean(label * np.log(score) + (1 - label) * np.log1p(-score))


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ascending; equal values share the mean of theirs."""
    order = np.argsort(values)
    ascending = values[order]
    first = np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1]))
    count = np.diff(np.append(first, len(values)))
    result = np.empty(len(values))
    result[order] = np.repeat(first + (count + 1) / 2, count)
    return result


def roc(label: np.ndarray, score: np.ndarray, points: int = 100) -> list[list[float]]:
    """The ROC curve as [false, true] positive rates, thinned for a plot."""
    order = np.argsort(-score)
    last = np.append(score[order][1:] != score[order][:-1], True)  # of equal scores
    hits = np.append(0, np.cumsum(label[order] > 0)[last])
    misses = np.append(0, np.cumsum(label[order] <= 0)[last])
    if not hits[-1] or not misses[-1]:
        return []
    x, y = misses / misses[-1], hits / hits[-1]
    # The steep start is kept by thinning along x + y, which grows at every step.
    kept = np.unique(np.searchsorted(x + y, np.linspace(0, 2, points + 1)))
    kept = kept[kept < len(x)]
    return np.round(np.stack([x[kept], y[kept]], axis=1), 5).tolist()


def calibration_bins(
    label: np.ndarray, score: np.ndarray, bins: int = 10
) -> list[list[float]]:
    """[mean prediction, mean label, rows] for equally large groups by prediction."""
    order = np.argsort(score, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [
        [float(score[part].mean()), float(label[part].mean()), len(part)]
        for part in parts
    ]


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else np.nan
