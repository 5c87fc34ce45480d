"""JSON for people and tools: indented, and of numbers that JSON has."""

import json
from pathlib import Path
from typing import Any


def write(file: Path, value: Any) -> None:
    """Writes a file.

    Args:
        file: Its path, in a folder that is there.
        value: What JSON can hold.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    file.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
