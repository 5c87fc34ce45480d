"""What a model must fulfil to be blessed, and why one does not.

Default rules, for every task that `evaluate.exempt` does not name:

- `no_loss`: no task loses significantly against the baseline, in its primary metric and
  by more than `evaluate.max_drop`. One-sided, at 5 % for all tasks together (Holm), so
  that a rare task does not block a model by its noise, and a frequent one does.
- `better_than_mean`: the interval of the AUC does not lie between 0.5 or less and 0.6,
  that of a correlation not between 0 and 0.1, and that of the normalised entropy not
  above 1, which alone counts for classes. An AUC of 0.44 to 0.70 is undecided: its rows
  are too few.
- `plausible`: no AUC or correlation above 0.999: then a feature tells the label.
- `unseen`: the baseline has not learnt from rows of the test split.

`evaluate.minimum` and `evaluate.rules` come on top. Predictions that are not finite or
no probabilities are refused always. Where rows are too few to say anything, a rule is
undecided: it does not refuse the model, and says so.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from pipeline.components.evaluator import metrics
from pipeline.components.evaluator.job import ALL
from pipeline.config import Config, Task
from pipeline.config.sections import Rule
from tfmtl.metrics.exact.interval import holm, student_two_sided

_LEVEL = 0.05
_TOO_GOOD = 0.999
# What is below is little: where an interval reaches from chance beyond it, the rows are
# too few to tell.
_LITTLE = {"auc": 0.6, "spearman": 0.1}
_ROUNDING = 1e-9


def judge(config: Config, results: Sequence[dict], seen: str | None) -> list[dict]:
    """Applies all rules.

    Args:
        config: Its tasks and `evaluate`.
        results: The records of metrics.json.
        seen: What `others.has_seen_test` says of the baseline; "" without one.

    Returns:
        One gate a rule, task and slice: {"rule", "task", "slice", "metric", "value",
        "low", "high", "limit", "passed", "undecided", "reason"}; a reason where it is
        not passed or undecided.
    """
    overall = {r["task"]: r for r in results if r["slice"] == ALL}
    tasks = [t for t in config.tasks if t.name not in config.evaluate.exempt]
    rules = config.evaluate.default_rules
    gates = [gate for task in config.tasks for gate in _valid(task, overall)]
    for task in tasks:
        record = overall.get(task.name)
        if record is None:
            gates.append(_undecided("rows", task.name, "no test row is in its space"))
            continue
        if "better_than_mean" in rules:
            gates += _better_than_mean(task, record)
        if "plausible" in rules:
            gates += _plausible(task, record)
    if "no_loss" in rules:
        gates += _no_loss(config, tasks, overall)
    if "unseen" in rules and seen:
        reason = (
            f"the baseline has an unfair advantage: {seen}. Leave `unseen` out of "
            "evaluate.default_rules to compare all the same"
        )
        gates.append(_gate("unseen", None, reason=reason))
    for name, least in config.evaluate.minimum.items():
        rule = Rule(
            metric=_primary(config, name),
            tasks=[name],
            at_least=least,
            evidence="value",
        )
        gates += _of_rule("minimum", rule, config, results)
    for i, rule in enumerate(config.evaluate.rules):
        gates += _of_rule(f"rules.{i}", rule, config, results)
    return gates


def _primary(config: Config, task: str) -> str:
    return next(metrics.PRIMARY[t.kind] for t in config.tasks if t.name == task)


def _gate(rule: str, task: str | None, reason: str = "", **details) -> dict:
    empty = dict.fromkeys(("slice", "metric", "value", "low", "high", "limit"))
    gate = {"rule": rule, "task": task} | empty | {"undecided": False} | details
    return gate | {"reason": reason, "passed": not reason or gate["undecided"]}


def _undecided(rule: str, task: str, why: str, **details) -> dict:
    where = f"{task} in {details['slice']}" if details.get("slice") else task
    return _gate(rule, task, f"{where}: undecided, {why}", undecided=True, **details)


def _valid(task: Task, overall: Mapping[str, dict]) -> Iterator[dict]:
    record = overall.get(task.name)
    if record and (invalid := record["model"]["invalid"]):
        what = "probabilities" if task.kind in ("binary", "classes") else "finite"
        reason = (
            f"{task.name}: {invalid} of {record['rows']} predictions are not {what}"
        )
        yield _gate(f"predictions are {what}", task.name, reason)


def _better_than_mean(task: Task, record: Mapping) -> Iterator[dict]:
    # The accuracy that classes have by chance depends on their shares.
    if task.kind != "classes" or record["too_few"]:
        yield _better_than_chance(task, record)
    if not record["too_few"]:
        yield from _better_than_shares(task, record)


def _better_than_chance(task: Task, record: Mapping) -> dict:
    rule, metric = "better_than_mean", metrics.PRIMARY[task.kind]
    value, low, high = _found(record, metric)
    details = {"metric": metric, "value": value, "low": low, "high": high}
    chance = 0.5 if task.kind == "binary" else 0.0
    if record["too_few"]:
        return _undecided(rule, task.name, record["too_few"], **details)
    span = value is not None and _span(value, low, high)
    low, high = (value, value) if low is None else (low, high)
    reason, undecided = "", False
    if value is None:
        reason = f"{task.name}: {metric} is not defined on the test split"
    elif low <= chance:
        undecided = high > _LITTLE[metric]
        reason = f"{task.name}: {metric} {span} is not above {chance:g}, "
        reason += "which is chance: nothing was learnt"
        if undecided:
            reason = (
                f"{task.name}: undecided, {metric} {span} may be chance, {chance:g}"
            )
    details |= {"limit": chance, "undecided": undecided}
    return _gate(rule, task.name, reason, **details)


def _better_than_shares(task: Task, record: Mapping) -> Iterator[dict]:
    """The gate of the normalised entropy, of tasks that have one."""
    entropy, low, high = _found(record, "normalized_entropy")
    if entropy is not None:
        reason, undecided = "", False
        if entropy >= 1 - _ROUNDING:
            span = f"normalized_entropy {_span(entropy, low, high)}"
            undecided = low is not None and low < 1 - _ROUNDING
            reason = f"{task.name}: {span} is not below 1: predicting the mean label "
            reason += "would be as good"
            if undecided:
                reason = f"{task.name}: undecided, {span} may be below 1"
        ends = {"value": entropy, "low": low, "high": high, "limit": 1.0}
        details = {"metric": "normalized_entropy", "undecided": undecided} | ends
        yield _gate("better_than_mean", task.name, reason, **details)


def _plausible(task: Task, record: Mapping) -> Iterator[dict]:
    metric = metrics.PRIMARY[task.kind]
    value, low, high = _found(record, metric)
    # One class may well have nearly all rows.
    if value is None or record["too_few"] or task.kind == "classes":
        return
    reason = ""
    if value > _TOO_GOOD:
        reason = (
            f"{task.name}: {metric} {value:.4f} is too good to be true. Look for a "
            "feature that tells the label, or name the task in evaluate.exempt"
        )
    details = {"metric": metric, "value": value, "low": low, "high": high}
    yield _gate("plausible", task.name, reason, limit=_TOO_GOOD, **details)


def _no_loss(
    config: Config, tasks: Iterable[Task], overall: Mapping[str, dict]
) -> Iterator[dict]:
    """One gate a task that the baseline predicts too, corrected for their number."""
    drops, compared = config.evaluate.max_drop, []
    for task in tasks:
        record, metric = overall.get(task.name), metrics.PRIMARY[task.kind]
        drop = drops.get(task.name) if isinstance(drops, dict) else drops
        if record is None or "baseline" not in record or drop is None:
            continue
        gain = record.get("gain", {}).get("baseline", {}).get(metric)
        if gain is None:
            why = record["too_few"] or f"{metric} is not defined for both models"
            yield _undecided("no_loss", task.name, why, metric=metric)
        else:
            compared.append((task.name, metric, drop, gain))
    p_values = [_p_of_loss(gain, drop) for *_, drop, gain in compared]
    for (name, metric, drop, gain), p in zip(
        compared, holm(np.array(p_values)), strict=True
    ):
        reason = ""
        if p < _LEVEL:
            allowed = f" beyond the {drop:g} allowed" if drop else ""
            reason = (
                f"{name}: {metric} has lost {-gain['value']:.4f} ("
                f"{_number(-gain['high'])} to {_number(-gain['low'])}) against the "
                f"baseline, a significant loss{allowed} (p = {p:.2g})"
            )
        ends = {"value": gain["value"], "low": gain["low"], "high": gain["high"]}
        yield _gate("no_loss", name, reason, metric=metric, limit=-drop, **ends)


def _p_of_loss(gain: Mapping, drop: float) -> float:
    """One-sided: how likely a gain this low is, if in truth it were -drop."""
    beyond = gain["value"] + drop
    if not gain["error"]:
        return 1.0 if beyond >= 0 else 0.0
    both = student_two_sided(beyond / gain["error"], gain["groups"] - 1)
    return both / 2 if beyond < 0 else 1 - both / 2


def _of_rule(
    name: str, rule: Rule, config: Config, results: Sequence[dict]
) -> Iterator[dict]:
    """The gates of a rule of the config."""
    tasks = [task.name for task in config.tasks if _holds_for(rule, task)]
    for record in results:
        task, column, value = (record[key] for key in ("task", "slice", "value"))
        if task not in tasks:
            continue
        if not _in_slices(rule, column, value):
            continue
        where = task if column == ALL else f"{task} in {column}={value}"
        details = {"slice": None if column == ALL else f"{column}={value}"}
        details["metric"] = rule.metric
        if rule.evidence != "value" and record["too_few"]:
            yield _undecided(name, task, record["too_few"], **details)
            continue
        for limits, of_gain in (
            ((rule.at_least, rule.at_most), False),
            ((rule.gain_at_least, None), True),
        ):
            if limits == (None, None):
                continue
            found = _found(record, rule.metric, of_gain)
            if found[0] is None and of_gain:
                why = "there is no baseline"
                if "baseline" in record:
                    why = record["too_few"] or f"{rule.metric} is not defined for both"
                yield _undecided(name, task, why, **details)
                continue
            yield _judged(name, task, where, rule, limits, of_gain, found, details)
    yield from _without_rows(name, rule, config, results)


def _without_rows(
    name: str, rule: Rule, config: Config, results: Sequence[dict]
) -> Iterator[dict]:
    """A gate for each place that a rule names and that no test row is in."""
    found = {(r["task"], r["slice"], r["value"]) for r in results}
    named = [(c, str(v)) for c, values in rule.slices.items() for v in values or ()]
    for task in config.tasks:
        if not _holds_for(rule, task):
            continue
        for column, value in named if rule.slices else [(ALL, ALL)]:
            if (task.name, column, value) in found:
                continue
            where = None if column == ALL else f"{column}={value}"
            why = "no test row is in its space"
            details = {"slice": where, "metric": rule.metric}
            if rule.evidence == "value" and rule.tasks:  # as where it is not defined
                place = f"{task.name} in {where}" if where else task.name
                yield _gate(name, task.name, f"{place}: {why}", **details)
            else:
                yield _undecided(name, task.name, why, **details)


def _holds_for(rule: Rule, task: Task) -> bool:
    named = not rule.tasks or task.name in rule.tasks
    return named and metrics.scale_of(task.kind, rule.metric) is not None


def _in_slices(rule: Rule, column: str, value: str) -> bool:
    if not rule.slices:
        return column == ALL
    values = rule.slices.get(column, [])
    return values is None or value in map(str, values)


def _judged(name, task, where, rule, limits, of_gain, found, details) -> dict:
    """One gate: the value, or its interval, against the limits."""
    value, low, high = found
    least = -math.inf if limits[0] is None else limits[0]
    most = math.inf if limits[1] is None else limits[1]
    what = f"the gain in {rule.metric}" if of_gain else rule.metric
    if value is None:
        reason = f"{where}: {what} is not defined"
    else:
        # The ends that must be within: the likelier one, the unlikelier one, or both.
        below, above = (
            {
                "value": (value, value),
                "against": (high, low),
                "for": (low, high),
            }[rule.evidence]
            if low is not None
            else (value, value)
        )
        reason = ""
        if below < least or above > most:
            allowed = " to ".join(f"{x:g}" for x in limits if x is not None)
            side = "at least" if limits[1] is None else "at most"
            bounds = allowed if None not in limits else f"{side} {allowed}"
            proven = ", which must be proven" if rule.evidence == "for" else ""
            reason = (
                f"{where}: {what} {_span(value, low, high)} must be {bounds}{proven}"
            )
    limit = limits[0] if limits[0] is not None else limits[1]
    ends = {"value": value, "low": low, "high": high, "limit": limit}
    return _gate(name, task, reason, **ends, **details)


def _found(record: Mapping, metric: str, of_gain: bool = False):
    """(value, low, high) of a metric, or of its gain; None where there is none."""
    if of_gain:
        gain = record.get("gain", {}).get("baseline", {}).get(metric)
        return (gain["value"], gain["low"], gain["high"]) if gain else (None,) * 3
    value = record["model"].get(metric)
    low, high = record["model"].get("intervals", {}).get(metric, (None, None))
    return value, low, high


def _span(value: float, low: float | None, high: float | None) -> str:
    if low is None:
        return _number(value)
    return f"{_number(value)} ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    return f"{value:.4f}"
