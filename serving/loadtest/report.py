"""A load test as one HTML page that needs nothing else: no script, no network."""

from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2
import numpy as np

from serving.loadtest.load import Load

_WINDOWS = 60  # points of a chart over time
_TAIL = [*np.linspace(0, 90, 46), *(100 - 10 ** np.linspace(1, -2, 40))]


def render(load: Load, title: str) -> str:
    """Returns the page.

    Args:
        load: Load. What came of the test.
        title: str. What was asked, such as the URL.
    """
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    text = resources.files(__package__).joinpath("report.html.jinja").read_text()
    good = load.status == 200
    charts = []
    if good.any():
        charts = [_over_time(load, good), _by_percentile(load, good)]
    charts.append(_throughput(load, good))
    return environment.from_string(text).render(
        title=title, summary=load.summary(), seconds=load.seconds, charts=charts
    )


def _over_time(load: Load, good: np.ndarray) -> dict[str, Any]:
    """Latency of the requests that were meant to start in each window."""
    edges, at = _windows(load)
    latency = 1000 * load.latency
    lines = {}
    for name, percent in (("p50", 50), ("p99", 99)):
        points = []
        for window in range(len(edges) - 1):
            values = latency[good & (at == window)]
            if len(values):
                high = np.percentile(values, percent, method="higher")
                points.append((edges[window : window + 2].mean(), high))
        lines[name] = points
    return _chart("Latency over time", "s", "ms", lines, load.seconds)


def _by_percentile(load: Load, good: np.ndarray) -> dict[str, Any]:
    """Latency by percentile; each step to the right holds a tenth of those left."""
    values = 1000 * load.latency[good]
    # No percentile that these requests cannot tell.
    percents = [p for p in _TAIL if (100 - p) * len(values) >= 100 or p <= 90]
    points = [
        (-np.log10(1 - p / 100), np.percentile(values, p, method="higher"))
        for p in percents
    ]
    chart = _chart("Latency by percentile", "", "ms", {"latency": points}, 4)
    ticks = [(0.30103, "50 %"), (1, "90 %"), (2, "99 %"), (3, "99.9 %"), (4, "99.99 %")]
    chart["x_ticks"] = [(_place(x, 4), label) for x, label in ticks]
    return chart


def _throughput(load: Load, good: np.ndarray) -> dict[str, Any]:
    edges, at = _windows(load)
    middle = (edges[:-1] + edges[1:]) / 2
    picked = {"meant": np.full(len(at), True), "good answers": good}
    if not good.all():
        picked["errors"] = ~good
    lines = {}
    for name, which in picked.items():
        rates = np.bincount(at[which], minlength=len(middle)) / (edges[1] - edges[0])
        lines[name] = list(zip(middle, rates, strict=True))
    return _chart("Requests a second, by intended start", "s", "", lines, load.seconds)


def _windows(load: Load) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the windows, and in which of them each request was meant to start."""
    count = int(np.clip(load.seconds, 10, _WINDOWS))
    edges = np.linspace(0, load.seconds, count + 1)
    at = np.searchsorted(edges, load.start, side="right") - 1
    return edges, np.clip(at, 0, count - 1)


def _chart(
    title: str,
    x_unit: str,
    y_unit: str,
    lines: dict[str, Sequence[tuple[float, float]]],
    right: float,
) -> dict[str, Any]:
    """A chart in the unit the template draws in: 100 wide, 36 high, y downwards."""
    top = _round_up(max((y for points in lines.values() for _, y in points), default=1))
    return {
        "title": title,
        "x_unit": x_unit,
        "y_unit": y_unit,
        "x_ticks": [(_place(x, right), f"{x:g}") for x in np.linspace(0, right, 5)],
        "y_ticks": [(36 - 9 * i, f"{top * i / 4:g}") for i in range(5)],
        "lines": [
            (name, [(_place(x, right), f"{36 - 36 * y / top:.2f}") for x, y in points])
            for name, points in lines.items()
        ],
    }


def _place(x: float, right: float) -> str:
    return f"{100 * x / right:.2f}"


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return next(float(f"{n * power:.6g}") for n in (1, 2, 4, 10) if n * power >= value)
