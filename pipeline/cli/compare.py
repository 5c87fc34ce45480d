"""The commands `compare` and `evaluate`."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import progress
from pipeline.artifacts import json_file, layout, saved_model
from pipeline.cli import output, table
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.storage import mirror

_SIGNIFICANT = 0.05


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `compare`."""
    parser.add_argument(
        "models",
        nargs="+",
        metavar="RUN",
        help="a workspace, WORKSPACE@RUN or the folder of a SavedModel; the others are "
        "compared with the first",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help=f"where to write {layout.REPORT} and {layout.LEADERBOARD}; defaults to "
        f"WORKSPACE/{layout.COMPARISON}",
    )


def compare(args: argparse.Namespace, config: Config) -> None:
    """Prints how models do on the same test rows, the best first, and writes a page."""
    from pipeline.comparison import models
    from serving.quiet import import_tensorflow_quietly

    found = models.find(args.models)
    folder = output.folder(args.output or Path(config.workspace) / layout.COMPARISON)
    import_tensorflow_quietly()
    from pipeline.comparison.compare import compare as measure
    from pipeline.report import leaderboard as page

    with progress.showing("compare"):
        board = measure(config, found)
    json_file.write(folder / layout.LEADERBOARD, board)
    (folder / layout.REPORT).write_text(page.of_comparison(board))
    mirror.give(folder, [layout.LEADERBOARD, layout.REPORT])
    print(text(board))
    print(f"leaderboard: {folder / layout.LEADERBOARD}")
    print(f"report: {folder / layout.REPORT}")


def text(board: Mapping[str, Any]) -> str:
    """The leaderboard of a comparison as plain text."""
    from pipeline.report.leaderboard import UNFAIR, unfair, untold  # late: matplotlib

    tasks = [task["name"] for task in board["tasks"]]
    metrics = [f"{task['name']} {task['metric']}" for task in board["tasks"]]
    rows = [
        [
            f"{model['name']} {UNFAIR}" if model["has_seen_test"] else model["name"],
            model["architecture"] or "",
            *(_cell(model["tasks"].get(task)) for task in tasks),
            "" if model["parameters"] is None else f"{model['parameters']:,}",
            "" if model["seconds"] is None else f"{model['seconds']:.1f}",
        ]
        for model in board["models"]
    ]
    head = ["model", "architecture", *metrics, "parameters", "seconds"]
    lines = [
        table.text(head, rows),
        f"On {board['rows']:,} test rows. In brackets the gain over "
        f"{board['against']}, above 0 is better; * where it is no chance, with all "
        "comparisons taken together (Holm, 5 %).",
        *(f"warning: {text}" for text in unfair(board["models"])),
        *untold(board["models"]),
    ]
    return "\n".join(lines)


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "–"
    text = f"{found['value']:.4f}"
    if found["too_few"]:
        return "too few rows"
    if gain := found["gain"]:
        real = "*" if gain["p_adjusted"] < _SIGNIFICANT else ""
        ends = f"{gain['low']:+.4f} to {gain['high']:+.4f}"
        return f"{text} ({gain['value']:+.4f}{real}, {ends})"
    return text


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `evaluate`."""
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="a workspace, WORKSPACE@RUN or the folder of a SavedModel; defaults to "
        "the newest version at push.destination",
    )
    parser.add_argument(
        "--on",
        nargs="+",
        metavar="ROWS",
        help="log files to measure on, globs allowed; defaults to the test split",
    )
    parser.add_argument(
        "--output", metavar="DIR", help="where to write what the Evaluator writes"
    )


def evaluate(args: argparse.Namespace, config: Config) -> None:
    """Prints what the Evaluator says of a model."""
    from pipeline.comparison import models
    from serving.quiet import import_tensorflow_quietly

    folder = output.folder(args.output) if args.output else None
    if folder:
        if any(folder.iterdir()):
            raise PipelineError(
                f"--output: must be a new or empty folder. Received: {folder}"
            )
    if args.model:
        found = models.find([args.model])[0].path
    else:
        found = saved_model.of_pipeline(config.push.destination)
    import_tensorflow_quietly()
    from pipeline.comparison.evaluate import evaluate as measure

    is_served = args.model is None
    with progress.showing("evaluate"):
        summary = measure(config, found, args.on, folder, against_served=not is_served)
    print(f"{found} on {summary['rows']:,} rows, with 95 % intervals:")
    print("\n".join(f"  {note}" for note in summary["notes"]))
    if folder:
        mirror.give(folder, mirror.names_in(folder))
        print(f"report: {folder / layout.REPORT}")
