"""Which folders of a workspace nobody needs any more.

Needed are

- what the newest runs made or found in the cache, and what that was made from
  directly, so that the same runs are found in the cache again;
- all that published versions which still stand at their place were made from, and what
  else their runs have made, such as the report on them;
- what runs of the last day have left when they failed, to see why.

The metadata keep what has run: a folder that is gone is no longer found in the cache.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.artifacts import layout, pushed
from pipeline.storage import folders, mirror
from pipeline.workspace import lock as workspaces
from pipeline.workspace.lineage import Lineage
from pipeline.workspace.metadata import Metadata

_DAY = 24 * 3600


class Garbage(NamedTuple):
    """A folder that can go.

    Attributes:
        path: The folder.
        size: Bytes that are free without it.
        why: What it is.
    """

    path: Path
    size: int
    why: str


def find(workspace: Path, keep: int) -> list[Garbage]:
    """Returns what can go from a workspace that the caller holds.

    Args:
        workspace: Where something has run.
        keep: How many of the newest runs that are complete, and have trained a model or
            found it in the cache, are kept; and all that started later. A sweep counts
            as one.
    """
    store = Metadata(workspace / layout.METADATA)
    graph, kept = Lineage(store), _kept(store, keep)
    used = {execution.id for run in kept for execution in store.used(run)}
    published = list(_published(store))
    of_runs = {graph.executions[at].run for at in published}
    needed = used.union(*(graph.ancestors(at) for at in published))
    needed |= {e.id for run in of_runs for e in store.used(run)}
    paths = {a.path for at in used for a in graph.inputs.get(at, ())}
    paths |= {a.path for at in needed for a in graph.outputs.get(at, ())}
    found, stored = [], mirror.sizes(workspace)
    for at, execution in sorted(graph.executions.items()):
        for artifact in graph.outputs.get(at, ()):
            size, _ = stored.pop(artifact.path, (0, 0.0))
            if artifact.path not in paths and (size or artifact.path.is_dir()):
                why = f"{artifact.name} of run {execution.run}"
                size = size or _size(artifact.path)
                found.append(Garbage(artifact.path, size, why))
    keys = {e.fingerprint for e in store.executions() if e.run in kept}
    found += [Garbage(p, _size(p), why) for p, why in _failed(workspace, keys)]
    found += [
        Garbage(path, size, "left by a run that was killed")
        for path, (size, written) in stored.items()  # which no execution has written
        if time.time() - written > _DAY
    ]
    return found


def delete(garbage: Iterable[Garbage]) -> None:
    """Deletes the folders; none is found half deleted by a run, whenever this ends."""
    for path, _, _ in garbage:
        mirror.delete(path)


def _kept(store: Metadata, keep: int) -> set[str]:
    """The names of the runs that are kept."""
    runs = store.runs()
    complete = [run.name for run in runs if run.state == "complete"]
    # Beside those that have trained a model, one that only looked at data is none.
    trained = [name for name in complete if _has_trained(store, name)]
    groups = list(dict.fromkeys(map(_group, trained or complete)))[:keep]
    names: set[str] = set()
    for run in reversed(runs):  # from the oldest one that is kept on
        if names or _group(run.name) in groups:
            names.add(run.name)
    return names if groups else {run.name for run in runs}


def _group(run: str) -> str:
    """All runs of a sweep are called alike up to the slash."""
    return run.partition("/")[0]


def _has_trained(store: Metadata, run: str) -> bool:
    return any(e.component == "Trainer" for e in store.used(run))


def _published(store: Metadata) -> Iterator[int]:
    """The executions of the Pusher whose version still stands at its place."""
    for execution in store.executions("Pusher", state="complete"):
        for note in store.outputs(execution.id):
            if not mirror.present(note.path):
                continue
            path = pushed.read(mirror.pull(note.path))
            if path is not None and folders.stands(path):
                yield execution.id


def _failed(workspace: Path, kept: set[str]) -> Iterator[tuple[Path, str]]:
    """What failed executions left, and checkpoints nobody will go on from."""
    for path in sorted(workspace.glob("*/*/*.failed")):
        if _age(path) > _DAY:
            yield path, "left by a run that failed"
    for path in sorted(workspace.glob("scratch/*/*")):
        if path.name not in kept and _age(path) > _DAY:
            yield path, "checkpoints of a training that was given up"


def _age(folder: Path) -> float:
    """Seconds since something in a folder was written."""
    return time.time() - workspaces.last_write(folder)


def _size(folder: Path) -> int:
    stats = (path.lstat() for path in folder.rglob("*") if not path.is_dir())
    return sum(stat.st_size for stat in stats if stat.st_nlink == 1)
