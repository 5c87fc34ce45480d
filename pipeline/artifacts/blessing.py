"""The verdict on a model: a file BLESSED or NOTBLESSED, with the reasons in it."""

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts.layout import BLESSED, NOT_BLESSED


def write(folder: Path, reasons: Sequence[str]) -> bool:
    """Writes the verdict into `folder`; no reasons against the model: it is blessed.

    Returns:
        Whether the model is blessed.
    """
    name = NOT_BLESSED if reasons else BLESSED
    text = json.dumps({"blessed": not reasons, "reasons": list(reasons)}, indent=1)
    (Path(folder) / name).write_text(text + "\n")
    return not reasons


def read(folder: Path) -> list[str]:
    """The reasons against the model in `folder`; empty where it is blessed."""
    folder = Path(folder)
    if (folder / BLESSED).exists():
        return []
    if (folder / NOT_BLESSED).exists():
        return json.loads((folder / NOT_BLESSED).read_text())["reasons"]
    return [f"no verdict: neither {BLESSED} nor {NOT_BLESSED} is in {folder.name}"]
