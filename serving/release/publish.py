"""Publishing a SavedModel: a new version appears under the base path all at once.

A server that polls the base path, this one or TF Serving, ignores names that are not
numbers. So a copy is made under such a name, flushed to disk, and renamed when it is
whole; old versions leave the same way: renamed, then deleted. Whoever is killed on the
way leaves a name that is no number behind, which the next one removes.
"""

import filecmp
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from serving.models.version_folders import all_folders, versions
from serving.release import rollbacks
from serving.release.files import alone, flush

_PUBLISHING, _DELETING = ".publishing-", ".deleting-"
_ROLLBACK = ".rollback"


class PublishError(ValueError):
    """The directory cannot be published; the message says why."""


def publish(
    saved_model_dir: str | Path,
    base_path: str | Path,
    *,
    version: int | None = None,
    keep: int = 3,
    extra: Mapping[str, str] | None = None,
    reuse: bool = False,
) -> Path:
    """Copies a SavedModel to the next version under a model's base path.

    Publishers of one base path wait for each other, so that none removes what another
    is about to rename.

    Args:
        saved_model_dir: path. A directory with saved_model.pb and variables/.
        base_path: path. The directory of the versions; made if it is missing.
        version: int. The version to publish as. Defaults to the newest plus 1.
        keep: int. How many of the newest versions stay. Defaults to 3.
        extra: dict. Files of text to add to the copy, or to put in place of its own,
            by relative path. Defaults to none.
        reuse: bool. Whether the newest version is given where it is this very model,
            and was not rolled back. Defaults to False.

    Returns:
        Path, the directory of the published version.

    Raises:
        PublishError: the directory is no whole SavedModel, the version exists, or
            an argument is out of its range.
    """
    source, base = Path(saved_model_dir), Path(base_path)
    check(source, keep, version)
    base.mkdir(parents=True, exist_ok=True)
    with alone(base):
        _sweep(base)
        *_, newest = [None, *versions(base).values()]
        if (
            reuse
            and newest is not None
            and same_model(source, newest, extra or ())
            and not rollbacks.is_rolled_back(source, base)
        ):
            return newest
        staging = Path(tempfile.mkdtemp(prefix=_PUBLISHING, dir=base))
        try:
            shutil.copytree(source, staging, dirs_exist_ok=True)
            for name, text in (extra or {}).items():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                (staging / name).write_text(text)
            # mkdtemp's 0700 would keep a server of another user out.
            staging.chmod(0o755)
            _flush(staging)
            target = _rename(staging, base, version)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        rollbacks.unmark(base, target)
        flush(base)
        _prune(base, keep, [int(target.name)])
    return target


def prune(base_path: str | Path, keep: int, protect: Collection[int]) -> None:
    """Removes all but the newest versions.

    Args:
        base_path: path. The directory of the versions.
        keep: int. How many of the newest stay.
        protect: collection of int. Versions that stay though they are older.
    """
    base = Path(base_path)
    with alone(base):
        _prune(base, keep, protect)


def remove(version: Path) -> None:
    """Removes a version; no server sees half of it."""
    with alone(version.parent):
        _remove(version)


def rollback(
    base_path: str | Path,
    to: int | None = None,
    confirm: Callable[[Path], None] = lambda target: None,
) -> Path:
    """Publishes an older version anew, under the next number.

    For a server that serves the newest version of a base path. One that reads a model
    config file keeps the numbers: see `serving.release.releases.roll_back`. The
    pipeline does not publish the models of the versions above again; see `rollbacks`. A
    rollback that was killed is finished by the next one.

    Args:
        base_path: path. The directory of the versions.
        to: int. The version to go back to. Defaults to the newest one with another
            model than the newest has, that was not rolled back itself.
        confirm: function. Takes the published version; raises while it is not served.
            Until it returns, the next call does not go further back.

    Returns:
        Path, the directory of the published version; all that were there stay.

    Raises:
        PublishError: there is no such version.
    """
    base = Path(base_path)
    folders = versions(base)
    note = base / _ROLLBACK
    newest = max(folders, default=0)
    begun, target = rollbacks.begun(note), None
    if begun and begun["to"] in folders and to in (None, begun["to"]):
        if newest == begun["newest"]:
            to = begun["to"]
        elif same_model(folders[newest], folders[begun["to"]]):
            to, target = begun["to"], folders[newest]  # what is left is to confirm it
    if to is None:
        to = older_model(base, newest)
    if to not in folders:
        wanted = "older version" if to is None else f"version {to}"
        raise PublishError(
            f"There is no {wanted} to go back to in {base_path}. It has: "
            f"{[*folders]}, without those that were rolled back"
        )
    if target is None:
        rollbacks.begin(note, {"to": to, "newest": newest})
        target = publish(folders[to], base, keep=len(folders) + 1)
    confirm(target)
    rollbacks.mark(base, to)
    rollbacks.end(note)
    return target


def older_model(base_path: str | Path, version: int) -> int | None:
    """The newest version below one, of another model that was not rolled back."""
    folders = versions(base_path)
    for number in sorted(folders, reverse=True):
        if number >= version or rollbacks.is_rolled_back(folders[number], base_path):
            continue
        if version not in folders or not same_model(folders[number], folders[version]):
            return number
    return None


def same_model(one: Path, other: Path, ignored: Collection[str] = ()) -> bool:
    """Whether two SavedModels have the same files, but for some by relative path."""
    found = [
        {
            name: path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and (name := str(path.relative_to(folder))) not in ignored
        }
        for folder in (one, other)
    ]
    return found[0].keys() == found[1].keys() and all(
        filecmp.cmp(path, found[1][name], shallow=False)
        for name, path in found[0].items()
    )


def check(saved_model_dir: str | Path, keep: int, version: int | None = None) -> None:
    """Raises a PublishError if this cannot be published."""
    source = Path(saved_model_dir)
    for part in ("saved_model.pb", "variables/variables.index"):
        if not (source / part).is_file():
            raise PublishError(
                f"A SavedModel to publish needs saved_model.pb and variables/. "
                f"Received: {source}, which lacks {part}"
            )
    if version is not None and version < 0:
        raise PublishError(f"A version is not negative. Received: {version}")
    if keep < 1:
        raise PublishError(f"keep must be at least 1. Received: {keep}")


def _sweep(base: Path) -> None:
    """Removes what publishers that were killed have left."""
    for prefix in (_PUBLISHING, _DELETING):
        for path in base.glob(f"{prefix}*"):
            shutil.rmtree(path)


def _rename(staging: Path, base: Path, version: int | None) -> Path:
    found = versions(base)
    number = max(found, default=0) + 1 if version is None else version
    target = base / str(number)
    # An empty directory would give way to a rename.
    if target.exists() or number in found:
        raise PublishError(
            f"Version {number} exists already: {found.get(number, target)}. Leave the "
            "version out to publish under the next number"
        )
    staging.rename(target)
    return target


def _prune(base: Path, keep: int, protect: Collection[int]) -> None:
    stay = {*sorted(versions(base), reverse=True)[:keep], *protect}
    for number, path in all_folders(base):
        if number not in stay:
            _remove(path)


def _remove(version: Path) -> None:
    leaving = Path(tempfile.mkdtemp(prefix=_DELETING, dir=version.parent))
    version.rename(leaving)  # an empty directory gives way
    shutil.rmtree(leaving)


def _flush(directory: Path) -> None:
    for parent, _, files in os.walk(directory):
        for name in files:
            flush(Path(parent, name))
        flush(Path(parent))
