"""Command line: python -m pipeline run|preprocess|predict|demo|runs|lineage ..."""

import argparse
import datetime
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts import layout
from pipeline.errors import PipelineError
from serving.cli import installation

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.metadata import Metadata


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; what the user can mend ends in a message and status 2."""
    args, unknown = _parser().parse_known_args(argv)
    if unknown and args.command not in (_run, _preprocess, _predict):
        _parser().error(f"unknown arguments: {' '.join(unknown)}")
    args.beam_flags = unknown
    _quiet()
    try:
        args.command(args)
    except BrokenPipeError:  # as by `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ModuleNotFoundError, PipelineError, OSError) as error:
        if isinstance(error, ModuleNotFoundError):
            error = installation.missing(error, "pipeline")
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _quiet() -> None:
    """Keeps the libraries' notes to developers away from the stages' own lines."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is loaded
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    # What a worker logs as an error it raises, too.
    for name in ("common", "portability.local_job_service"):
        logging.getLogger(f"apache_beam.runners.{name}").setLevel(logging.CRITICAL)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _run(args: argparse.Namespace) -> None:
    from pipeline.run import run

    config = _load(args, _beam(args))
    run(config, only=args.only, until=args.until, cache=not args.no_cache)


def _preprocess(args: argparse.Namespace) -> None:
    from pipeline.artifacts import row_counts
    from pipeline.run import run

    overrides = _beam(args)
    if args.input:
        # As JSON, which is YAML too: a path may have commas, colons or brackets.
        overrides += ["data.source=null", f"data.logs={json.dumps(args.input)}"]
    if args.output:
        overrides.append(f"workspace={json.dumps(args.output)}")
    config = _load(args, overrides)
    artifacts = run(config, until="Transform", cache=not args.no_cache)
    print(row_counts.summary(Path(config.workspace), artifacts))


def _predict(args: argparse.Namespace) -> None:
    from pipeline.components.bulk_inferrer.component import bulk_inferrer
    from serving.quiet import import_tensorflow_quietly

    keep = None
    if args.keep is not None:
        names = [name.rpartition("=") for name in args.keep.split(",") if name]
        keep = {new or name: name for new, _, name in names}
        if len(keep) < len(names):
            raise PipelineError(f"--keep: two columns of one name. Received: {keep}")
    config = _load(args, _beam(args))
    import_tensorflow_quietly()
    started = time.monotonic()
    found = bulk_inferrer(
        config,
        args.input,
        Path(args.output),
        Path(args.model) if args.model else None,
        keep,
        args.format,
    )
    seconds = time.monotonic() - started
    print(
        f"rows in {found['rows_in']:,} = scored {found['scored']:,} + dead "
        f"{found['dead']:,}; {seconds:.1f} s, {found['rows_in'] / seconds:,.0f} rows/s"
    )
    print(f"{', '.join(found['outputs'])} by {found['model']}: {args.output}")
    for note in found["notes"]:
        print(note)


def _beam(args: argparse.Namespace) -> list[str]:
    """Overrides of the section `beam`, from the command line."""
    overrides = []
    if args.beam_flags:
        from pipeline.beam.runner import check_flags

        check_flags(args.beam_flags, args.runner)
        overrides.append(f"beam.flags={json.dumps(args.beam_flags)}")
    if args.runner:
        overrides.append(f"beam.runner={args.runner}")
    return overrides


def _load(args: argparse.Namespace, overrides: Sequence[str] = ()) -> "Config":
    from pipeline import config

    return config.load(args.config, [*args.set, *overrides])


def _demo(args: argparse.Namespace) -> None:
    from pipeline.demo import demo

    demo(_load(args))


def _fuse(args: argparse.Namespace) -> None:
    from pipeline.cli.fuse import fuse

    fuse(args, _load(args))


