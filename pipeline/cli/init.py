"""The command `init`."""

import argparse
import shlex
from pathlib import Path

from pipeline.errors import PipelineError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `init`."""
    parser.add_argument(
        "logs",
        nargs="+",
        metavar="LOGS",
        help="files of rows: CSV, JSON Lines, Parquet or TFRecord; globs allowed; "
        "tables of users or items among them are joined",
    )
    parser.add_argument(
        "--output",
        default="pipeline.yaml",
        metavar="YAML",
        help="the file to write, whose name the model gets; defaults to pipeline.yaml",
    )
    parser.add_argument(
        "--force", action="store_true", help="write over a file that is there"
    )
    parser.add_argument(
        "--workspace",
        metavar="DIR",
        help="where artifacts are to go; defaults to workspace/NAME",
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a label, instead of those that are guessed; may be repeated",
    )
    for flag, what in (
        ("--domain", "whose values are the domains"),
        ("--time", "by whose order the rows are split"),
        ("--user", "of the user's id"),
    ):
        parser.add_argument(
            flag, metavar="COLUMN", help=f"the column {what}; else it is guessed"
        )


def init(args: argparse.Namespace) -> None:
    """Looks at logs, and writes a config that runs.

    Raises:
        PipelineError: If the file is there already, or the logs cannot be used.
    """
    from pipeline.config import load
    from pipeline.init.draft import LABEL, Asked, draft
    from pipeline.init.tables import sample_joined
    from pipeline.init.text import write

    output = Path(args.output)
    if output.exists() and not args.force:
        raise PipelineError(
            f"--output: {output} is there already. Give another name, or --force"
        )
    rows = sample_joined(args.logs)
    asked = Asked(tuple(dict.fromkeys(args.label)), args.domain, args.time, args.user)
    drafted = draft(rows, asked)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(write(drafted, rows, output, args.workspace), encoding="utf-8")
    config = load(output)
    tasks = ", ".join(task.name for task in config.tasks)
    unused = [
        c.name or "a column without a name"
        for c in drafted.choices
        if c.feature is None and c.reason != LABEL
    ]
    print(f"{output}: {len(config.features)} features; tasks {tasks}")
    if unused:
        print(f"not used, the reasons are in the file: {', '.join(unused)}")
    print(
        f"next:\n  python -m pipeline run {shlex.quote(str(output))}\n"
        "  python -m serving serve "
        f"--model-base-path {shlex.quote(config.push.destination)} "
        f"--model-name {config.name} --rest-port 8501"
    )
