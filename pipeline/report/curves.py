"""Charts of what a model predicts, and of how it learnt."""

from collections.abc import Mapping, Sequence

from pipeline.report import charts
from pipeline.report.page import finite, words
from pipeline.report.svg import Chart
from tfmtl.metrics import exact

_MARKED = 30  # points of a line, up to which each is marked


def predictions(record: Mapping) -> list[Chart]:
    """ROC, precision-recall and calibration plot of a task.

    Args:
        record: Of all rows; without "curves", there is nothing to draw.
    """
    curves, plots = record.get("curves", {}), []
    if not curves:
        return plots
    task = record["task"]
    roc = {words(s): finite(c["roc"]) for s, c in curves.items() if c.get("roc")}
    if roc:
        box = (0, 1, 0, 1)
        plots.append(
            charts.lines(
                f"{task}: ROC",
                "false positive rate",
                "true positive rate",
                roc,
                diagonal=True,
                box=box,
            )
        )
        rate = record["mean_label"]
        precision = {
            s: exact.precision_recall(points, rate) for s, points in roc.items()
        }
        # The first points are of a few rows and jump.
        top = max(p for points in precision.values() for _, p in points[1:] or points)
        plots.append(
            charts.lines(
                f"{task}: precision and recall",
                f"recall (share of positives: {rate:.3g})",
                "precision",
                precision,
                box=(0, 1, 0, min(1.0, top * 1.05)),
            )
        )
    bins = {
        words(s): finite([point[:2] for point in c["calibration"]])
        for s, c in curves.items()
        if c.get("calibration")
    }
    if any(bins.values()):
        values = [v for points in bins.values() for point in points for v in point]
        low, top = min(0.0, *values), max(values) * 1.05 or 1.0
        plots.append(
            charts.lines(
                f"{task}: calibration",
                "mean prediction of a tenth of the rows",
                "mean label",
                bins,
                diagonal=True,
                markers=True,
                box=(low, top, low, top),
            )
        )
    return plots


def learning(
    epochs: Sequence[Mapping[str, float]], tasks: Sequence[str]
) -> list[tuple[str, list[Chart]]]:
    """The training history: of the whole, of each task, and the loss weights.

    Args:
        epochs: {metric: value} of each epoch.
        tasks: Names of the tasks.

    Returns:
        (heading, charts) of what the history has.
    """
    weights = {f"{task}_weight": task for task in tasks}
    names = dict.fromkeys(
        name.removeprefix("val_")
        for epoch in epochs
        for name in epoch
        if name not in weights and name != "learning_rate" and "=" not in name
    )
    groups: dict[str, list[Chart]] = {"All tasks": []}
    for name in sorted(names, key=lambda n: (not n.endswith("loss"), n)):
        # The longest: one task may be called as another one and a word more.
        of = [task for task in tasks if name.startswith(f"{task}_")]
        task = max(of, key=len, default=None)
        series = {
            "train": _line(epochs, name),
            "valid": _line(epochs, f"val_{name}"),
        }
        series = {called: points for called, points in series.items() if points}
        if series:
            metric = words(name if task is None else name.removeprefix(f"{task}_"))
            title = metric if task is None else f"{task}: {metric}"
            groups.setdefault(task or "All tasks", []).append(
                _by_epoch(title, metric, series)
            )
    of_tasks = {task: _line(epochs, key) for key, task in weights.items()}
    of_tasks = {task: points for task, points in of_tasks.items() if points}
    if of_tasks:
        groups["All tasks"].append(_by_epoch("Loss weights", "weight", of_tasks))
    order = ["All tasks", *tasks]
    return [(key, groups[key]) for key in order if groups.get(key)]


def _by_epoch(title: str, y: str, series: Mapping[str, Sequence]) -> Chart:
    longest = max(map(len, series.values()))
    return charts.lines(
        title, "epoch", y, series, whole=True, markers=longest <= _MARKED
    )


def _line(epochs: Sequence[Mapping], key: str) -> list[Sequence[float]]:
    return finite([(i, epoch.get(key)) for i, epoch in enumerate(epochs, start=1)])
