"""A workspace is used by one command at a time; what a killed one left is cleared."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pipeline.artifacts import layout
from pipeline.errors import PipelineError
from pipeline.metadata import Metadata


@contextlib.contextmanager
def held(workspace: Path) -> Iterator[IO]:
    """Holds the workspace; nobody else does until the block ends.

    Yields:
        The open lock. A process that inherits it (`pass_fds`) holds the workspace as
        long as it lives, whatever becomes of this one.

    Raises:
        PipelineError: Another process holds it, or it cannot be written to.
    """
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        lock = open(workspace / ".lock", "w")
    except OSError as error:
        raise PipelineError(
            f"workspace: cannot write to {workspace}: {error.strerror}"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError(
                f"Another run is using the workspace {workspace}. Wait for it, or set "
                "`workspace` to another directory."
            ) from None
        yield lock


def clear(workspace: Path) -> Metadata:
    """Clears away what a killed run has left half done; returns the metadata."""
    store = Metadata(workspace / layout.METADATA)
    for execution in store.executions(state="running"):
        store.fail(execution.id, "interrupted")
    for run in store.runs():
        if run.state == "running":
            store.end_run(run.name, "interrupted")
    for staging in workspace.glob("*/*/*.tmp"):
        shutil.rmtree(staging)
    return store


def metadata(workspace: Path) -> Metadata:
    """The metadata of a workspace in which something has run.

    Raises:
        PipelineError: Nothing has.
    """
    path = workspace / layout.METADATA
    if not path.is_file():
        raise PipelineError(f"nothing has run yet: {path} does not exist")
    return Metadata(path)
