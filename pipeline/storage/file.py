"""What a store says of a file."""

from typing import NamedTuple

BLOCK_BYTES = 1 << 20  # of a file that are read at a time


class File(NamedTuple):
    """A file in a store.

    Attributes:
        size: Bytes.
        time: When it was written, in seconds since 1970.
        version: What tells its content from others, where a listing has it.
    """

    size: int
    time: float
    version: str = ""
