"""Folders of a store that are whole when they have a certain file: versions of models.

That file is written last and deleted first. In the mirror, `.NAME.json` beside a
folder tells which one of the store it is; servers ignore such names.
"""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.storage import lease, mirror, remote
from pipeline.storage.file import File

_GRAPH = "saved_model.pb"


def refresh(base_path: Path, newest: bool = True) -> Path:
    """Copies versions of a model, whose files are whole, from its store; returns it.

    Versions of the mirror that are no longer in the store leave it.

    Args:
        base_path: The folder of the versions in the mirror.
        newest: Whether the newest one is enough. Defaults to True.
    """
    if mirror.url(base_path) is not None:
        with _alone(base_path):
            _refresh(base_path, newest)
    return base_path


@contextlib.contextmanager
def publishing(base_path: Path) -> Iterator[None]:
    """Lets the caller alone publish under a model's base path, until the block ends.

    The mirror has all versions of the store then, and no others.

    Raises:
        PipelineError: Another machine is publishing there.
    """
    if mirror.url(base_path) is None:
        yield
        return
    with _alone(base_path), lease.held(base_path):
        _refresh(base_path, newest=False)
        yield


def stands(version: Path) -> bool:
    """Whether a version is there, in its store where it has one."""
    at = mirror.url(version)
    return version.is_dir() if at is None else remote.exists(f"{at}/{_GRAPH}")


def publish(version: Path) -> None:
    """Copies a version into the store; those that are gone here leave it.

    Args:
        version: A folder in the mirror, of a base path that is `publishing`.
    """
    at = mirror.url(version.parent)
    if at is None:
        return
    push(version, _GRAPH)
    here = {path.name for path in version.parent.iterdir()}
    there = {name.partition("/")[0] for name in remote.files(at) if "/" in name}
    for name in sorted(filter(_is_number, there - here)):
        remote.delete_folder(f"{at}/{name}", _GRAPH)


def bring(model: Path) -> Path:
    """Copies what a model's path names from its store; returns the path.

    That is the artifact of a Trainer, or what is in it; a version; or a base path, of
    which the newest version counts.
    """
    at = mirror.url(model)
    if at is None:
        return model
    for artifact in (model, model.parent):
        if mirror.present(artifact):
            mirror.pull(artifact)
            return model
    if remote.exists(f"{at}/{_GRAPH}"):
        _pull(model, remote.files(at))
        return model
    return refresh(model)


def take(base: Path, marker: str) -> None:
    """Copies all folders that have the marker from the store, where they are newer."""
    at = mirror.url(base)
    for name, files in _whole(remote.files(at), marker).items() if at else ():
        _pull(base / name, files)


def push(folder: Path, marker: str) -> None:
    """Makes the store have the files of a folder, and no others."""
    at = mirror.url(folder)
    if at is None:
        return
    remote.delete_folder(at, marker)
    remote.upload(folder, at, [n for n in mirror.names_in(folder) if n != marker])
    remote.upload(folder, at, [marker])
    _listing(folder).write_text(_text(remote.files(at)))


def _refresh(base_path: Path, newest: bool) -> None:
    files = remote.files(mirror.url(base_path))
    found = {name: of for name, of in _whole(files, _GRAPH).items() if _is_number(name)}
    for folder in base_path.iterdir():
        if _is_number(folder.name) and folder.name not in found:
            shutil.rmtree(folder)
    versions = sorted(found, key=int)
    for version in versions[-1:] if newest else versions:
        _pull(base_path / version, found[version])


@contextlib.contextmanager
def _alone(base_path: Path) -> Iterator[None]:
    """Waits for other processes that refresh or publish in the same mirror."""
    base_path.mkdir(parents=True, exist_ok=True)
    with (base_path / ".mirror").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _whole(files: dict[str, File], marker: str) -> dict[str, dict[str, File]]:
    """{folder that has the marker: {its file: ...}} of {path: ...}."""
    found: dict[str, dict[str, File]] = {}
    for path, file in files.items():
        name, _, rest = path.partition("/")
        if rest:
            found.setdefault(name, {})[rest] = file
    return {name: of for name, of in found.items() if marker in of}


def _pull(folder: Path, files: dict[str, File]) -> None:
    listing = _listing(folder)
    if folder.is_dir() and listing.is_file() and listing.read_text() == _text(files):
        return
    part = mirror.new_part()
    remote.download(mirror.url(folder), part, list(files))
    mirror.put_in_place(part, folder)
    listing.write_text(_text(files))


def _listing(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.json")


def _text(files: dict[str, File]) -> str:
    return json.dumps({name: list(files[name]) for name in sorted(files)})


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()
