"""The commands `runs` and `lineage`."""

import argparse
import datetime
import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.artifacts import blessing
from pipeline.cli import table
from pipeline.cli.differences import differences
from pipeline.config import Config
from pipeline.storage import mirror
from pipeline.workspace import lineage as graph
from pipeline.workspace.lock import metadata
from pipeline.workspace.metadata import Execution, Metadata, Run

_LONG = 60  # characters of a difference


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `runs`."""
    parser.add_argument(
        "--executions",
        action="store_true",
        help="list the executions of all components instead, the newest first",
    )


def runs(args: argparse.Namespace, config: Config) -> None:
    """Prints a line a run, the newest first, or a line an execution."""
    store = metadata(Path(config.workspace))
    if args.executions:
        for execution in store.executions():
            print(_execution(execution))
        return
    all_runs = [(run, store.used(run.name)) for run in store.runs()]
    # Those of data alone, as a comparison needs, have nothing to compare.
    shown = [(run, used) for run, used in all_runs if not _has_no_model(run, used)]
    found, used = [run for run, _ in shown], [used for _, used in shown]
    measured = [_measured(_summary(of, "Evaluator")) for of in used]
    tasks = list(dict.fromkeys(task for of in measured for task in of))
    head = ["run", "started", "seconds", "state", "architecture", *tasks]
    rows = []
    for run, executions, metrics in zip(found, used, measured, strict=True):
        started = datetime.datetime.fromtimestamp(run.started)
        rows.append(
            [
                run.name,
                f"{started:%Y-%m-%d %H:%M:%S}",
                "" if run.seconds is None else f"{run.seconds:.1f}",
                run.state,
                run.config.get("model", {}).get("architecture", ""),
                *(metrics.get(task, "–") for task in tasks),
                "; ".join(_verdict(store, run, executions)),
                " ".join(_different(run, config)),
            ]
        )
    print(table.text([*head, "blessed", "differs from the config by"], rows))
    if more := len(all_runs) - len(shown):
        print(
            f"{more} more made data alone, for a comparison or by --until; "
            "see --executions"
        )


def _has_no_model(run: Run, executions: list[Execution]) -> bool:
    """Whether a run has ended well before there was a model."""
    components = {execution.component for execution in executions}
    # Of an older store, it is not known what a run was for.
    if run.state != "complete" or not run.config:
        return False
    return not components & {"Trainer", "Evaluator"}


def _execution(execution: Execution) -> str:
    started = datetime.datetime.fromtimestamp(execution.started)
    seconds = f"{execution.seconds:8.1f} s" if execution.seconds else " " * 10
    return (
        f"{execution.id:>4}  {execution.run}  {execution.component:<17}"
        f"{execution.state:<9}{started:%Y-%m-%d %H:%M:%S}{seconds}  "
        f"{execution.summary.get('reason', '')}"
    ).rstrip()


def _summary(executions: list[Execution], component: str) -> dict:
    """The summary of a run's last execution of a component; empty without one."""
    of = [e for e in executions if e.component == component and e.state == "complete"]
    return of[-1].summary if of else {}


def _verdict(store: Metadata, run: Run, executions: list[Execution]) -> Iterator[str]:
    """Whether the run's model is blessed, or the first reason why it is not."""
    if run.reason:
        yield _short(f"failed: {run.reason.splitlines()[0]}")
    for execution in executions:
        if execution.component != "Evaluator" or execution.state != "complete":
            continue
        folders = {a.name: a.path for a in store.outputs(execution.id)}
        if execution.summary.get("blessed"):
            yield "blessed"
        elif mirror.present(folders["blessing"]):
            first, *more = blessing.read(mirror.pull(folders["blessing"]))
            yield _short(f"no: {first}") + (f" (and {len(more)} more)" if more else "")
        else:
            yield "no"


def _different(run: Run, config: Config) -> Iterator[str]:
    if run.config:
        for difference in differences(run.config, config.model_dump(mode="json")):
            yield _short(difference)


def _short(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def _measured(summary: dict) -> dict[str, str]:
    """{task: its metric as text} of an Evaluator's summary."""
    shown = {
        task: "–" if value is None else f"{value:.4f}"
        for task, value in summary.get("metrics", {}).items()
    }
    return shown | dict.fromkeys(summary.get("too_few", ()), "too few")


def add_lineage(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `lineage`."""
    parser.add_argument("artifact", help="its directory, as `run` printed it")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def lineage(args: argparse.Namespace, config: Config) -> None:
    """Prints what an artifact was made from, and what was made from it."""
    store, path = metadata(Path(config.workspace)), mirror.place(args.artifact)
    if args.json:
        print(json.dumps(graph.as_json(store, path), indent=1))
    else:
        print("\n".join(graph.tree(store, path)))
