"""How a command ends that failed: in one line."""

import sys


def fail(error: Exception | str, status: int = 2) -> int:
    """Says what is wrong in one line on standard error, and gives the exit status."""
    print("error: " + " ".join(str(error).split()), file=sys.stderr)
    return status
