"""The command `gc`."""

import argparse
from pathlib import Path

from pipeline.cli import table
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.storage import mirror
from pipeline.workspace import gc as garbage
from pipeline.workspace.lock import held, metadata, unread


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gc`."""
    parser.add_argument(
        "--keep",
        type=int,
        default=3,
        metavar="N",
        help="the newest complete runs that are kept; defaults to 3",
    )
    parser.add_argument(
        "--delete", action="store_true", help="delete it, not only say what would be"
    )


def gc(args: argparse.Namespace, config: Config) -> None:
    """Prints what no run needs any more, and deletes it if told to."""
    if args.keep < 1:
        raise PipelineError(f"--keep: must be 1 or more. Received: {args.keep}")
    workspace = Path(config.workspace)
    metadata(workspace)
    with held(workspace), unread(workspace):
        found = garbage.find(workspace, args.keep)
        rows = [[mirror.shown(g.path), table.megabytes(g.size), g.why] for g in found]
        if found:
            print(table.text(["folder", "size", "what it is"], rows))
        if args.delete:
            garbage.delete(found)
    total = table.megabytes(sum(g.size for g in found))
    if not found:
        print("nothing to delete")
    elif args.delete:
        print(f"deleted {len(found)} folders, {total}")
    else:
        print(f"{len(found)} folders, {total}; --delete deletes them")
