"""The page over the days: what the model that was served got on each."""

from collections.abc import Mapping
from typing import Any

from pipeline.report import charts, page
from pipeline.report.leaderboard import cell
from pipeline.report.svg import Chart

_MARKED = 30  # days up to which each point of a line is marked


def render(board: Mapping[str, Any]) -> str:
    """The page.

    Args:
        board: What `days.records.board` returns.
    """
    tasks, days = board["tasks"], board["days"]
    return page.render(
        "days",
        title=f"{board['pipeline']}: {len(days)} days",
        tasks=tasks,
        missing=board["missing"],
        untold=board["untold"],
        charts=[chart for task in tasks for chart in _chart(task, days)],
        means=[cell(_alone(board["mean"][task["name"]])) for task in tasks],
        rows=[
            {
                **day,
                "version": version(day),
                "cells": [cell(_alone(day["tasks"].get(t["name"]))) for t in tasks],
            }
            for day in reversed(days)
        ],
    )


def version(record: Mapping[str, Any]) -> str:
    """What the model is called that was served on a day.

    Example:
        >>> version({"served": "models/feed/7"})
        '7'
    """
    return record["served"].rpartition("/")[2] if record["served"] else "–"


def _alone(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A task's metric that is compared with no other."""
    return found and {"too_few": None, **found, "gain": None}


def _chart(task: Mapping[str, str], days: list[Mapping[str, Any]]) -> list[Chart]:
    """The metric by day, with the ends of its interval."""
    found = [day["tasks"].get(task["name"]) or {} for day in days]
    series = {
        called: page.finite([(i, of.get(key)) for i, of in enumerate(found, start=1)])
        for key, called in (("value", "metric"), ("low", "low"), ("high", "high"))
    }
    if not series["metric"]:
        return []
    metric = page.metric(task["metric"])
    return [
        charts.lines(
            f"{task['name']}: {metric}",
            f"day, 1 is {days[0]['day']}",
            metric,
            {called: points for called, points in series.items() if points},
            whole=True,
            markers=len(days) <= _MARKED,
        )
    ]
