"""The models of a sweep, the best first."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.comparison import compare
from pipeline.components.evaluator.job import ALL
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.sweep.study import Trial
from tfmtl.metrics.exact.interval import holm, student_quantile, student_two_sided

_RANGES = {"auc": (0.0, 1.0), "spearman": (-1.0, 1.0)}


def of(config: Config, trials: Sequence[Trial], minimize: bool) -> dict[str, Any]:
    """Makes the leaderboard.

    Args:
        config: That of the sweep.
        trials: All trials.
        minimize: Whether a lower `train.monitor` is better.

    Returns:
        {"pipeline", "monitor", "minimize", "tasks": [{"name", "kind", "metric"}],
        "seeds", "models": see below, the best first; "failed": [{"name", "seed",
        "error"}]}. A model, one of each trial: {"name", "architecture", "number",
        "point": {key: value}, "value" and "valid": {metric: {"mean", "low", "high",
        "values"}} over the seeds, "parameters", "seconds" (the mean of a training),
        "models": {seed: folder}, "chosen": whether it is the best of its
        architecture}.

    Raises:
        PipelineError: All trainings have failed.
    """
    complete = [trial for trial in trials if trial.value is not None]
    failed = [
        {"name": _name(trial), "seed": seed, "error": result["error"]}
        for trial in trials
        for seed, result in trial.results.items()
        if "error" in result
    ]
    if not complete:
        reasons = dict.fromkeys(f"{f['name']}: {f['error']}" for f in failed)
        raise PipelineError("every training has failed:\n  " + "\n  ".join(reasons))
    complete.sort(key=lambda trial: trial.value, reverse=not minimize)
    best: dict[str, Trial] = {}
    for trial in complete:
        best.setdefault(trial.architecture.label, trial)
    return {
        "pipeline": config.name,
        "monitor": config.train.monitor,
        "minimize": minimize,
        "tasks": compare.tasks_of(config),
        "seeds": config.sweep.seeds,
        "models": [
            _model(trial, trial is best[trial.architecture.label]) for trial in complete
        ],
        "failed": failed,
    }


def of_test(
    records: Iterable[Mapping[str, Any]], names: Sequence[str], gains: bool
) -> dict[str, dict[str, Any]]:
    """What the test split says of a model: {task: ...}, over its seeds.

    Args:
        records: What `comparison.compare.measure` returned.
        names: Those of the model with each seed.
        gains: Whether what the first of them gains is told; see "gain".

    Returns:
        {task: {"metric", "too_few": why nothing can be said, "mean", "low", "high",
        "values", "of_rows": [the interval of each value, by the test rows], "gain":
        over the first model that was measured, by the test rows, or None}}.
    """
    found = {}
    for record in records:
        if record["slice"] != ALL:
            continue
        measured = [name for name in names if name in record]
        metric = record["metric"]
        found[record["task"]] = {
            "metric": metric,
            "too_few": record["too_few"],
            **_within(over_seeds([record[name][metric] for name in measured]), metric),
            "of_rows": [compare.interval_of(record, name) for name in measured],
            "gain": compare.gain_of(record, measured[0])
            if gains and measured
            else None,
        }
    return found


def compare_with_first(models: Sequence[dict[str, Any]]) -> None:
    """Adds what each gains over the first, and corrects for all of them together.

    With several seeds, a gain is the mean of the differences of the same seed, and its
    interval is Student's over the seeds. With one seed, it is by the test rows, as it
    stands there.

    Args:
        models: Of the leaderboard, each with "test".
    """
    first, gains = models[0]["test"], []
    for model in models[1:]:
        for task, found in model["test"].items():
            pair = [found["values"], first.get(task, {"values": []})["values"]]
            if len(pair[0]) == len(pair[1]) > 1 and not found["too_few"]:
                found["gain"] = _gain(*pair)
            if found["gain"]:
                gains.append(found["gain"])
    adjusted = holm(np.array([gain["p"] for gain in gains]))
    for gain, p in zip(gains, adjusted, strict=True):
        gain["p_adjusted"] = float(p)


def _gain(
    values: Sequence[float | None], others: Sequence[float | None]
) -> dict[str, float] | None:
    """The mean of differences, above 0 is better; None where one is not defined."""
    if None in values or None in others:
        return None
    differences = np.subtract(values, others)
    found = over_seeds(differences.tolist())
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    p = float(not found["mean"])
    if error:
        p = student_two_sided(found["mean"] / error, len(differences) - 1)
    return {"value": found["mean"], "low": found["low"], "high": found["high"], "p": p}


def _within(found: dict[str, Any], metric: str) -> dict[str, Any]:
    """Ends an interval where its metric does: that of two seeds is wide."""
    if found["low"] is None:
        return found
    least, most = _RANGES[metric]
    return found | {"low": max(found["low"], least), "high": min(found["high"], most)}


def over_seeds(values: Sequence[float | None]) -> dict[str, Any]:
    """The mean over seeds and its 95 % interval, by Student's distribution.

    Example:
        >>> found = over_seeds([0.70, 0.71, 0.72])
        >>> {key: round(found[key], 3) for key in ("mean", "low", "high")}
        {'mean': 0.71, 'low': 0.685, 'high': 0.735}
        >>> over_seeds([0.7])["low"] is None
        True
    """
    known = [value for value in values if value is not None]
    found = {"mean": None, "low": None, "high": None, "values": list(values)}
    if known and len(known) == len(values):
        found["mean"] = mean = float(np.mean(known))
        if len(known) > 1:
            error = float(np.std(known, ddof=1)) / math.sqrt(len(known))
            half = student_quantile(0.975, len(known) - 1) * error
            found |= {"low": mean - half, "high": mean + half}
    return found


def _name(trial: Trial) -> str:
    return f"{trial.architecture.label} {trial.number}"


def _model(trial: Trial, chosen: bool) -> dict[str, Any]:
    results = list(trial.results.values())
    return {
        "name": _name(trial),
        "architecture": trial.architecture.name,
        "number": trial.number,
        "point": trial.point,
        "value": over_seeds([r["value"] for r in results]),
        "valid": {
            metric: over_seeds([r["metrics"].get(metric) for r in results])
            for metric in results[0]["metrics"]
        },
        "parameters": results[0]["parameters"],
        "seconds": float(np.mean([r["seconds"] for r in results])),
        "models": {str(seed): r["model"] for seed, r in trial.results.items()},
        "chosen": chosen,
    }
