"""Changing files that servers and other releases read: one at a time, and whole."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a folder; the kernel lets go of it when the process dies."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace(file: Path, text: str) -> None:
    """Writes a file that is whole or as it was, whenever the process is killed."""
    for left in file.parent.glob(f".{file.name}-*"):  # by one that was killed
        left.unlink()
    number, path = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with open(number, "w") as new:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        os.chmod(path, file.stat().st_mode & 0o777 if file.exists() else 0o644)
        os.replace(path, file)
    except BaseException:
        os.unlink(path)
        raise
    flush(file.parent)


def flush(path: Path) -> None:
    """Makes a file's content, or a directory's names, outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
