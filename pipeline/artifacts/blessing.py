"""The verdict on a model: a file BLESSED or NOT_BLESSED, with the reasons in it."""

import json
from collections.abc import Sequence
from pathlib import Path

_BLESSED, _REFUSED = "BLESSED", "NOT_BLESSED"


def write(folder: Path, reasons: Sequence[str]) -> bool:
    """Writes the verdict into `folder`; no reasons against the model: it is blessed.

    Returns:
        Whether the model is blessed.
    """
    name = _REFUSED if reasons else _BLESSED
    text = json.dumps({"blessed": not reasons, "reasons": list(reasons)}, indent=1)
    (Path(folder) / name).write_text(text + "\n")
    return not reasons


def read(folder: Path) -> list[str]:
    """The reasons against the model in `folder`; empty where it is blessed."""
    folder = Path(folder)
    if (folder / _BLESSED).exists():
        return []
    if (folder / _REFUSED).exists():
        return json.loads((folder / _REFUSED).read_text())["reasons"]
    return [f"no verdict: neither {_BLESSED} nor {_REFUSED} is in {folder.name}"]
