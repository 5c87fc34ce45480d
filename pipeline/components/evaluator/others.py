"""The models that a model is compared with, and where they are found.

- the baseline: the newest version at `push.destination`, or the newest model of another
  run, whose workspace `evaluate.baseline` names;
- the single-task run, `evaluate.single_task`, for the MTL gain: the newest model of a
  workspace in which every task was learnt alone, by the architecture single_task or as
  the only task. Both runs may share a workspace, and with it the examples:

      python -m pipeline run CONFIG --set model.architecture=single_task
      python -m pipeline run CONFIG --set evaluate.single_task=WORKSPACE

All of them are measured on the same test rows in the same job.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from pipeline.artifacts import examples, layout, saved_model
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.logs.values import times
from pipeline.storage import mirror
from pipeline.workspace import lock as workspaces
from pipeline.workspace.metadata import Metadata
from pipeline.workspace.trained import trained

SERVED = "served"


def models(config: Config) -> dict[str, Path]:
    """Returns {"baseline", "single_task": SavedModel} of those that there are.

    Raises:
        PipelineError: A workspace that the config names has no such model.
    """
    found = {}
    if config.evaluate.baseline == SERVED:
        served = saved_model.served(Path(config.push.destination))
        if served:
            found["baseline"] = served
    elif config.evaluate.baseline:
        found["baseline"] = _newest(config.evaluate.baseline, "evaluate.baseline")
    if config.evaluate.single_task:
        found["single_task"] = _newest(
            config.evaluate.single_task, "evaluate.single_task", alone=True
        )
    return found


def _newest(workspace: str, key: str, alone: bool = False) -> Path:
    """The newest model that was evaluated in a workspace.

    Args:
        workspace: The folder.
        key: What names it in the config.
        alone: Whether it must have learnt each task alone.
    """
    store = Path(workspace) / layout.METADATA
    if not workspaces.has_run(store.parent):
        raise PipelineError(
            f"{key}: must be the workspace of a run. Received: "
            f"{mirror.shown(workspace)!r}, which has no {layout.METADATA}"
        )
    metadata = Metadata(store)
    measured: dict[Path, Path] = {}  # {model: the newest metrics.json}
    for execution in metadata.executions("Evaluator", state="complete"):
        artifacts = {a.name: a.path for a in metadata.outputs(execution.id)}
        artifacts |= {a.name: a.path for a in metadata.inputs(execution.id)}
        file = artifacts["evaluation"] / layout.METRICS
        if mirror.present(file.parent):
            measured.setdefault(artifacts["model"], file)
    for model in trained(metadata):
        file = measured.get(model.artifact)
        # A run is no other run of itself: what is running now does not count.
        if file is None or model.run.state == "running":
            continue
        text = (mirror.pull(file.parent) / file.name).read_text()
        if not alone or _is_alone(json.loads(text)):
            return mirror.pull(model.artifact) / layout.SERVING_MODEL
    lacking = (
        " of tasks that were learnt alone. Run it with "
        "--set model.architecture=single_task first"
    )
    raise PipelineError(
        f"{key}: workspace {workspace} has no evaluated model{lacking if alone else ''}"
    )


def _is_alone(measured: Mapping) -> bool:
    return measured["architecture"] == "single_task" or len(measured["tasks"]) == 1


def first_test_time(config: Config, test: Path) -> float | None:
    """The first time in the test split, as `times.seconds` has it.

    Args:
        config: The pipeline.
        test: The split's folder in the examples.

    Returns:
        None where the split is not by time, or there is none.
    """
    split = config.data.split
    if split.by != "time":
        return None
    batches = examples.read_batches(test, columns=[split.column])
    found = np.concatenate([times.seconds(batch.column(0)) for batch in batches])
    found = found[np.isfinite(found)]
    return float(found.min()) if len(found) else None


def has_seen_test(config: Config, first: float | None, model: Path) -> str | None:
    """Says whether a model may have learnt from rows of this run's test split.

    By its card: splits by hash keep a row on one side as long as column and shares are
    the same; of splits by time, the newest row to train or validate on must be older
    than the first test row.

    Args:
        config: This pipeline.
        first: See `first_test_time`.
        model: The SavedModel.

    Returns:
        "" if it has not, the reason if it has, None if it cannot be told.
    """
    theirs = _data(model)
    split = config.data.split
    before = theirs.get("split", {})
    if before.get("by") != split.by or before.get("column") != split.column:
        return None
    if split.by == "hash" and "train" in before:
        learnt, here = (s["train"] + s["valid"] for s in (before, split.model_dump()))
        if learnt <= here + 1e-9:
            return ""
        return (
            f"it has learnt from {learnt:.0%} of the values of {split.column!r}, this "
            f"run from {here:.0%}, so that test rows are among them"
        )
    if split.by == "time":
        parts = theirs["splits"]
        newest = [parts.get(name, {}).get("to") for name in ("train", "valid")]
        if first is None or None in newest:
            return None
        if max(newest) < first:
            return ""
        return (
            f"it has learnt from rows up to {split.column} = {_shown(max(newest))}, "
            f"and the test rows start at {_shown(first)}"
        )
    return None


def _shown(time: float) -> str:
    """A time as it stands in the logs and, if it looks like seconds, as a date."""
    if not 1e8 <= time < 1e10:
        return f"{time:.10g}"
    return f"{time:.10g} ({datetime.fromtimestamp(time, timezone.utc):%F %T} UTC)"


def _data(folder: Path) -> Mapping:
    from tfmtl import model_card  # not to load TensorFlow to plan a run

    return model_card.read(folder).get("data", {})
