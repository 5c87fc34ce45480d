"""What rollbacks leave behind: models not to publish again, and one that is under way.

A rollback leaves a pipeline as it was: its next run finds that its model is not the
one that is served, and would publish it anew. So the base path remembers the models
that a rollback has left, in `.rolled-back`, one identity a line. Servers ignore a name
that is no number. Publishing such a model by hand takes it off the list.

A rollback that was killed is finished by running it again. As it might have been killed
at its very end, it notes first where it goes to, or the second run would go one version
further back.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from serving.models.version_folders import versions
from serving.release.files import replace

_FILE = ".rolled-back"


def identity(saved_model_dir: str | Path) -> str:
    """A hash that a SavedModel shares with its copies alone."""
    digest = hashlib.sha256()
    for name in ("saved_model.pb", "variables/variables.index"):
        file = Path(saved_model_dir) / name
        digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()


def is_rolled_back(saved_model_dir: str | Path, base_path: str | Path) -> bool:
    """Whether a model was rolled back under a base path, and not published since."""
    return identity(saved_model_dir) in _read(Path(base_path))


def mark(base_path: str | Path, to: int) -> None:
    """Notes the models of all versions above one that is gone back to.

    Args:
        base_path: path. The directory of the versions; nothing is done if it is not
            there, as where a config file names it as the server sees it.
        to: int. The version that is gone back to; its own model is noted no more.
    """
    base, folders = Path(base_path), versions(base_path)
    if not folders:
        return
    left = {identity(path) for number, path in folders.items() if number > to}
    back = {identity(folders[to])} if to in folders else set()
    _write(base, (_read(base) | left) - back)


def unmark(base_path: str | Path, saved_model_dir: str | Path) -> None:
    """Forgets that a model was rolled back: it is published again."""
    base = Path(base_path)
    before = _read(base)
    after = before - {identity(saved_model_dir)}
    if after != before:
        _write(base, after)


def begin(note: Path, record: dict[str, Any]) -> None:
    """Notes where a rollback goes to, before it does anything."""
    replace(note, json.dumps(record) + "\n")


def begun(note: Path) -> dict[str, Any] | None:
    """What the last rollback noted that did not come to its end; None if all did."""
    try:
        return json.loads(note.read_text())
    except FileNotFoundError:
        return None


def end(note: Path) -> None:
    """Forgets the note: the rollback is done."""
    note.unlink(missing_ok=True)


def _read(base: Path) -> set[str]:
    file = base / _FILE
    return set(file.read_text().split()) if file.is_file() else set()


def _write(base: Path, identities: set[str]) -> None:
    replace(base / _FILE, "".join(f"{line}\n" for line in sorted(identities)))
