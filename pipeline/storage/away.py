"""Files of workers on machines that share no folder with whoever starts their jobs.

Where a workspace is in an object store, a cluster needs no folder that all its machines
mount. What a worker writes goes into the store, and from there into the mirror of who
has started the job when the job has ended. What it reads is copied to its own mirror.

    JOB          = the URL of a folder of the job, such as s3://bucket/feed/...
    JOB/s3/...   = a file of the job, by its path in the mirror

A worker that sees the job's folder shares the disk, and nothing is copied.
"""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.storage import mirror, remote

_MOST_JOBS = 100  # that a worker remembers


class Job(NamedTuple):
    """Where a job was started.

    Attributes:
        folder: Its folder in the mirror, which is there as long as the job.
        root: Of the mirrors there.
        url: Of the job's files in the store.
    """

    folder: Path
    root: Path
    url: str


_started: Job | None = None  # by this process
_away: list[Job] = []  # of which this process is a worker, on another machine


@contextlib.contextmanager
def starting(folder: Path, read: Iterable[Path] = ()) -> Iterator[None]:
    """A block in which a job runs; at its end what workers wrote is in the mirror.

    Args:
        folder: A folder that was made for the job.
        read: Files and folders that the workers read, of those that are not yet whole
            artifacts.
    """
    global _started
    at = mirror.url(folder)
    if at is None:
        yield
        return
    # In the folder of the artifact that is being made, which is deleted if it fails.
    root, at = mirror.root(), at.replace(".tmp/", "/")
    files = [file for path in read for file in (path, *path.rglob("*"))]
    given = [f.relative_to(root).as_posix() for f in files if f.is_file()]
    remote.upload(root, at, given)
    before, _started = _started, Job(folder, root, at)
    try:
        yield
        remote.download(at, root, remote.files(at).keys() - given)
    finally:
        _started = before
        remote.delete(f"{at}/{name}" for name in remote.files(at))


def started() -> Job | None:
    """The job that this process has started and that is running, for its workers."""
    return _started


def join(job: Job | None) -> None:
    """Makes this process a worker of a job."""
    if job is None or job in _away or job.folder.is_dir():
        return
    _away.append(job)
    del _away[:-_MOST_JOBS]


def fetch(path: Path) -> Path:
    """The file or folder, or this worker's copy of it."""
    job = _job_of(path)
    if job is None:
        return path
    name = path.relative_to(job.root).as_posix()
    copy = mirror.root() / name
    for at in () if copy.is_file() else (f"{job.url}/{name}", mirror.url(copy)):
        if remote.exists(at):
            remote.download(at.rpartition("/")[0], copy.parent, [copy.name])
            break
        if names := remote.files(at):  # some of them may have been fetched alone
            new = [name for name in names if not (copy / name).exists()]
            remote.download(at, copy, new)
            break
    return copy


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path | None]:
    """Yields where a worker writes a file that goes into the store; else None.

    It goes there when the block has been left without an error.
    """
    job = _job_of(path)
    if job is None:
        yield None
        return
    part, name = mirror.new_part(), path.relative_to(job.root).as_posix()
    try:
        (part / name).parent.mkdir(parents=True)
        yield part / name
        remote.upload(part, job.url, [name])
    finally:
        shutil.rmtree(part)


def _job_of(path: Path) -> Job | None:
    """The job to whose files a path belongs, if this is a worker of it: the latest."""
    jobs = [job for job in _away[::-1] if path.is_relative_to(job.root)]
    return max(jobs, default=None, key=lambda j: _common(j.folder, path))


def _common(one: Path, other: Path) -> int:
    return len(os.path.commonpath([one, other]))
