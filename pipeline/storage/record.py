"""The record of what has run, an SQLite file, of a workspace in an object store.

It is copied into the store after each stage, and out of it where another machine has
written it last. So any machine goes on with a workspace, one at a time. Where a
database stands for the file, there is nothing to copy.
"""

import contextlib
import fcntl
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.storage import database, mirror, remote

_STAMP = ".record"  # beside a record: which one of the store it is
_OF_SQLITE = ("-journal", "-wal", "-shm")


def take(record: Path) -> None:
    """Takes over the record of the store, if another machine wrote it last."""
    at = mirror.url(record)
    if at is None or database.is_shared():
        return
    with _stamp(record) as stamp:
        version = remote.version(at)
        known = stamp.read_text() if record.is_file() else ""
        if version is None or version == known:
            return
        remote.download(mirror.url(record.parent), record.parent, [record.name])
        for end in _OF_SQLITE:  # of the record that was there
            record.with_name(record.name + end).unlink(missing_ok=True)
        stamp.write_text(version)


def give(record: Path) -> None:
    """Copies the record into the store.

    Raises:
        PipelineError: Another machine has written it since it was taken.
    """
    at = mirror.url(record)
    if at is None or not record.is_file() or database.is_shared():
        return
    with _stamp(record) as stamp:
        if remote.version(at) not in (None, stamp.read_text()):
            raise PipelineError(
                f"{at}: another machine has written the record of what has run since "
                "this one began. What this one has made since is not in it. Run one "
                "command at a time on a workspace; the same command goes on from there"
            )
        part = mirror.new_part()
        with (
            contextlib.closing(sqlite3.connect(record)) as source,
            contextlib.closing(sqlite3.connect(part / record.name)) as copy,
        ):
            source.backup(copy)
        remote.upload(part, mirror.url(record.parent), [record.name])
        shutil.rmtree(part)
        stamp.write_text(remote.version(at) or "")


@contextlib.contextmanager
def _stamp(record: Path) -> Iterator[Path]:
    """The file with the version that the record is; no other process changes it."""
    record.parent.mkdir(parents=True, exist_ok=True)
    stamp = record.with_name(_STAMP)
    with stamp.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield stamp
