"""Files that are whole, or not there: a reader sees no half of one."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.storage import away


@contextlib.contextmanager
def atomic_write(path: Path, work: Path | None = None) -> Iterator[Path]:
    """Yields where to write; the file gets its name when the block has been left.

    A runner may try an element twice, even at a time. Each try writes a file of its
    own, and the last one to end stays. Of a try that dies, a file with a dot before its
    name is left over.

    Args:
        path: The name of the file; its folder is made.
        work: A folder on the same disk for what is not whole yet. Defaults to that of
            the file.
    """
    with away.writing(path) as there:
        if there is not None:
            yield there
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = (work or path.parent) / f".{uuid.uuid4().hex}"
        try:
            yield part
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        os.replace(part, path)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What goes wrong while files are written becomes an error about the folder."""
    try:
        yield
    except OSError as error:
        raise PipelineError(
            f"{folder}: cannot be written to: {error}. Make room, or name "
            "a folder on another disk (`workspace`)"
        ) from error
