"""What an artifact was made from, and what was made from it."""

import datetime
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import nearest
from pipeline.errors import PipelineError
from pipeline.storage import mirror
from pipeline.workspace.metadata import Artifact, Execution, Metadata


class Lineage:
    """The graph of the executions of a workspace and their artifacts.

    Attributes:
        executions: {id: complete execution}.
        inputs: {execution: what it read}.
        outputs: {execution: what it wrote}.
        writers: {folder of an artifact: the execution that wrote it}.
    """

    def __init__(self, store: Metadata) -> None:
        self.executions = {e.id: e for e in store.executions(state="complete")}
        self.inputs, self.outputs = store.links()
        self._readers: dict[int, list[int]] = {}
        for execution, artifacts in self.inputs.items():
            for artifact in artifacts:
                self._readers.setdefault(artifact.id, []).append(execution)
        made = [(a, at) for at, of in self.outputs.items() for a in of]
        self._maker = {artifact.id: at for artifact, at in made}
        self.writers = {artifact.path: at for artifact, at in made}

    def artifact(self, path: Path) -> Artifact:
        """The artifact of a folder.

        Raises:
            PipelineError: It is none of this workspace.
        """
        artifacts = [a for made in self.outputs.values() for a in made]
        known = {os.path.abspath(a.path): a for a in artifacts}
        if os.path.abspath(path) not in known:
            hint = nearest(str(path), sorted(str(a.path) for a in artifacts))
            raise PipelineError(f"{path} is no artifact of this workspace.{hint}")
        return known[os.path.abspath(path)]

    def maker(self, artifact: Artifact) -> Execution:
        """The execution that wrote an artifact."""
        return self.executions[self._maker[artifact.id]]

    def sources(self, execution: int) -> list[int]:
        """The executions whose artifacts an execution has read."""
        read = self.inputs.get(execution, [])
        return list(dict.fromkeys(self._maker[a.id] for a in read))

    def users(self, execution: int) -> list[int]:
        """The executions that have read what an execution wrote."""
        made = self.outputs.get(execution, [])
        readers = [r for a in made for r in self._readers.get(a.id, ())]
        return [at for at in dict.fromkeys(readers) if at in self.executions]

    def ancestors(self, execution: int) -> set[int]:
        """An execution and all that it was made from."""
        return self._closure(execution, self.sources)

    def descendants(self, execution: int) -> set[int]:
        """An execution and all that was made from it."""
        return self._closure(execution, self.users)

    def _closure(self, execution: int, step: Any) -> set[int]:
        found, waiting = set(), [execution]
        while waiting:
            at = waiting.pop()
            if at not in found:
                found.add(at)
                waiting += step(at)
        return found


def tree(store: Metadata, path: Path) -> Iterator[str]:
    """Yields lines: what an artifact was made from, and what was made from it.

    What stands in the tree already is named again, without what is below it.
    """
    graph = Lineage(store)
    of = graph.artifact(path)
    maker = graph.maker(of).id
    seen: set[int] = set()

    def show(artifact: Artifact, depth: int, up: bool) -> Iterator[str]:
        execution = graph.maker(artifact)
        gone = "" if mirror.present(artifact.path) else "  (deleted)"
        where = mirror.shown(artifact.path)
        line = f"{'  ' * depth}{where}  <- {execution.component}{gone}"
        if execution.id in seen:
            yield f"{line}  (see above)" if depth else line
            return
        seen.add(execution.id)
        yield line
        if up:
            below = graph.inputs.get(execution.id, [])
        else:
            below = [a for at in graph.users(execution.id) for a in graph.outputs[at]]
        for other in below:
            yield from show(other, depth + 1, up)

    yield from show(of, 0, up=True)
    if users := graph.users(maker):
        yield "made from it:"
        seen = {maker}
        for artifact in (a for at in users for a in graph.outputs[at]):
            yield from show(artifact, 1, up=False)


def as_json(store: Metadata, path: Path) -> dict[str, Any]:
    """The same as data.

    Returns:
        {"artifact": path, "executions": [{"id", "component", "run", "started",
        "seconds", "relation": "made from", "made by" or "made from it", "inputs" and
        "outputs": [{"name", "path", "exists"}]}]}, in the order in which they ran.
    """
    graph = Lineage(store)
    maker = graph.maker(graph.artifact(path)).id
    relation: Mapping[int, str] = {
        **dict.fromkeys(graph.descendants(maker), "made from it"),
        **dict.fromkeys(graph.ancestors(maker), "made from"),
        maker: "made by",
    }

    def described(artifacts: list[Artifact]) -> list[dict]:
        return [
            {
                "name": a.name,
                "path": mirror.shown(a.path),
                "exists": mirror.present(a.path),
            }
            for a in artifacts
        ]

    executions = []
    for at in sorted(relation):
        execution = graph.executions[at]
        started = datetime.datetime.fromtimestamp(execution.started)
        executions.append(
            {
                "id": at,
                "component": execution.component,
                "run": execution.run,
                "started": started.isoformat(timespec="seconds"),
                "seconds": execution.seconds,
                "relation": relation[at],
                "inputs": described(graph.inputs.get(at, [])),
                "outputs": described(graph.outputs.get(at, [])),
            }
        )
    return {"artifact": str(path), "executions": executions}
