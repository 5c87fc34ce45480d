"""Large values on their way through a shuffle: on disk where it is held in memory.

A cluster's shuffle goes through disks by itself; the in-process runner's does not. So
there a value is a place in a file, and the shuffle holds that alone.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.beam.results import Workers
from pipeline.beam.runner import LOCAL


class Place(NamedTuple):
    """Where some bytes stand."""

    path: str
    start: int
    size: int


def folder(workers: Workers) -> Path | None:
    """Where the workers' values wait for their readers; None for in the shuffle."""
    return workers.folder if workers.beam.runner == LOCAL else None


@contextlib.contextmanager
def spilling(folder: Path | None) -> Iterator[Callable[[bytes], bytes | Place]]:
    """Yields what takes bytes and returns what travels; `read` gives the bytes back.

    Args:
        folder: Where a file is made for them; who has made the folder removes it. None:
            the bytes travel.
    """
    if folder is None:
        yield lambda data: data
        return
    path = folder / f"{uuid.uuid4().hex}.spill"
    with path.open("wb") as file:

        def keep(data: bytes) -> Place:
            start = file.tell()
            file.write(data)
            file.flush()  # what does not fit on the disk fails here, and has no place
            return Place(str(path), start, len(data))

        yield keep


def read(kept: bytes | Place) -> bytes:
    """The bytes that `spilling` took."""
    if not isinstance(kept, Place):
        return kept
    with open(kept.path, "rb") as file:
        file.seek(kept.start)
        return file.read(kept.size)
