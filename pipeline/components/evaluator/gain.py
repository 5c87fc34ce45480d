"""MTL gain: what learning together has brought each task, against a run of it alone.

The other run's Evaluator has written metrics.json. `evaluate.single_task` names that
file, or the workspace of the run: the newest evaluation there counts in which every
task was learnt alone, by the architecture single_task or as the only task. So both
runs may share a workspace, and with it the examples:

    python -m pipeline run CONFIG --set model.architecture=single_task
    python -m pipeline run CONFIG --set evaluate.single_task=WORKSPACE
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.artifacts import layout
from pipeline.errors import PipelineError
from pipeline.metadata import Metadata

_NOT_COMPARED = ("invalid", "mean")
_KEY = "evaluate.single_task"


def metrics_file(path: str) -> Path:
    """Finds the metrics.json of the single-task run.

    Args:
        path: The file itself, or the workspace of the run.

    Raises:
        PipelineError: There is none.
    """
    if Path(path).is_file():
        return Path(path)
    store = Path(path) / layout.METADATA
    if not store.is_file():
        raise PipelineError(
            f"{_KEY}: must be a {layout.METRICS} or a workspace. Received: {path!r}"
        )
    metadata = Metadata(store)
    for execution in metadata.executions("Evaluator", state="complete"):
        for artifact in metadata.outputs(execution.id):
            file = artifact.path / layout.METRICS
            if file.is_file() and _is_alone(json.loads(file.read_text())):
                return file
    raise PipelineError(
        f"{_KEY}: workspace {path} has no evaluation of tasks that were learnt alone. "
        "Run it with --set model.architecture=single_task first"
    )


def _is_alone(measured: Mapping) -> bool:
    return measured["architecture"] == "single_task" or len(measured["tasks"]) == 1


def add(results: Sequence[dict], file: Path) -> None:
    """Adds "gain", {metric: gain}, to the records that the other run has, too.

    A gain above 0 is good, whatever the metric: see `tfmtl.metrics.exact.mtl_gain`.

    Args:
        results: The records of a metrics.json.
        file: The metrics.json of the single-task run.

    Raises:
        PipelineError: If the runs have no task in common, or other test rows.
    """
    from tfmtl.metrics import exact  # not to load TensorFlow to plan a run

    alone = {_key(record): record for record in json.loads(file.read_text())["results"]}
    shared = [record for record in results if _key(record) in alone]
    if not shared:
        known = sorted({task for task, _, _ in alone})
        raise PipelineError(f"{_KEY}: no task is in {file}, which has {known}")
    for record in shared:
        other = alone[_key(record)]
        if record["rows"] != other["rows"] or not math.isclose(
            record["mean_label"], other["mean_label"], rel_tol=1e-9
        ):
            counts = [f"{r['rows']} of mean {r['mean_label']}" for r in (record, other)]
            raise PipelineError(
                f"{_KEY}: a gain needs the same test rows. Received for "
                f"{' '.join(_key(record))}: {counts[0]}, and {counts[1]} in {file}. "
                "Give both runs the same data, split and tasks"
            )
        together, single = (_defined(r["model"]) for r in (record, other))
        if together.keys() & single.keys():
            record["gain"] = exact.mtl_gain(together, single)


def _key(record: Mapping) -> tuple[str, str, str]:
    return record["task"], record["slice"], record["value"]


def _defined(metrics: Mapping) -> dict[str, float]:
    return {
        name: value
        for name, value in metrics.items()
        if value is not None and name not in _NOT_COMPARED
    }
