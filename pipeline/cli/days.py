"""`run --day`: one day of continued training, and the report over the days."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.artifacts import json_file, layout
from pipeline.cli import table
from pipeline.config import Config
from pipeline.storage import mirror


def run(
    config: Config, day: str, cache: bool = True, overrides: Sequence[str] = ()
) -> bool:
    """Goes on with a day; prints the days and writes their page.

    Returns:
        Whether the day's model was pushed.
    """
    from pipeline.comparison.compare import tasks_of  # late, for they import Beam
    from pipeline.days import day as days
    from pipeline.days import records
    from pipeline.report import days as page

    record = days.run_day(config, day, cache=cache, overrides=overrides)
    board = records.board(config, tasks_of(config))
    folder = Path(config.workspace) / layout.DAYS
    json_file.write(folder / layout.DAYS_FOUND, board)
    (folder / layout.REPORT).write_text(page.render(board))
    mirror.give(folder, [layout.DAYS_FOUND, layout.REPORT])
    print(f"\n{text(board)}\nreport: {folder / layout.REPORT}")
    return record["pushed"] is not None


def text(board: Mapping[str, Any]) -> str:
    """The report over days as plain text."""
    from pipeline.report.days import version  # late, for it imports matplotlib

    tasks = board["tasks"]
    rows = [
        [
            record["day"] + (" †" if record["after"] or record["has_seen"] else ""),
            version(record),
            f"{record['rows']:,}" if record["rows"] is not None else "–",
            *(_cell(record["tasks"].get(task["name"])) for task in tasks),
            _became(record),
        ]
        for record in board["days"]
    ]
    means = [_cell(board["mean"][task["name"]]) for task in tasks]
    head = ["day", "served", "rows", *(f"{t['name']} {t['metric']}" for t in tasks)]
    lines = [
        table.text([*head, "became"], [*rows, ["mean", "", "", *means, ""]]),
        "The served model on all rows of the day, before the training on them, with "
        "95 % intervals; the mean is over the days without †.",
    ]
    if board["missing"]:
        lines.append(f"Not trained on: {', '.join(board['missing'])}.")
    if board["untold"]:
        lines.append(
            "Whether the model had learnt from the rows of "
            f"{', '.join(board['untold'])} cannot be told: it can be where all are "
            "split by the same time."
        )
    lines += [
        f"{record['day']}: {why}"
        for record in board["days"]
        for why in (
            record["not_measured"],
            record["has_seen"] and f"† {record['has_seen']}",
            record["after"] and f"† it came after {record['after']}",
        )
        if why
    ]
    return "\n".join(lines)


def _became(record: Mapping[str, Any]) -> str:
    if record["state"] != "complete":
        return "not complete"
    return "refused" if record["pushed"] is None else str(record["pushed"])


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "–"
    if found.get("too_few"):
        return "too few rows"
    if found["low"] is None:
        return f"{found['value']:.4f}"
    return f"{found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f})"
