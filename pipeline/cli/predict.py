"""The command `predict`."""

import argparse
import time

from pipeline import progress
from pipeline.artifacts import layout
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.storage import mirror


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `predict`."""
    parser.add_argument(
        "--input",
        nargs="+",
        required=True,
        metavar="ROWS",
        help="files of rows in any format that `data` reads, without labels; globs "
        "allowed",
    )
    parser.add_argument(
        "--output", required=True, metavar="SCORES", help="a new or empty folder"
    )
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="a SavedModel, a Trainer's model or a model base path; defaults to the "
        "newest version at push.destination",
    )
    parser.add_argument(
        "--keep",
        metavar="COLUMNS",
        help="what to write beside the scores: user_id,request_id or, under another "
        "name, label=click; defaults to all columns of one value a row that are not "
        "called like an output",
    )
    parser.add_argument(
        "--format",
        choices=("parquet", "csv", "tfrecord"),
        default="parquet",
        help="of the scores; defaults to parquet",
    )
    parser.add_argument("--runner", help="a Beam runner; defaults to this process")


def predict(args: argparse.Namespace, config: Config) -> None:
    """Scores files of rows."""
    from pipeline.components.bulk_inferrer.component import bulk_inferrer
    from serving.quiet import import_tensorflow_quietly

    keep = None
    if args.keep is not None:
        names = [name.rpartition("=") for name in args.keep.split(",") if name]
        keep = {new or name: name for new, _, name in names}
        if len(keep) < len(names):
            raise PipelineError(f"--keep: two columns of one name. Received: {keep}")
    import_tensorflow_quietly()
    output = mirror.place(args.output)
    if not mirror.is_empty(output):
        raise PipelineError(
            f"the scores need a folder of their own. Received: {args.output}, which is "
            "not empty. Name another, or remove it"
        )
    started = time.monotonic()
    with progress.showing("predict"):
        found = bulk_inferrer(
            config,
            args.input,
            output,
            mirror.place(args.model) if args.model else None,
            keep,
            args.format,
        )
        mirror.hand_over(output, last=layout.SUMMARY)
    seconds = time.monotonic() - started
    print(
        f"rows in {found['rows_in']:,} = scored {found['scored']:,} + dead "
        f"{found['dead']:,}; {seconds:.1f} s, {found['rows_in'] / seconds:,.0f} rows/s"
    )
    print(f"{', '.join(found['outputs'])} by {found['model']}: {args.output}")
    for note in found["notes"]:
        print(note)
