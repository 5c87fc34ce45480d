"""The command `sweep`."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from pipeline.cli import table
from pipeline.config.load import read_yaml
from pipeline.errors import PipelineError
from serving.cli import installation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `sweep`."""
    parser.add_argument(
        "--sweep",
        action="append",
        dest="set",
        type=section,
        metavar="YAML",
        help="a file with what the section `sweep` may have, instead of that section",
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="trainings at a time"
    )
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="what each may take, such as 4GB; one that takes more is ended, and fails",
    )


def section(file: str) -> str:
    """A file with the section as what `--set` would say."""
    return f"sweep={json.dumps(read_yaml(file))}"


def sweep(args: argparse.Namespace, config: Any) -> None:
    """Trains all models of the sweep and prints the leaderboard."""
    from pipeline.sweep import processes
    from serving.quiet import import_tensorflow_quietly

    if args.jobs < 1:
        raise PipelineError(f"--jobs: must be 1 or more. Received: {args.jobs}")
    memory = processes.size(args.memory) if args.memory else None
    import_tensorflow_quietly()
    try:
        from pipeline.sweep.sweep import sweep as run  # it loads Optuna
    except ModuleNotFoundError as error:
        raise PipelineError(installation.missing(error, "sweep")) from error

    board = run(config, args.jobs, memory)
    print()
    print(text(board))


def shown(point: Mapping[str, Any]) -> str:
    """A point of the search space as text.

    Example:
        >>> shown({"train.learning_rate": 0.00258817, "train.batch_size": 512})
        'train.learning_rate=0.002588 train.batch_size=512'
    """
    from pipeline.report.leaderboard import value  # late: it loads matplotlib

    return " ".join(f"{key}={value(of_key)}" for key, of_key in point.items())


def text(board: Mapping[str, Any]) -> str:
    """The leaderboard as plain text: chosen models with the test split, then others."""
    from pipeline.report.leaderboard import deleted  # late: it loads matplotlib

    tasks = [task["name"] for task in board["tasks"]]
    metrics = [f"{task['name']} {task['metric']}" for task in board["tasks"]]
    head = ["model", board["monitor"], *metrics, "parameters", "seconds", "with"]
    rows = [
        [
            model["name"],
            _interval(model["value"]),
            *(_on_test(model.get("test", {}).get(task)) for task in tasks),
            f"{model['parameters']:,}",
            f"{model['seconds']:.1f}",
            shown(model["point"]),
        ]
        for model in sorted(board["models"], key=lambda m: not m["chosen"])
    ]
    lines = [table.text(head, rows)]
    seeds = len(board["seeds"])
    over = f", means over {seeds} seeds and" if seeds > 1 else ", with"
    lines.append(
        f"{board['monitor']} is of the validation split, by which the best of each "
        f"architecture is chosen; the tasks' metrics are of the test split{over} 95 % "
        "intervals."
    )
    lines += deleted([m for m in board["models"] if m["chosen"]])
    lines += [f"failed: {f['name']} seed {f['seed']}: {f['error']}"
              for f in board["failed"]]  # fmt: skip
    return "\n".join(lines)


def _on_test(found: Mapping[str, Any] | None) -> str:
    """A metric of the test split: its interval over seeds, of one seed by the rows."""
    if found and found["too_few"]:
        return "too few rows"
    if found and len(found["values"]) == 1 and found["of_rows"][0]:
        low, high = found["of_rows"][0]
        return _interval({**found, "low": low, "high": high})
    return _interval(found)


def _interval(found: Mapping[str, Any] | None) -> str:
    if not found or found["mean"] is None:
        return "–"
    if found["low"] is None:
        return f"{found['mean']:.4f}"
    return f"{found['mean']:.4f} ({found['low']:.4f} to {found['high']:.4f})"
