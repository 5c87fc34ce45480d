"""Metrics beside those of other models: cells of tables, and the seesaw plot."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.report import charts, page
from pipeline.report.svg import Chart

SIGNIFICANT = 0.05  # an adjusted p below it is no chance
REFERENCES = {"baseline": "the baseline", "single_task": "single-task learning"}
_CALIBRATED = (0.9, 1.1)  # an interval wholly outside is no chance, and much
_SEESAWS = 3  # pairs of tasks


def reference(results: Iterable[Mapping]) -> str | None:
    """What gains are shown against: the baseline, else single-task learning."""
    found = {other for record in results for other in record.get("gain", {})}
    return next((other for other in REFERENCES if other in found), None)


def change(gain: Mapping | None) -> str | None:
    """Says "gains" or "loses" where a gain is significant."""
    p = gain and gain.get("p_adjusted")
    if p is None or p >= SIGNIFICANT:
        return None
    return "gains" if gain["value"] > 0 else "loses"


def cell(
    record: Mapping | None,
    metric: str,
    against: str | None,
    others: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """What a table shows of one metric of one record.

    Args:
        record: Of metrics.json; None gives None.
        metric: Its name.
        against: The source over which the gain is shown.
        others: {source: what it is called}, of which the value is shown too.
    """
    if record is None:
        return None
    gain = record.get("gain", {}).get(against, {}).get(metric)
    return {
        "rows": record["rows"],
        "too_few": record.get("too_few"),
        "value": record["model"].get(metric),
        "interval": record["model"].get("intervals", {}).get(metric),
        "gain": gain and gain["value"],
        "change": change(gain),
        "off": _off(record, metric),
        "others": [
            (called, record[source].get(metric))
            for source, called in (others or {}).items()
            if source in record
        ],
    }


def _off(record: Mapping, metric: str) -> str | None:
    """Says "low" or "high" where predictions are proven to be far from the labels."""
    ends = record["model"].get("intervals", {}).get(metric)
    if metric != "calibration" or ends is None:
        return None
    least, most = _CALIBRATED
    return "low" if ends[1] < least else "high" if ends[0] > most else None


def seesaws(
    models: Mapping[str, Mapping[str, Mapping]],
    tasks: Sequence[Mapping[str, str]],
    against: str,
    most: int = 3,
) -> list[Chart]:
    """One seesaw plot for each pair of tasks, one point a model (PLE, fig. 3).

    Args:
        models: {model: {task: its gain, {"value", "low", "high"}}}.
        tasks: {"name", "metric"} of each, the most important first.
        against: What a gain of 0 is as good as.
        most: How many plots are drawn, at most.
    """
    plots = []
    for pair in itertools.combinations(tasks, 2):
        x, y = (task["name"] for task in pair)
        points = {
            name: {"x": _ends(gains[x]), "y": _ends(gains[y])}
            for name, gains in models.items()
            if gains.get(x) and gains.get(y)
        }
        if points and len(plots) < most:
            title = f"{x} and {y} against {against}"
            axes = [f"{page.metric(t['metric'])} gain of {t['name']}" for t in pair]
            plots.append(charts.seesaw(title, *axes, points))
    return plots


def gains_of(
    overall: Mapping[str, Mapping], tasks: Sequence[Mapping[str, str]], called: str
) -> dict[str, dict[str, dict[str, Mapping]]]:
    """{reference: {model: {task: gain}}} of the one model of a metrics.json."""
    return {
        other: {
            called: {
                task["name"]: overall.get(task["name"], {})
                .get("gain", {})
                .get(other, {})
                .get(task["metric"])
                for task in tasks
            }
        }
        for other in REFERENCES
    }


def _ends(gain: Mapping) -> tuple[float, float, float]:
    low, high = gain.get("low"), gain.get("high")
    return (
        gain["value"],
        math.nan if low is None else low,
        math.nan if high is None else high,
    )
