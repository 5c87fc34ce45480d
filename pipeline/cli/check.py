"""The command `check`."""

import argparse

from pipeline import progress
from pipeline.config import Config
from pipeline.errors import PipelineError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `check`."""
    parser.add_argument(
        "--rows",
        type=int,
        default=100_000,
        metavar="N",
        help="about how many rows of each log to look at; defaults to 100000",
    )


def check(args: argparse.Namespace, config: Config) -> None:
    """Prints what can be wrong with a config and its logs.

    Raises:
        PipelineError: With what would stop a run.
    """
    from serving.quiet import import_tensorflow_quietly

    if args.rows < 1:
        raise PipelineError(f"--rows: must be 1 or more. Received: {args.rows}")
    import_tensorflow_quietly()
    from pipeline import check as checks

    with progress.showing("check"):
        found = checks.check(config, args.rows)
    for warning in found.warnings:
        print(f"warning: {warning}")
    for note in found.notes:
        print(note)
    if found.errors:
        raise PipelineError("\n".join(found.errors))
    print("nothing that would stop a run was found")
