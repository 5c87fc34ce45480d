"""What the Evaluator measures of one group of rows: exact metrics, their intervals.

What is not defined, such as the AUC of a group with a single class, is None: never a
number that looks like a result. Where rows are too few to say anything, there are no
intervals and no comparisons, and `too_few` says why.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.config import Task
from pipeline.config.sections import MORE_METRICS
from tfmtl.metrics import exact
from tfmtl.metrics.exact import influence
from tfmtl.metrics.exact.interval import interval

PRIMARY = {"binary": "auc", "regression": "spearman", "count": "spearman"}
PRIMARY["classes"] = "accuracy"
# {metric: the scale on which its interval is symmetric}, in the report's order.
SCALES = {
    "binary": {
        "auc": "logit",
        "log_loss": "log",
        "normalized_entropy": "log",
        "calibration": "log",
        "gauc": "logit",
    },
    "regression": {
        "spearman": "atanh",
        "xauc": "logit",
        "mae": "log",
        "rmse": "log",
        "calibration": "log",
    },
}
SCALES["count"] = SCALES["regression"]
SCALES["classes"] = {
    "accuracy": "logit",
    "log_loss": "log",
    "normalized_entropy": "log",
}
# {metric within groups: what `exact` and `influence` call it}
_GROUPED = {name: name for name in ("uauc", "ndcg", "mrr", "hit_rate")}
_GROUPED |= {"gauc": "grouped_auc", "gxauc": "grouped_xauc"}
LEAST = 10  # positives, negatives and groups from which on something can be said
_LEAST_ROWS = 20  # of labels that are no classes


def measure(
    kind: str,
    label: np.ndarray,
    scores: Mapping[str, np.ndarray],
    weight: np.ndarray | None = None,
    group: np.ndarray | None = None,
    pairs: Mapping[str, tuple[str, str]] = {},
    more: Sequence[str] = (),
) -> dict:
    """Returns every metric of a task's kind over the rows given, for each source.

    Binary: `auc`; `log_loss`; `normalized_entropy`, the log-loss over that of always
    predicting the group's mean label; `calibration`, the sum of predictions over the
    sum of labels; `gauc`, the mean AUC of the groups by their rows' weights, where
    groups are given. Regression and count: `spearman` (the correlation of ranks),
    `xauc`, `mae`, `rmse`, `calibration`. Classes: `accuracy`, `log_loss`,
    `normalized_entropy`; their predictions are (rows, classes), `mean` of the mean
    class. `mean` is that of the predictions; `invalid`
    counts those that are not finite or, for a binary task, not probabilities; where
    there are any, all other metrics are None.

    Args:
        kind: "binary", "regression", "count" or "classes".
        label: float (rows,), 0 or 1 for a binary task.
        scores: {source: float (rows,)}, the predictions of models.
        weight: float (rows,) > 0, by which rows count in all metrics. Defaults to 1.
        group: int (rows,), such as the user's code: rows of one are not independent. A
            negative one is in no group. Defaults to no groups.
        pairs: {name of a comparison: (source, the one that it is compared with)}.
        more: `evaluate.metrics`, of which a kind has those of `MORE_METRICS`.

    Returns:
        {"too_few": text or None; source: {metric: number or None, "intervals": {metric:
        [low, high]}}; "gain": {comparison: {metric: {"value", "low", "high", "p",
        "error", "groups"}}}}. Intervals are of 95 %. A gain above 0 is good whatever
        the metric is (`tfmtl.metrics.exact.mtl_gain`); `p` tests it against 0, `error`
        is its standard error, and `groups` how many groups or rows that comes from.

    References:
        He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, 2014
        (normalised entropy and calibration).
    """
    label = label.astype(np.float64)
    scores = {source: score.astype(np.float64) for source, score in scores.items()}
    invalid = {source: _invalid(kind, score) for source, score in scores.items()}
    names = [*SCALES[kind], *(n for n in more if n.split("@")[0] in MORE_METRICS[kind])]
    names = [n for n in names if _is_rowwise(n) or group is not None]
    few = too_few(kind, label, group)
    found: dict = {"too_few": few}
    for source, score in scores.items():
        usable = len(score) and not invalid[source]
        values = means(score)
        mean = float(np.average(values, weights=weight)) if usable else None
        found[source] = {"invalid": invalid[source], "mean": mean}
        found[source] |= dict.fromkeys(names)
        if not few:
            found[source]["intervals"] = {}
    gain: dict = {name: {} for name, two in pairs.items() if scores.keys() >= {*two}}
    usable = [s for s in scores if len(label) and not invalid[s]]
    for name in names:

        def of_rows(module, source, name=name):
            return _of_rows(module, name, label, scores[source], weight, group)

        values = {source: of_rows(exact, source) for source in usable}
        values = {s: float(v) for s, v in values.items() if np.isfinite(v)}
        for source, value in values.items():
            found[source][name] = value
        if few:
            continue
        moved = {source: of_rows(influence, source) for source in values}
        for source, value in values.items():
            ends = interval(value, moved[source], group, scale_of(kind, name))
            if np.isfinite([ends.low, ends.high]).all():
                found[source]["intervals"][name] = [ends.low, ends.high]
        for comparison, found_of in gain.items():
            if values.keys() >= {*pairs[comparison]}:
                found_of[name] = _gain(name, values, moved, pairs[comparison], group)
    if not few and gain:
        found["gain"] = gain
    return found


def scale_of(kind: str, name: str) -> str | None:
    """The scale of a metric's interval; None if tasks of this kind do not have it.

    All those of `evaluate.metrics` are shares.
    """
    more = "logit" if name.split("@")[0] in MORE_METRICS[kind] else None
    return SCALES[kind].get(name, more)


def drops(
    kind: str,
    label: np.ndarray,
    score: np.ndarray,
    permuted: Mapping[str, np.ndarray],
    weight: np.ndarray | None = None,
    group: np.ndarray | None = None,
) -> dict[str, dict[str, float | None]]:
    """Returns what a task's primary metric loses, for each feature.

    Args:
        kind: "binary", "regression", "count" or "classes".
        label: float (rows,), 0 or 1 for a binary task.
        score: float (rows,), the predictions.
        permuted: {feature: float (rows,), the predictions without it}.
        weight: float (rows,) > 0. Defaults to 1.
        group: int (rows,), as for `measure`. Defaults to no groups.

    Returns:
        {feature: {"drop": metric less that without it, "low", "high": the ends of its
        95 % interval, of a difference on the same rows}}, None where rows are too few,
        a prediction is invalid or the metric is not defined.
    """
    name = PRIMARY[kind]
    label, score = label.astype(np.float64), score.astype(np.float64)
    nothing = {"drop": None, "low": None, "high": None}
    found = {feature: dict(nothing) for feature in permuted}
    if too_few(kind, label, group):
        return found

    def measured(score):
        if _invalid(kind, score):
            return None
        value = _of_rows(exact, name, label, score, weight, group)
        if not np.isfinite(value):  # such as a correlation with a constant
            return None
        return value, _of_rows(influence, name, label, score, weight, group)

    whole = measured(score)
    for feature, without in permuted.items() if whole else ():
        if left := measured(without.astype(np.float64)):
            drop = float(whole[0] - left[0])
            ends = interval(drop, whole[1] - left[1], group)
            found[feature] = {"drop": drop, "low": ends.low, "high": ends.high}
    return found


def too_few(kind: str, label: np.ndarray, group: np.ndarray | None) -> str | None:
    """Says what a group of rows has too few of to say anything; None if it has not."""
    counts = {"rows": (len(label), _LEAST_ROWS)}
    if kind == "binary":
        positives = int((label > 0.5).sum())
        counts = {
            "positives": (positives, LEAST),
            "negatives": (len(label) - positives, LEAST),
        }
    if group is not None:
        alone = group < 0
        groups = len(np.unique(group[~alone])) + int(alone.sum())
        counts["groups"] = (groups, LEAST)
    for what, (count, least) in counts.items():
        if count < least:
            return f"{count} of the {least} {what} needed"
    return None


def predictions(task: Task, predicted: Mapping[str, np.ndarray]) -> np.ndarray:
    """A task's predictions, (rows,); or of its classes, (rows, classes).

    Args:
        task: The task.
        predicted: {output: (rows,)} of a model.
    """
    if not task.classes:
        return predicted[task.name]
    return np.stack([predicted[name] for name in task.outputs[1:]], axis=1)


def means(predictions: np.ndarray) -> np.ndarray:
    """The predictions, (rows,); of classes the mean class."""
    if predictions.ndim == 1:
        return predictions
    return predictions @ np.arange(predictions.shape[1])


def _invalid(kind: str, score: np.ndarray) -> int:
    usable = np.isfinite(score)
    if kind in ("binary", "classes"):
        usable &= (score >= 0) & (score <= 1)
    if score.ndim == 2:
        usable = usable.all(axis=1)
    return len(score) - int(usable.sum())


def _of_rows(module, name, label, score, weight, group):
    """A metric by `exact`, or by `influence` what each row moves it."""
    if _is_rowwise(name):
        return getattr(module, name)(label, score, weight=weight)
    at = group >= 0
    of_groups = None if weight is None else weight[at]
    name, _, k = name.partition("@")
    metric = getattr(module, _GROUPED[name])
    places = {"k": int(k)} if k else {}
    found = metric(label[at], score[at], group[at], of_groups, **places)
    if module is exact:
        return found
    moved = np.zeros(len(label))
    moved[at] = found
    return moved


def _is_rowwise(name: str) -> bool:
    return name.split("@")[0] not in _GROUPED


def _gain(
    name: str,
    values: Mapping[str, float],
    moved: Mapping[str, np.ndarray],
    pair: tuple[str, str],
    group: np.ndarray | None,
) -> dict:
    """What a source gains over another one in a metric, tested against 0."""
    of_model, of_other = (exact.direction(name, values[source]) for source in pair)
    model, other = pair
    gain = exact.mtl_gain({name: values[model]}, {name: values[other]})[name]
    by_rows = of_model * moved[model] - of_other * moved[other]
    found = interval(gain, by_rows, group, null=0.0)
    return {
        "value": gain,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "error": found.error,
        "groups": found.groups,
    }