def _runs(args: argparse.Namespace) -> None:
    for execution in _store(args).executions():
        started = datetime.datetime.fromtimestamp(execution.started)
        seconds = f"{execution.seconds:8.1f} s" if execution.seconds else " " * 10
        print(
            f"{execution.id:>4}  {execution.run}  {execution.component:<17}"
            f"{execution.state:<9}{started:%Y-%m-%d %H:%M:%S}{seconds}  "
            f"{execution.summary.get('reason', '')}".rstrip()
        )


def _lineage(args: argparse.Namespace) -> None:
    from pipeline.config import nearest

    store = _store(args)
    producers = {
        str(artifact.path): execution
        for execution in store.executions(state="complete")
        for artifact in store.outputs(execution.id)
    }

    def show(path, depth):
        print(f"{'  ' * depth}{path}  <- {producers[path].component}")
        for source in store.inputs(producers[path].id):
            show(str(source.path), depth + 1)

    path = str(Path(args.artifact))
    if path not in producers:
        hint = nearest(path, sorted(producers))
        raise PipelineError(f"{path} is no artifact of this workspace.{hint}")
    show(path, 0)


def _store(args: argparse.Namespace) -> "Metadata":
    from pipeline.metadata import Metadata

    path = Path(_load(args).workspace) / layout.METADATA
    if not path.is_file():
        raise PipelineError(f"nothing has run yet: {path} does not exist")
    return Metadata(path)


def _parser() -> argparse.ArgumentParser:
    from pipeline.cli import fuse

    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        description="From behaviour logs to a served multi-task model.",
    )
    parser.add_argument("--version", action="version", version=installation.version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, function, help_):
        sub = commands.add_parser(name, help=help_, description=help_)
        sub.add_argument("config", help="the pipeline's YAML file")
        sub.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="override a key of the YAML, such as train.epochs=1; may be repeated",
        )
        sub.set_defaults(command=function)
        return sub

    run = command(
        "run",
        _run,
        "run all stages, from the cache where nothing changed; other flags go to Beam",
    )
    run.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="COMPONENT",
        help="run this component alone, on what earlier runs wrote; may be repeated",
    )
    run.add_argument("--until", metavar="COMPONENT", help="stop after this component")
    preprocess = command(
        "preprocess",
        _preprocess,
        "the Beam job alone: logs to TFRecords; other flags go to Beam",
    )
    preprocess.add_argument("--input", nargs="+", help="log files, globs allowed")
    preprocess.add_argument("--output", help="the workspace to write to")
    predict = command(
        "predict",
        _predict,
        "score files of rows with the served model; other flags go to Beam",
    )
    predict.add_argument(
        "--input",
        nargs="+",
        required=True,
        metavar="ROWS",
        help="files of rows in any format that `data` reads, without labels; globs "
        "allowed",
    )
    predict.add_argument(
        "--output", required=True, metavar="SCORES", help="a new or empty folder"
    )
    predict.add_argument(
        "--model",
        metavar="DIR",
        help="a SavedModel, a Trainer's model or a model base path; defaults to the "
        "newest version at push.destination",
    )
    predict.add_argument(
        "--keep",
        metavar="COLUMNS",
        help="what to write beside the scores: user_id,request_id or, under another "
        "name, label=click; defaults to all columns of one value a row that are not "
        "called like an output",
    )
    predict.add_argument(
        "--format",
        choices=("parquet", "csv", "tfrecord"),
        default="parquet",
        help="of the scores; defaults to parquet",
    )
    for sub in (run, preprocess, predict):
        sub.add_argument("--runner", help="a Beam runner; defaults to this process")
    for sub in (run, preprocess):
        sub.add_argument(
            "--no-cache", action="store_true", help="run again what has not changed"
        )
    command("demo", _demo, "run all stages, serve the model and ask it once")
    fuse.add_arguments(
        command(
            "fuse",
            _fuse,
            "choose export.fused_score for a goal, on the valid split",
        )
    )
    command("runs", _runs, "list the executions of a workspace")
    lineage = command("lineage", _lineage, "show what an artifact was made from")
    lineage.add_argument("artifact", help="its directory, as `run` printed it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
