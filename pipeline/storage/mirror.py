"""The local folders in which workspaces and models of object stores are worked on.

    s3://bucket/feed  <->  MIRROR/s3/bucket/feed

Stages read and write the mirror, so that they are the same wherever a workspace is.
What a stage has made is copied into the store when it is whole: its files, and then
`_MANIFEST`, which lists them with sizes and checksums. A folder of the store without
it is no artifact: a store renames no folders, so the marker is what appears at once. A
mirror without the artifact copies it from the store, once, by that list.

The record of what has run goes along, `metadata.sqlite`. It is copied into the store
after each stage, and out of it where another machine has written it last. So any
machine goes on with a workspace, one at a time.

MIRROR is the environment's TFMTL_MIRROR, or ~/.local/share/tfmtl. At the end of a run
the artifacts of a workspace that have not been used for longest leave it, so that
TFMTL_MIRROR_GB remain, 100 by default.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

from pipeline.errors import PipelineError

MANIFEST = "_MANIFEST"
_PARTS = ".parts"  # of the mirror: what is not whole yet
_STAMP = ".record.json"  # beside a record: which one of the store it is
_GRAPH = "saved_model.pb"
_DAY = 24 * 3600


def root() -> Path:
    """The folder of all mirrors."""
    given = os.environ.get("TFMTL_MIRROR")
    return Path(given or "~/.local/share/tfmtl").expanduser().absolute()


def is_given() -> bool:
    """Whether somebody has said where mirrors are."""
    return bool(os.environ.get("TFMTL_MIRROR"))


def of(place: str) -> str:
    """The local folder in which a place is worked on: itself, unless it is a URL.

    Raises:
        ValueError: A URL without a bucket.

    Example:
        >>> of("workspace/feed")
        'workspace/feed'
    """
    scheme, is_url, rest = place.partition("://")
    if not is_url:
        return place
    if not scheme or not rest.strip("/") or ".." in rest.split("/"):
        raise ValueError(f"must be such as s3://bucket/folder. Received: {place!r}")
    return str(root() / scheme / rest.strip("/"))


def url(path: Path) -> str | None:
    """The place in a store that a path mirrors; None if it is only local."""
    path = Path(os.path.abspath(path))
    if not path.is_relative_to(root()):
        return None
    scheme, *rest = path.relative_to(root()).parts or ("",)
    return f"{scheme}://{'/'.join(rest)}" if rest else None


def shown(path: Path) -> str:
    """The path as people know it."""
    return url(path) or str(path)


def present(artifact: Path) -> bool:
    """Whether an artifact is there, whole."""
    at = url(artifact)
    return artifact.is_dir() if at is None else _remote().exists(f"{at}/{MANIFEST}")


def pull(artifact: Path) -> Path:
    """Copies an artifact from its store, unless it is here; returns it.

    Raises:
        PipelineError: It is not whole in the store, or does not arrive so.
    """
    at = url(artifact)
    if at is None:
        return artifact
    manifest, own = _remote().read(f"{at}/{MANIFEST}"), artifact / MANIFEST
    if manifest is None:
        raise PipelineError(f"{at}: there is no whole artifact: it has no {MANIFEST}")
    if own.is_file() and own.read_bytes() == manifest:
        os.utime(own)  # used now
        return artifact
    listed = json.loads(manifest)
    part = _part()
    _remote().download(at, part, list(listed))
    for name, (size, checksum) in listed.items():
        file = part / name
        if file.stat().st_size != size or _remote().checksum(file) != checksum:
            raise PipelineError(
                f"{at}/{name} is not what {MANIFEST} lists. It was changed by hand: "
                "delete the artifact, and the next run makes it anew"
            )
    (part / MANIFEST).write_bytes(manifest)
    _put_in_place(part, artifact)
    return artifact


def push(folder: Path, artifact: Path) -> None:
    """Copies an artifact into its store; readers find it when this returns.

    Args:
        folder: Its files.
        artifact: The path that it is to have.
    """
    at = url(artifact)
    if at is None:
        return
    listed = {
        name: [(folder / name).stat().st_size, _remote().checksum(folder / name)]
        for name in _names(folder)
    }
    _remote().upload(folder, at, listed)
    manifest = (json.dumps(listed, indent=0) + "\n").encode()
    _remote().write(f"{at}/{MANIFEST}", manifest)
    (folder / MANIFEST).write_bytes(manifest)


def upload(folder: Path, last: str) -> None:
    """Copies a folder of the mirror into its store, one file after all others."""
    at = url(folder)
    if at is not None:
        names = [name for name in _names(folder) if name != last]
        _remote().upload(folder, at, names)
        _remote().upload(folder, at, [last])


def discard(artifact: Path) -> None:
    """Deletes what a store has of an artifact, the marker first."""
    at = url(artifact)
    if at is not None:
        names = _remote().files(at)
        _remote().delete(f"{at}/{name}" for name in names if name == MANIFEST)
        _remote().delete(f"{at}/{name}" for name in names if name != MANIFEST)


def delete(artifact: Path) -> None:
    """Deletes an artifact here and in its store."""
    discard(artifact)
    if artifact.is_dir():
        gone = artifact.rename(artifact.with_suffix(".tmp"))
        # What ends so is cleared by the next run.
        shutil.rmtree(gone)


def sizes(workspace: Path) -> dict[Path, tuple[int, float, bool]]:
    """{folder of the store: (bytes, time of the last write, whether it is whole)}.

    Of all that stands where artifacts do; empty for a workspace that is only local.
    """
    at = url(workspace)
    found: dict[Path, tuple[int, float, bool]] = {}
    for name, file in (_remote().files(at) if at else {}).items():
        component, _, rest = name.partition("/")
        parts = rest.split("/")
        if len(parts) < 3 or component == "serving_models":
            continue
        folder = workspace / component / parts[0] / parts[1]
        size, time_, whole = found.get(folder, (0, 0.0, False))
        whole |= parts[2:] == [MANIFEST]
        found[folder] = size + file.size, max(time_, file.time), whole
    return found


def refresh(base_path: Path, newest: bool = True) -> Path:
    """Copies versions of a model, whose files are whole, from its store; returns it.

    Versions of the mirror that are no longer in the store leave it.

    Args:
        base_path: The folder of the versions in the mirror.
        newest: Whether the newest one is enough. Defaults to True.
    """
    at = url(base_path)
    if at is None:
        return base_path
    files = _remote().files(at)
    versions: dict[str, dict] = {}
    for name, file in files.items():
        version, _, rest = name.partition("/")
        if rest and version.isascii() and version.isdigit():
            versions.setdefault(version, {})[rest] = list(file)
    whole = sorted((v for v in versions if _GRAPH in versions[v]), key=int)
    base_path.mkdir(parents=True, exist_ok=True)
    for folder in base_path.iterdir():
        if folder.name.isdigit() and folder.name not in whole:
            shutil.rmtree(folder)
    for version in whole[-1:] if newest else whole:
        listing = base_path / f".{version}.json"  # servers ignore such names
        folder, wanted = base_path / version, json.dumps(versions[version])
        if folder.is_dir() and listing.is_file() and listing.read_text() == wanted:
            continue
        part = _part()
        _remote().download(f"{at}/{version}", part, list(versions[version]))
        _put_in_place(part, folder)
        listing.write_text(wanted)
    for note in (name for name in files if name.startswith(".") and "/" not in name):
        _remote().download(at, base_path, [note])
    return base_path


def publish(base_path: Path, version: Path) -> None:
    """Copies what a push has changed under a model's base path into the store.

    `saved_model.pb` comes last and goes first: without it, no server loads a version.
    """
    at = url(base_path)
    if at is None:
        return
    upload(version, last=_GRAPH)
    files = _remote().files(at)
    there = {name.partition("/")[0] for name in files if "/" in name}
    gone = there - {path.name for path in base_path.iterdir()}
    for old in sorted(name for name in gone if name.isdigit()):
        names = [name for name in files if name.startswith(f"{old}/")]
        graph = f"{old}/{_GRAPH}"
        _remote().delete(f"{at}/{name}" for name in names if name == graph)
        _remote().delete(f"{at}/{name}" for name in names if name != graph)
    notes = [".rolled-back"] if (base_path / ".rolled-back").is_file() else []
    _remote().upload(base_path, at, notes)
    written = _remote().files(f"{at}/{version.name}")
    listing = {name: list(file) for name, file in written.items()}
    (base_path / f".{version.name}.json").write_text(json.dumps(listing))


def take_record(record: Path) -> None:
    """Takes over the record of what has run, if another machine wrote it last.

    Args:
        record: The SQLite file of a workspace.
    """
    at = url(record)
    found = _remote().stat(at) if at else None
    if found is None:
        return
    stamp, known = record.with_name(_STAMP), None
    if stamp.is_file() and record.is_file():
        known = json.loads(stamp.read_text())
    if known != list(found):
        _remote().download(url(record.parent), record.parent, [record.name])
        stamp.write_text(json.dumps(list(found)))


def give_record(record: Path) -> None:
    """Copies the record of what has run into the store."""
    at = url(record)
    if at is None:
        return
    part = _part()
    with (
        contextlib.closing(sqlite3.connect(record)) as source,
        contextlib.closing(sqlite3.connect(part / record.name)) as copy,
    ):
        source.backup(copy)
    _remote().upload(part, url(record.parent), [record.name])
    shutil.rmtree(part)
    stamp = json.dumps(list(_remote().stat(at)))
    record.with_name(_STAMP).write_text(stamp)


def evict(workspace: Path, keep: Collection[Path]) -> None:
    """Frees the mirror of artifacts that the store has, those longest unused first.

    Args:
        workspace: Which the caller holds.
        keep: Artifacts that stay.
    """
    if url(workspace) is None:
        return
    for part in (root() / _PARTS).glob("*"):
        if time.time() - part.stat().st_mtime > _DAY:  # of somebody who was killed
            shutil.rmtree(part)
    bound = float(os.environ.get("TFMTL_MIRROR_GB") or 100) * 1e9
    marks = sorted(workspace.glob(f"*/*/*/{MANIFEST}"), key=lambda m: m.stat().st_mtime)
    size = {mark.parent: sum(s for s, _ in json.loads(mark.read_text()).values())
            for mark in marks}  # fmt: skip
    total = sum(size.values())
    for artifact in size:
        if total <= bound:
            return
        if artifact not in keep:
            shutil.rmtree(artifact.rename(artifact.with_suffix(".tmp")))
            total -= size[artifact]


def _names(folder: Path) -> list[str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path.relative_to(folder).as_posix() for path in files]


def _part() -> Path:
    """A new folder for what is not whole yet."""
    part = root() / _PARTS / uuid.uuid4().hex
    part.mkdir(parents=True)
    return part


def _put_in_place(part: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        folder.rename(_part() / "old")
    try:
        part.rename(folder)
    except OSError:
        if not folder.is_dir():  # another has been faster
            raise


def _remote() -> ModuleType:
    """Imported late, for it imports Beam."""
    from pipeline.storage import remote

    return remote
