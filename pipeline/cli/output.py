"""The folder that a command writes to."""

from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.storage import mirror


def folder(output: str | Path) -> Path:
    """Makes the folder of `--output`, before the work that a wrong one would lose.

    Args:
        output: Where it is to be; there may be one. May be a place in an object store,
            whose mirror is made then.

    Raises:
        PipelineError: It is a file, or cannot be written.
    """
    made = mirror.place(output)
    try:
        made.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PipelineError(
            f"--output: must be a folder. Received: {made} ({error.strerror})"
        ) from error
    return made
