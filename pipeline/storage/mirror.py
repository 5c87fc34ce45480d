"""The local folders in which workspaces and models of object stores are worked on.

    s3://bucket/feed  <->  MIRROR/s3/bucket/feed

Stages read and write the mirror, so that they are the same wherever a workspace is.
What a stage has made is copied into the store when it is whole: its files, and then
`_MANIFEST`, which lists them with sizes and checksums. A folder of the store without
it is no artifact: a store renames no folders, so the marker is what appears at once. A
mirror without the artifact copies it from the store, once, by that list.

MIRROR is the environment's TFMTL_MIRROR, or ~/.local/share/tfmtl. At the end of a run
the artifacts of a workspace that have not been used for longest leave it, so that
TFMTL_MIRROR_GB remain, 100 by default.
"""

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Collection, Iterable
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.storage import remote

MANIFEST = "_MANIFEST"
_PARTS = ".parts"  # of the mirror: what is not whole yet
_DAY = 24 * 3600
# COMPONENT/ARTIFACT/EXECUTION-TIME/file
_OF_ARTIFACT = re.compile(r"(\w+/\w+/\d+-[0-9a-f]+)/(.+)", re.DOTALL)


def root() -> Path:
    """The folder of all mirrors."""
    given = os.environ.get("TFMTL_MIRROR")
    return Path(given or "~/.local/share/tfmtl").expanduser().absolute()


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


def place(argument: str | Path) -> Path:
    """What `of` gives for an argument of a command.

    Raises:
        PipelineError: A URL without a bucket.
    """
    try:
        return Path(of(str(argument)))
    except ValueError as error:
        raise PipelineError(f"a folder {error}") from error


def url(path: Path) -> str | None:
    """The place in a store that a path mirrors; None if it is only local."""
    path = Path(os.path.abspath(path))
    if not path.is_relative_to(root()):
        return None
    scheme, *rest = path.relative_to(root()).parts or ("",)
    return f"{scheme}://{'/'.join(rest)}" if rest else None


def shown(path: str | Path) -> str:
    """The path as people know it."""
    return Path(path).is_absolute() and url(Path(path)) or str(path)


def present(artifact: Path) -> bool:
    """Whether an artifact is there, whole."""
    at = url(artifact)
    return artifact.is_dir() if at is None else remote.exists(f"{at}/{MANIFEST}")


def pull(artifact: Path) -> Path:
    """Copies an artifact from its store, unless it is here; returns it.

    Raises:
        PipelineError: It is not whole in the store, or does not arrive so.
    """
    at = url(artifact)
    if at is None:
        return artifact
    manifest, own = remote.read(f"{at}/{MANIFEST}"), artifact / MANIFEST
    if manifest is None:
        raise PipelineError(f"{at}: there is no whole artifact: it has no {MANIFEST}")
    if own.is_file() and own.read_bytes() == manifest:
        os.utime(own)  # used now
        return artifact
    listed = json.loads(manifest)
    part = new_part()
    remote.download(at, part, list(listed))
    for name, (size, checksum) in listed.items():
        file = part / name
        if file.stat().st_size != size or remote.checksum(file) != checksum:
            raise PipelineError(
                f"{at}/{name} is not what {MANIFEST} lists. It was changed by hand: "
                "delete the artifact, and the next run makes it anew"
            )
    (part / MANIFEST).write_bytes(manifest)
    put_in_place(part, artifact)
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
        name: [(folder / name).stat().st_size, remote.checksum(folder / name)]
        for name in names_in(folder)
    }
    remote.upload(folder, at, listed)
    manifest = (json.dumps(listed, indent=0) + "\n").encode()
    remote.write(f"{at}/{MANIFEST}", manifest)
    (folder / MANIFEST).write_bytes(manifest)


def give(folder: Path, names: Iterable[str]) -> None:
    """Copies files of a folder into its store, one after the other."""
    at = url(folder)
    for name in names if at else ():
        remote.upload(folder, at, [name])


def take(folder: Path, name: str) -> None:
    """Copies a small file of a folder from its store, where there is one."""
    at = url(folder)
    if at is not None and remote.exists(f"{at}/{name}"):
        remote.download(at, folder, [name])


def is_empty(folder: Path) -> bool:
    """Whether the store has nothing in a folder; True for one that is only local."""
    at = url(folder)
    return at is None or not remote.files(at)


def hand_over(folder: Path, last: str) -> None:
    """Copies a folder into its store, one file after all others; it leaves the mirror.

    A folder that is only local stays as it is.
    """
    at = url(folder)
    if at is not None:
        remote.upload(folder, at, [name for name in names_in(folder) if name != last])
        remote.upload(folder, at, [last])
        shutil.rmtree(folder)


def discard(artifact: Path) -> None:
    """Deletes what a store has of an artifact, the marker first."""
    at = url(artifact)
    if at is not None:
        remote.delete_folder(at, MANIFEST)


def delete(artifact: Path) -> None:
    """Deletes an artifact here and in its store."""
    discard(artifact)
    if artifact.is_dir():
        # What ends so is cleared by the next run.
        shutil.rmtree(artifact.rename(artifact.with_suffix(".tmp")))


def sizes(workspace: Path) -> dict[Path, tuple[int, float]]:
    """{artifact of the store, whole or not: (bytes, time of the last write)}.

    Empty for a workspace that is only local.
    """
    at = url(workspace)
    found: dict[Path, tuple[int, float]] = {}
    for name, file in (remote.files(at) if at else {}).items():
        if match := _OF_ARTIFACT.fullmatch(name):
            folder = workspace / match[1]
            size, written = found.get(folder, (0, 0.0))
            found[folder] = size + file.size, max(written, file.time)
    return found


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
            shutil.rmtree(part, ignore_errors=True)
    bound = float(os.environ.get("TFMTL_MIRROR_GB") or 100) * 1e9
    marks = sorted(workspace.glob(f"*/*/*/{MANIFEST}"), key=lambda m: m.stat().st_mtime)
    size = {mark.parent: sum(s for s, _ in json.loads(mark.read_text()).values())
            for mark in marks}  # fmt: skip
    total = sum(size.values())
    for artifact in size:
        if total <= bound:
            return
        if artifact not in keep:
            part = new_part()  # not *.tmp, which the next run deletes in the store, too
            artifact.rename(part / "old")
            shutil.rmtree(part)
            total -= size[artifact]


def names_in(folder: Path) -> list[str]:
    """The files of a folder, by their paths from there."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path.relative_to(folder).as_posix() for path in files]


def new_part() -> Path:
    """A new folder for what is not whole yet."""
    part = root() / _PARTS / uuid.uuid4().hex
    part.mkdir(parents=True)
    return part


def put_in_place(part: Path, folder: Path) -> None:
    """Renames a folder that is whole now; one that was there gives way."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        folder.rename(new_part() / "old")
    try:
        part.rename(folder)
    except OSError:
        if not folder.is_dir():  # another has been faster
            raise
