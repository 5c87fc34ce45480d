"""What a model was made from: executions and artifacts, out of the metadata."""

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.artifacts import layout
from pipeline.storage import database
from pipeline.workspace.lineage import Lineage
from pipeline.workspace.metadata import Metadata


def of(workspace: Path, artifacts: Iterable[Path]) -> list[dict[str, Any]]:
    """Finds the executions that wrote artifacts, and those before them.

    Args:
        workspace: Of the run.
        artifacts: Folders of artifacts.

    Returns:
        One mapping an execution, the first one first: {"component", "execution",
        "run", "started" in local time, "seconds", "rows" or None, "inputs": executions
        it read from, "outputs": paths in the workspace}. Empty if nothing is known.
    """
    if not database.exists(workspace / layout.METADATA):
        return []
    graph = Lineage(Metadata(workspace / layout.METADATA))
    executions, writers = graph.executions, graph.writers
    made = (graph.ancestors(writers[path]) for path in artifacts if path in writers)
    # Of a run, each component is there once. Older ones wrote what this run's data
    # were only compared with.
    found = {executions[at].component: at for at in sorted(set().union(*made))}
    return [
        {
            "component": executions[at].component,
            "execution": at,
            "run": executions[at].run,
            "started": datetime.datetime.fromtimestamp(executions[at].started),
            "seconds": executions[at].seconds,
            "rows": executions[at].summary.get("rows"),
            "inputs": sorted({*graph.sources(at)} & {*found.values()}),
            "outputs": [_within(a.path, workspace) for a in graph.outputs[at]],
        }
        for at in sorted(found.values())
    ]


def _within(path: Path, workspace: Path) -> str:
    return str(path.relative_to(workspace) if path.is_relative_to(workspace) else path)
