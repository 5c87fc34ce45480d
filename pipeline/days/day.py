"""Goes on with the logs of one day: judges the served model by them, then trains.

    1. the model that is served is measured on all rows of the day, of which it has
       learnt nothing (progressive validation);
    2. the pipeline runs on the logs of the window that ends with the day, from that
       model's weights and vocabularies; what it blesses is pushed.

A day that was stopped goes on: what is measured is not measured again, and the run
finds its stages in the cache.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline import progress, wildcards
from pipeline.artifacts import blessing, layout, pushed, saved_model
from pipeline.config import Config, dated
from pipeline.config.dated import Period
from pipeline.days import records
from pipeline.run import run_held
from pipeline.storage import mirror
from pipeline.workspace import lock as workspaces
from pipeline.workspace.metadata import Metadata
from serving.quiet import import_tensorflow_quietly

_SERVED = "served"


def run_day(
    config: Config,
    day: str,
    cache: bool = True,
    report: Callable[[str], None] = print,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Judges the served model by a day, and trains the next one on it.

    Args:
        config: The pipeline, whose `data.logs` name the day as in logs/%Y-%m-%d/*.
        day: The day, such as 2024-05-02, or the hour, such as 2024-05-02T13.
        cache: Whether a day that is complete stays as it is.
        report: Takes one line a stage.
        overrides: What the config was read with.

    Returns:
        The record of the day, see `records`.

    Raises:
        PipelineError: A stage fails; what is done stays done.
    """
    period = dated.parse(day)
    window = [period.before(i) for i in reversed(range(config.data.window))]
    of_window = _with_logs(config, window)
    rows = dated.of_periods(config.data, [period]).logs
    rows = rows if isinstance(rows, list) else sum(rows.values(), [])
    workspace = Path(config.workspace)
    with workspaces.held(workspace):
        store = workspaces.clear(workspace)
        record = records.begin(workspace, period)
        if record["state"] == records.COMPLETE and cache:
            report(f"{day} is complete already; --no-cache does it anew")
            return record
        for line in records.remarks(workspace, record):
            report(f"{'':<17}  {line}")
        base = _base(config, store, record)
        of_window = wildcards.expand(_from(of_window, base))
        folder = records.folder(workspace, day)
        if record["state"] == records.BEGUN:
            record |= _judged(of_window, base, rows, folder)
            if record["rows"]:
                report(f"{'served model':<17}{record['rows']:>12,} rows  {folder}")
            record |= {"served": base, "state": records.MEASURED}
            records.write(folder, record)
        artifacts = run_held(
            of_window, cache=cache, report=report, overrides=overrides, name=day
        )
        version = pushed.read(artifacts["pushed_model"])
        reasons = [
            reason
            for name in ("blessing", "infra_blessing")
            for reason in blessing.read(artifacts[name])
        ]
        record |= {
            "pushed": int(version.name) if version else None,
            "reasons": reasons,
            "state": records.COMPLETE,
        }
        records.write(folder, record)
        workspaces.evict(workspace, artifacts.values())
    return record


def _with_logs(config: Config, periods: Sequence[Period]) -> Config:
    data = dated.of_periods(config.data, periods)
    return config.model_copy(update={"data": data})


def _from(config: Config, base: str | None) -> Config:
    """The config that starts from a model, unless it names a folder to start from."""
    if config.train.warm_start not in (None, _SERVED):
        return config
    train = config.train.model_copy(update={"warm_start": base})
    return config.model_copy(update={"train": train})


def _base(config: Config, store: Metadata, record: dict) -> str | None:
    """The model that the day goes on from: what is served, but for the day's own."""
    served = saved_model.served(Path(config.push.destination))
    if served and served in _pushed(store, record["day"]):
        return record["served"]
    return str(served) if served else None


def _pushed(store: Metadata, day: str) -> set[Path]:
    """The versions that runs of the day have published."""
    return {
        pushed.read(mirror.pull(artifact.path))
        for run in store.runs()
        if run.name == day or run.name.startswith(f"{day}-")
        for execution in store.used(run.name)
        if execution.component == "Pusher" and execution.state == "complete"
        for artifact in store.outputs(execution.id)
        if mirror.present(artifact.path)
    }


def _judged(
    config: Config, served: str | None, rows: Sequence[str], folder: Path
) -> dict[str, Any]:
    """What a record says of the served model on the rows of the day."""
    if served is None:
        return {"not_measured": "no model is served yet"}
    import_tensorflow_quietly()
    from pipeline.comparison.evaluate import evaluate  # late, for they import Beam
    from pipeline.components.evaluator.component import Misfit

    part = folder / f"{layout.EVALUATION}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        with progress.showing("served model"):
            found = evaluate(
                config, Path(served), rows, str(part), against_served=False
            )
    except Misfit as error:
        shutil.rmtree(part, ignore_errors=True)
        return {"not_measured": str(error)}
    whole = folder / layout.EVALUATION
    shutil.rmtree(whole, ignore_errors=True)
    os.replace(part, whole)
    measured = json.loads((whole / layout.METRICS).read_text())
    return {
        "rows": found["rows"],
        "has_seen": found["has_seen_test"],
        "tasks": records.tasks(measured["results"], measured["tasks"]),
    }
