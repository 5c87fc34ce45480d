"""Command line: `python -m pipeline COMMAND`; `--help` lists the commands."""

import argparse
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import PipelineError, nearest
from serving.cli import installation

if TYPE_CHECKING:
    from pipeline.config import Config


_GOES_ON = ("run", "preprocess", "demo", "sweep")  # keep what is done
_REFUSED = 3  # the status of a run whose model is not pushed


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; what the user can mend ends in a message and status 2.

    Where all has run and the model is refused, the status is 3.
    """
    _quiet()
    try:
        parser = _parser()
        args, unknown = parser.parse_known_args(argv)
        if unknown and not hasattr(args, "runner"):  # none of Beam's
            flags = re.findall(r"--[\w-]+", args.parser.format_help())
            near = nearest(unknown[0], flags)
            args.parser.error(f"unknown arguments: {' '.join(unknown)}.{near}")
        args.beam_flags = unknown
        status = args.command(args)
    except BrokenPipeError:  # as by `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ModuleNotFoundError, PipelineError, OSError) as error:
        if isinstance(error, ModuleNotFoundError):
            error = installation.missing(error, "pipeline")
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        words = sys.argv[1:] if argv is None else argv
        goes_on = bool(words) and words[0] in _GOES_ON
        how = "the same command goes on from here" if goes_on else "run it again"
        print(f"\ninterrupted; {how}", file=sys.stderr)
        return 130
    return status or 0


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record of the root logger says what nobody else does.

    Beam warns of Google's client at every import where the extra is not there. What a
    job server tells of a job that failed is raised, too.
    """
    missing_extra = str(record.msg).startswith("apitools not found")
    return not missing_extra and record.module != "portable_runner"


def _quiet() -> None:
    """Keeps the libraries' notes to developers away from the stages' own lines."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is loaded
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    logging.getLogger().addFilter(_is_news)  # which Beam tells the root
    # What a worker logs as an error it raises, too.
    for name in ("common", "portability.local_job_service"):
        logging.getLogger(f"apache_beam.runners.{name}").setLevel(logging.CRITICAL)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _run(args: argparse.Namespace) -> int:
    from pipeline.artifacts import pushed
    from pipeline.cli import days, ending
    from pipeline.config import load
    from pipeline.run import run

    if args.day:
        if args.only or args.until:
            raise PipelineError("--day runs all stages; leave out --only and --until")
        config = load(args.config, [*args.set, *_beam(args)])
        done = days.run(config, args.day, cache=not args.no_cache, overrides=args.set)
        return 0 if done else _REFUSED
    config = _load(args, _beam(args))
    artifacts = run(
        config,
        only=args.only,
        until=args.until,
        cache=not args.no_cache,
        overrides=args.set,
    )
    if "pushed_model" not in artifacts:
        return 0
    model = pushed.read(artifacts["pushed_model"])
    if model is None:
        return _REFUSED
    print("\n" + ending.lines(config, artifacts, model.parent))
    return 0


def _preprocess(args: argparse.Namespace) -> None:
    from pipeline.run import run
    from pipeline.workspace import row_counts

    overrides = _beam(args)
    if args.input:
        # As JSON, which is YAML too: a path may have commas, colons or brackets.
        overrides += ["data.source=null", f"data.logs={json.dumps(args.input)}"]
    if args.output:
        overrides.append(f"workspace={json.dumps(args.output)}")
    config = _load(args, overrides)
    artifacts = run(
        config, until="Transform", cache=not args.no_cache, overrides=args.set
    )
    print(row_counts.summary(Path(config.workspace), artifacts))


def _beam(args: argparse.Namespace) -> list[str]:
    """Overrides of the section `beam`, from the command line."""
    overrides = []
    if args.beam_flags:
        from pipeline.beam.runner import check_flags

        check_flags(args.beam_flags, args.runner)
        overrides.append(f"beam.flags={json.dumps(args.beam_flags)}")
    if getattr(args, "runner", None):
        overrides.append(f"beam.runner={args.runner}")
    return overrides


def _load(
    args: argparse.Namespace, overrides: Sequence[str] = (), record: bool = True
) -> "Config":
    from pipeline import config, wildcards

    return wildcards.expand(config.load(args.config, [*args.set, *overrides]), record)


def _demo(args: argparse.Namespace) -> None:
    from pipeline.demo import demo

    demo(_load(args))


def _parser() -> argparse.ArgumentParser:
    # Here, so that `main` can say what is missing.
    from pipeline.cli import (
        check,
        compare,
        fuse,
        gc,
        init,
        predict,
        runs,
        schema,
        sweep,
    )

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
        sub.set_defaults(command=function, parser=sub)
        return sub

    for name, add_arguments, function, help_ in (
        (
            "init", init.add_arguments, init.init,
            "look at logs, and write a config that runs",
        ),
        (
            "schema", schema.add_arguments, schema.schema,
            "print every key that a config may have, for editors or as a page",
        ),
    ):  # fmt: skip
        sub = commands.add_parser(name, help=help_, description=help_)
        add_arguments(sub)
        sub.set_defaults(command=function, parser=sub)
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
    run.add_argument(
        "--day",
        metavar="DAY",
        help="go on with the logs of a day, 2024-05-02, or an hour, 2024-05-02T13: "
        "measure the served model on them, then train from it",
    )
    preprocess = command(
        "preprocess",
        _preprocess,
        "the Beam job alone: logs to TFRecords; other flags go to Beam",
    )
    preprocess.add_argument("--input", nargs="+", help="log files, globs allowed")
    preprocess.add_argument("--output", help="the workspace to write to")
    for sub in (run, preprocess):
        sub.add_argument("--runner", help="a Beam runner; defaults to this process")
        sub.add_argument(
            "--no-cache", action="store_true", help="run again what has not changed"
        )
    command("demo", _demo, "run all stages, serve the model and ask it once")
    for name, add_arguments, function, help_ in (
        (
            "check", check.add_arguments, check.check,
            "say all that can be wrong with a config and its logs, before any work",
        ),
        (
            "predict", predict.add_arguments, predict.predict,
            "score files of rows with the served model; other flags go to Beam",
        ),
        (
            "fuse", fuse.add_arguments, fuse.fuse,
            "choose export.fused_score for a goal, on the valid split",
        ),
        ("runs", runs.add_runs, runs.runs, "list the runs of a workspace"),
        (
            "lineage", runs.add_lineage, runs.lineage,
            "show what an artifact was made from, and what was made from it",
        ),
        ("gc", gc.add_arguments, gc.gc, "delete what no run needs any more"),
        (
            "compare", compare.add_compare, compare.compare,
            "measure models on the same test rows, and compare them with the first",
        ),
        (
            "evaluate", compare.add_evaluate, compare.evaluate,
            "measure a model on the test split, or on other rows",
        ),
        (
            "sweep", sweep.add_arguments, sweep.sweep,
            "train architectures x points of a search space x seeds, and choose",
        ),
    ):  # fmt: skip
        # `check` leaves no workspace behind.
        add_arguments(command(name, _of(function, record=name != "check"), help_))
    return parser


def _of(
    function: "Callable[[argparse.Namespace, Config], None]", record: bool
) -> Callable[[argparse.Namespace], None]:
    """A command that takes the config, too."""
    return lambda args: function(args, _load(args, _beam(args), record))


if __name__ == "__main__":
    sys.exit(main())
