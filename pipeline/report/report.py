"""The evaluation as one HTML page that needs nothing else: no script, no network."""

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2

_SHOWN = 50  # slice values in a table; metrics.json has them all
_SOURCES = {"model": "model", "best_reachable": "best reachable"}


def render(measured: Mapping[str, Any], epochs: Sequence[Mapping[str, float]]) -> str:
    """Returns the page.

    Args:
        measured: What the Evaluator writes as metrics.json.
        epochs: The training history, one mapping of metrics an epoch; may be empty.
    """
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": number, "signed": signed}
    text = resources.files(__package__).joinpath("template.html.jinja").read_text()
    overall = {r["task"]: r for r in measured["results"] if r["slice"] == "all"}
    return environment.from_string(text).render(
        measured,
        overall=overall,
        kinds=[
            (kind, [t for t in measured["tasks"] if t["kind"] == kind])
            for kind in ("binary", "regression", "count")
        ],
        gains=_gains(measured["tasks"], overall),
        tables=[_slice_table(measured, column) for column in measured["slices"]],
        plots=[
            (task["name"], _task_plots(overall[task["name"]]))
            for task in measured["tasks"]
            if "curves" in overall.get(task["name"], {})
        ],
        history=_history_plots(epochs),
    )


def number(value: float | None, digits: int = 4) -> str:
    """A metric as text: fixed digits, and a dash for what is not defined.

    Example:
        >>> number(0.71234), number(None), number(1234567), number(0.00211)
        ('0.7123', '–', '1,234,567', '0.0021')
    """
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.{digits}f}" if abs(value) < 1000 else f"{value:,.0f}"


def signed(value: float) -> str:
    """A difference with its sign; a real minus, as wide as the plus."""
    return f"{value:+.4f}".replace("-", "−")


def _gains(tasks: Sequence[Mapping], overall: Mapping[str, Mapping]) -> list[dict]:
    """A table a kind of task: its metrics, and (task, {metric: MTL gain})."""
    tables: dict[str, list] = {}
    for task in tasks:
        gains = overall.get(task["name"], {}).get("gain", {}).get("single_task", {})
        if gain := {metric: found["value"] for metric, found in gains.items()}:
            tables.setdefault(task["kind"], []).append((task["name"], gain))
    return [
        {
            "kind": kind,
            "metrics": list(dict.fromkeys(m for _, gain in rows for m in gain)),
            "rows": rows,
        }
        for kind, rows in tables.items()
    ]


def _slice_table(measured: Mapping, column: str) -> dict:
    """One row for each value of a slice column, one record for each task in it."""
    rows: dict[str, dict[str, dict]] = {}
    for record in measured["results"]:
        if record["slice"] == column:
            rows.setdefault(record["value"], {})[record["task"]] = record
    sizes = {
        value: max(record["rows"] for record in records.values())
        for value, records in rows.items()
    }
    shown = sorted(rows, key=lambda value: (-sizes[value], value))[:_SHOWN]
    return {
        "column": column,
        "rows": [(v, sizes[v], rows[v]) for v in sorted(shown, key=_natural)],
        "hidden": len(rows) - len(shown),
    }


def _natural(value: str) -> tuple[float, str]:
    """Sorts numbers by size, and before other texts."""
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value


def _task_plots(record: Mapping) -> list[dict]:
    curves = record["curves"]
    plots = []
    roc = {_SOURCES[s]: c["roc"] for s, c in curves.items() if c.get("roc")}
    if roc:
        plots.append(
            _plot("ROC", "false positive rate", "true positive rate", roc, (0, 1, 0, 1))
        )
    bins = {
        _SOURCES[s]: [point[:2] for point in c["calibration"]]
        for s, c in curves.items()
    }
    top = max(max(point) for points in bins.values() for point in points) or 1.0
    box = (0, top, 0, top)
    plots.append(_plot("Calibration", "mean prediction", "mean label", bins, box))
    return [plot | {"diagonal": True} for plot in plots]


def _history_plots(epochs: Sequence[Mapping[str, float]]) -> list[dict]:
    """A plot for each metric of training, with its validation beside it."""
    names = [n for n in (epochs[0] if epochs else {}) if f"val_{n}" in epochs[0]]
    plots = []
    for name in names:
        lines = {
            label: [[i, epoch[key]] for i, epoch in enumerate(epochs, 1)]
            for label, key in (("valid", f"val_{name}"), ("train", name))
            if all(epoch.get(key) is not None for epoch in epochs)
        }
        values = [y for points in lines.values() for _, y in points]
        if values:
            margin = (max(values) - min(values)) * 0.05 or abs(values[0]) * 0.05 or 1.0
            box = (1, max(len(epochs), 2), min(values) - margin, max(values) + margin)
            plots.append(_plot(name, "epoch", "", lines, box) | {"diagonal": False})
    return plots


def _plot(
    title: str,
    x: str,
    y: str,
    lines: Mapping[str, Sequence[Sequence[float]]],
    box: tuple[float, float, float, float],
) -> dict:
    """A plot in the unit the template draws in: 0 to 100, y downwards."""
    left, right, bottom, top = box

    def place(point: Sequence[float]) -> tuple[str, str]:
        across = 100 * (point[0] - left) / (right - left)
        down = 100 - 100 * (point[1] - bottom) / (top - bottom)
        return f"{across:.2f}", f"{down:.2f}"

    return {
        "title": title,
        "x": x,
        "y": y,
        "ends": [f"{value:.3g}" for value in box],
        "lines": [
            (name, [place(point) for point in points]) for name, points in lines.items()
        ],
        "dots": len(next(iter(lines.values()))) <= 30,
    }
