"""What has become of each day: WORKSPACE/days/DAY/day.json, and the report over them.

A record is {
    "day",
    "state": "begun", "measured" (the served model is) or "complete",
    "served": the model that was served that day, None before the first,
    "rows", "tasks": {task: {"value", "low", "high", "too_few"}}: what it got on them,
    "not_measured": why it was not measured, "" if it was,
    "has_seen": why it may have learnt from these rows, "" if it has not, None if that
        cannot be told,
    "after": the later day that had been trained on before, "" if none had,
    "pushed": the version that the day's training became, None if it was refused,
    "reasons": why,
}
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts import json_file, layout
from pipeline.beam.atomic import atomic_write
from pipeline.config import Config, dated
from pipeline.config.dated import Period
from pipeline.errors import PipelineError
from pipeline.storage import folders
from tfmtl.metrics.exact.interval import student_quantile

BEGUN, MEASURED, COMPLETE = "begun", "measured", "complete"


def folder(workspace: Path, day: str) -> Path:
    """The folder of a day."""
    return workspace / layout.DAYS / day


def read(workspace: Path) -> list[dict[str, Any]]:
    """The records of a workspace, by day."""
    folders.take(workspace / layout.DAYS, layout.DAY)
    files = (workspace / layout.DAYS).glob(f"*/{layout.DAY}")
    found = [json.loads(file.read_text()) for file in files]
    return sorted(found, key=lambda record: record["day"])


def begin(workspace: Path, period: Period) -> dict[str, Any]:
    """Returns the record of a day, a new one where there is none.

    Raises:
        PipelineError: The workspace's other days are hours, or its hours days.
    """
    known = {record["day"]: record for record in read(workspace)}
    for day in known:
        if dated.parse(day).form != period.form:
            raise PipelineError(
                "the days of a workspace must all be days, or all hours. Received: "
                f"{period} beside {day}. Give the others a `workspace` of their own"
            )
    return known.get(str(period)) or {
        "day": str(period),
        "state": BEGUN,
        "served": None,
        "rows": None,
        "tasks": {},
        "not_measured": "",
        "has_seen": "",
        "after": max((d for d in trained(known) if d > str(period)), default=""),
        "pushed": None,
        "reasons": [],
    }


def write(of_day: Path, record: Mapping[str, Any]) -> None:
    """Writes a record down."""
    of_day.mkdir(parents=True, exist_ok=True)
    with atomic_write(of_day / layout.DAY) as part:
        json_file.write(part, record)
    folders.push(of_day, layout.DAY)


def trained(records: Mapping[str, Mapping]) -> list[str]:
    """The days whose training became a version, of {day: record}."""
    return [day for day, record in records.items() if record["pushed"]]


def remarks(workspace: Path, record: Mapping[str, Any]) -> list[str]:
    """Says what is odd about the day that comes now."""
    day = record["day"]
    if record["after"]:
        return [
            f"warning: out of order: {record['after']} is trained on already, so that "
            f"the model that {day} judges has learnt from later logs"
        ]
    before = [known["day"] for known in read(workspace) if known["day"] < day]
    gap = missing([*before[-1:], day])
    if not gap:
        return []
    more = f" and {len(gap) - 3} more" if len(gap) > 3 else ""
    return [f"warning: nothing was trained on {', '.join(gap[:3])}{more}"]


def missing(days: Iterable[str]) -> list[str]:
    """The days that lie between others.

    Example:
        >>> missing(["2024-02-28", "2024-03-01"])
        ['2024-02-29']
    """
    periods = sorted(map(dated.parse, days))
    found = []
    for before, period in zip(periods, periods[1:], strict=False):
        gap = []
        while (period := period.before(1)) > before:
            gap.append(str(period))
        found += reversed(gap)
    return found


def tasks(results: Iterable[Mapping], of: Iterable[Mapping]) -> dict[str, dict]:
    """What a record keeps of each task's metric over all rows.

    Args:
        results: Of metrics.json; so `of`.
        of: Its tasks.
    """
    metrics = {task["name"]: task["metric"] for task in of}
    found = {}
    for result in results:
        if result["slice"] == "all":
            metric = metrics[result["task"]]
            low, high = result["model"].get("intervals", {}).get(metric, (None, None))
            value = result["model"][metric]
            ends = {"low": low, "high": high, "too_few": result["too_few"]}
            found[result["task"]] = {"value": value, **ends}
    return found


def board(config: Config, tasks: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """What the report over days shows.

    Args:
        config: The pipeline.
        tasks: Its tasks, {"name", "kind", "metric"} each.

    Returns:
        {"pipeline", "tasks", "days": the records, "missing": days between them that
        were not trained on, "untold": days of which nobody knows whether the model had
        learnt from their rows, "mean": {task: {"value", "low", "high", "days"}}, over
        the days on which the model had learnt from none of the rows, with Student's
        95 % interval over the days}.
    """
    found = read(Path(config.workspace))
    fair = [r for r in found if not r["has_seen"] and not r["after"]]
    values = {
        task["name"]: [
            of["value"]
            for record in fair
            for of in [record["tasks"].get(task["name"])]
            if of and of["value"] is not None and not of["too_few"]
        ]
        for task in tasks
    }
    return {
        "pipeline": config.name,
        "tasks": list(tasks),
        "days": found,
        "missing": missing(record["day"] for record in found),
        "untold": [r["day"] for r in found if r["has_seen"] is None],
        "mean": {name: _mean(of) for name, of in values.items()},
    }


def _mean(values: Sequence[float]) -> dict[str, Any]:
    count = len(values)
    low = high = None
    mean = float(np.mean(values)) if count else None
    if count > 1:
        half = student_quantile(0.975, count - 1) * np.std(values, ddof=1)
        half /= np.sqrt(count)
        low, high = float(mean - half), float(mean + half)
    return {"value": mean, "low": low, "high": high, "days": count}
