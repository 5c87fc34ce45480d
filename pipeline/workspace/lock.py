"""A workspace is used by one command at a time; what a killed one left is cleared."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO

from pipeline.artifacts import layout
from pipeline.errors import PipelineError
from pipeline.storage import database, lease, mirror, record
from pipeline.workspace.metadata import Execution, Metadata

_LOCK = ".lock"
_READERS = ".readers"


class _InUse(PipelineError):
    """Another process has the lock."""


@contextlib.contextmanager
def held(workspace: Path) -> Iterator[IO]:
    """Holds the workspace; nobody else does until the block ends.

    Yields:
        The open lock. A process that inherits it (`pass_fds`) holds the workspace as
        long as it lives, whatever becomes of this one.

    Raises:
        PipelineError: Another process holds it, or it cannot be written to.
    """
    refusal = (
        f"Another run is using the workspace {mirror.shown(workspace)}. Wait for it, "
        "or set `workspace` to another directory."
    )
    make(workspace)
    metadata = workspace / layout.METADATA
    with (
        _locked(workspace / _LOCK, fcntl.LOCK_EX, refusal) as lock,
        lease.held(workspace),
    ):
        record.take(metadata)
        try:
            yield lock
        except BaseException:
            with contextlib.suppress(PipelineError):
                record.give(metadata)
            raise
        record.give(metadata)


def make(workspace: Path) -> Path:
    """Makes the folder if there is none; returns it.

    Raises:
        PipelineError: It cannot be written to.
    """
    try:
        workspace.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(workspace, error) from error
    return workspace


@contextlib.contextmanager
def reading(workspaces: Iterable[Path]) -> Iterator[None]:
    """Sees to it that nothing is deleted from workspaces until the block ends.

    Many may read at a time, and runs go on meanwhile: they only add.

    Raises:
        PipelineError: `gc` is deleting.
    """
    with contextlib.ExitStack() as locks:
        for workspace in sorted(set(workspaces)):
            if not os.access(workspace, os.W_OK):
                continue  # it is another's, who sees to it
            refusal = f"gc is deleting from the workspace {workspace}. Wait for it."
            file = workspace / _READERS
            locks.enter_context(_locked(file, fcntl.LOCK_SH, refusal))
        yield


@contextlib.contextmanager
def unread(workspace: Path) -> Iterator[None]:
    """Keeps `reading` out of a workspace, so that something can be deleted from it.

    Raises:
        PipelineError: Somebody is reading.
    """
    refusal = (
        f"Models of the workspace {workspace} are being compared or measured. Wait "
        "for that."
    )
    with _locked(workspace / _READERS, fcntl.LOCK_EX, refusal):
        yield


@contextlib.contextmanager
def _locked(file: Path, how: int, refusal: str) -> Iterator[IO]:
    try:
        lock = open(file, "w")
    except OSError as error:
        raise _unwritable(file.parent, error) from error
    with lock:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _InUse(refusal) from None
        yield lock


def _unwritable(workspace: Path, error: OSError) -> PipelineError:
    return PipelineError(f"workspace: cannot write to {workspace}: {error.strerror}")


def of(folder: Path) -> list[Path]:
    """The workspace that a folder lies in, if any: a list of one, or none."""
    parents = [folder, *folder.parents]
    return [path for path in parents if database.exists(path / layout.METADATA)][:1]


def clear(workspace: Path) -> Metadata:
    """Clears away what a killed run has left half done; returns the metadata."""
    store, ended = Metadata(workspace / layout.METADATA), {}
    for execution in store.executions(state="running"):
        at = _last_write(workspace, execution)
        store.fail(execution.id, "interrupted", at)
        ended[execution.run] = max(at, ended.get(execution.run, at))
        for unrecorded in workspace.glob(f"{execution.component}/*/{execution.id}-*"):
            if unrecorded.suffix != ".tmp":
                mirror.delete(unrecorded)
    for run in store.runs():
        if run.state == "running":
            store.end_run(run.name, "interrupted", ended.get(run.name, run.started))
    for staging in workspace.glob("*/*/*.tmp"):
        mirror.discard(staging.with_suffix(""))
        shutil.rmtree(staging)
    return store


def _last_write(workspace: Path, execution: Execution) -> float:
    """When an execution that was killed wrote something last, as far as files tell."""
    folders = [
        layout.scratch(workspace, execution.component, execution.fingerprint),
        *workspace.glob(f"{execution.component}/*/{execution.id}.tmp"),
        *workspace.glob(f"{execution.component}/*/{execution.id}-*.tmp"),
    ]
    return max([execution.started, *(last_write(f) for f in folders if f.is_dir())])


def last_write(folder: Path) -> float:
    """When something in a folder was written last, in seconds since 1970."""
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))


def metadata(workspace: Path) -> Metadata:
    """The metadata of a workspace in which something has run.

    Raises:
        PipelineError: Nothing has.
    """
    path = workspace / layout.METADATA
    if not has_run(workspace):
        where = mirror.shown(path)
        raise PipelineError(f"nothing has run yet: {where} does not exist")
    return Metadata(path)


def has_run(workspace: Path) -> bool:
    """Whether there is a record of what has run in a folder, the newest of its store.

    Where a run of this machine is using the workspace, its record is the newest.
    """
    path = workspace / layout.METADATA
    if mirror.url(workspace):
        make(workspace)
        with contextlib.suppress(_InUse), _locked(workspace / _LOCK, fcntl.LOCK_EX, ""):
            record.take(path)
    return database.exists(path)


def evict(workspace: Path, keep: Collection[Path]) -> None:
    """Frees the mirror of a store as `mirror.evict` does, unless somebody is reading.

    Args:
        workspace: Which the caller holds.
        keep: Artifacts that stay.
    """
    if mirror.url(workspace):
        with contextlib.suppress(_InUse), unread(workspace):
            mirror.evict(workspace, keep)
