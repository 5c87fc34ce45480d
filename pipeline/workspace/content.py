"""What log files hold, by checksums: a file that was only touched is the same.

A workspace remembers the checksums in `checksums.json`, so that a file is read for one
only where its size or time differ from those remembered.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import google_crc32c

from pipeline.artifacts import json_file, layout
from pipeline.logs import files

_BLOCK_BYTES = 1 << 20


def of_files(patterns: Sequence[str], workspace: Path) -> list[tuple[str, int, Any]]:
    """(path, size, checksum) of the files of glob patterns.

    A remote file has its time in the checksum's place, as it would have to be fetched.

    Args:
        patterns: The globs.
        workspace: Remembers the checksums, if it is there.

    Raises:
        PipelineError: If a pattern cannot be listed.
    """
    memory = workspace / layout.CHECKSUMS
    known = json.loads(memory.read_text()) if memory.is_file() else {}
    found, new = [], {}
    for path, size, time in files.versions(patterns):
        checksum = time
        if Path(path).is_file():
            *before, checksum = known.get(path, (None, None, None))
            if before != [size, time]:
                checksum = _checksum(Path(path))
            new[path] = [size, time, checksum]
        found.append((path, size, checksum))
    if known | new != known and workspace.is_dir():
        json_file.write(memory, known | new)
    return found


def _checksum(path: Path) -> int:
    total = google_crc32c.Checksum()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            total.update(block)
    return int.from_bytes(total.digest(), "big")
