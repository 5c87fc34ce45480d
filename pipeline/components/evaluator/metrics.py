"""What the Evaluator measures of one group of rows: the library's exact metrics.

What is not defined, such as the AUC of a group with a single class, is None: never a
number that looks like a result.
"""

import numpy as np

from tfmtl.metrics import exact

PRIMARY = {"binary": "auc", "regression": "spearman", "count": "spearman"}


def measure(
    kind: str,
    label: np.ndarray,
    score: np.ndarray,
    weight: np.ndarray | None = None,
    group: np.ndarray | None = None,
) -> dict:
    """Returns every metric of a task's kind over the rows given.

    Binary: `auc`; `gauc`, the mean AUC of the groups by their rows' weights, where
    groups are given; `log_loss`; `normalized_entropy`, the log-loss over that of always
    predicting the group's mean label; `calibration`, the sum of predictions over the
    sum of labels. Regression and count: `spearman` (the correlation of ranks), `xauc`,
    `mae`, `rmse`, `calibration`. `invalid` counts predictions that are not finite or,
    for a binary task, not probabilities; where there are any, all other metrics are
    None.

    Args:
        kind: "binary", "regression" or "count".
        label: float (rows,), 0 or 1 for a binary task.
        score: float (rows,), the predictions.
        weight: float (rows,) > 0, by which rows count in all metrics. Defaults to 1.
        group: int (rows,), such as the user's code; a negative one is in no group.
            Defaults to no groups.

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
        zero = np.zeros(1)
        names = _of_kind(kind, zero, zero, None, None if group is None else zero)
        return {"invalid": invalid, "mean": None} | dict.fromkeys(names)
    metrics = {"mean": np.average(score, weights=weight)}
    metrics |= _of_kind(kind, label, score, weight, group)
    return {"invalid": 0} | {
        name: float(value) if np.isfinite(value) else None
        for name, value in metrics.items()
    }


def _of_kind(kind, label, score, weight, group) -> dict[str, float]:
    if kind == "binary":
        names = ("auc", "log_loss", "normalized_entropy", "calibration")
    else:
        names = ("spearman", "xauc", "mae", "rmse", "calibration")
    found = {n: getattr(exact, n)(label, score, weight=weight) for n in names}
    if kind == "binary" and group is not None:
        at = group >= 0
        of_groups = None if weight is None else weight[at]
        found["gauc"] = exact.grouped_auc(label[at], score[at], group[at], of_groups)
    return found
