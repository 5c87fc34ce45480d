"""The record of a push: pushed.json {"version", "path"}, both null without one."""

import json
from pathlib import Path

from pipeline.artifacts.layout import PUSHED
from pipeline.storage import mirror


def write(folder: Path, path: Path | None) -> None:
    """Writes down which version was published, None where none was."""
    record = {
        "version": int(path.name) if path else None,
        "path": mirror.shown(path) if path else None,
    }
    (folder / PUSHED).write_text(json.dumps(record) + "\n")


def read(folder: Path) -> Path | None:
    """The version that was published; None where none was, or nothing is known."""
    file = folder / PUSHED
    path = json.loads(file.read_text())["path"] if file.is_file() else None
    return Path(mirror.of(path)) if path else None
