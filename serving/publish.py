"""Publishing a SavedModel: a new version appears under the base path all at once.

A server that polls the base path, this one or TF Serving, ignores names that are not
numbers. So a copy is made under such a name, flushed to disk, and renamed when it is
whole; old versions leave the same way: renamed, then deleted. Whoever is killed on the
way leaves a name that is no number behind, which the next one removes.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from serving import labels as model_labels
from serving import rolled_back

_PUBLISHING, _DELETING = ".publishing-", ".deleting-"


class PublishError(ValueError):
    """The directory cannot be published; the message says why."""


def publish(
    saved_model_dir: str | Path,
    base_path: str | Path,
    *,
    version: int | None = None,
    keep: int = 3,
    extra: Mapping[str, str] | None = None,
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

    Returns:
        Path, the directory of the published version.

    Raises:
        PublishError: the directory is no whole SavedModel, the version exists, or
            an argument is out of its range.
    """
    source, base = Path(saved_model_dir), Path(base_path)
    _check(source, version, keep)
    base.mkdir(parents=True, exist_ok=True)
    with _alone(base):
        _sweep(base)
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
        rolled_back.unmark(base, target)
        flush_one(base)
        _prune(base, keep, [int(target.name)])
    return target


def rollback(base_path: str | Path, to: int | None = None) -> Path:
    """Publishes an older version anew, under the next number.

    For a server that serves the newest version of a base path. One that reads a model
    config file goes back in no time: see `serving.labels.rollback`. The pipeline
    does not publish the models of the versions above again; see `rolled_back`.

    Args:
        base_path: path. The directory of the versions.
        to: int. The version to go back to. Defaults to the one before the newest.

    Returns:
        Path, the directory of the published version; all that were there stay.

    Raises:
        PublishError: there is no such version.
    """
    found = sorted(versions(Path(base_path)))
    if to is None and len(found) > 1:
        to = found[-2]
    if to not in found:
        wanted = "older version" if to is None else f"version {to}"
        raise PublishError(
            f"There is no {wanted} to go back to in {base_path}. It has: {found}"
        )
    rolled_back.mark(base_path, to)
    return publish(Path(base_path) / str(to), base_path, keep=len(found) + 1)


def publish_labelled(
    saved_model_dir: str | Path,
    base_path: str | Path,
    config_file: str | Path,
    name: str,
    labels: Collection[str] = (),
    *,
    keep: int = 3,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Publishes a version and adds it to those that a model config file serves.

    Args:
        saved_model_dir: path. A directory with saved_model.pb and variables/.
        base_path: path. The directory of the versions, as seen from here.
        config_file: path. TF Serving's `--model_config_file`; see `serving.labels`.
        name: str. The model's name in that file.
        labels: collection of str. Labels that the version gets. Defaults to none.
        keep: int. How many of the newest versions stay, beside those with a label.
        extra: dict. As for `publish`.

    Returns:
        Path, the directory of the published version.

    Raises:
        PublishError: as `publish`.
        ValueError: the config file cannot be read.
    """
    base = Path(base_path)
    before = len(versions(base))
    # Old versions leave last: until the file is changed, a server may want them.
    target = publish(saved_model_dir, base, keep=before + keep, extra=extra)
    model_labels.assign(
        config_file,
        name,
        dict.fromkeys(labels, int(target.name)),
        add=[int(target.name)],
        base_path=base,
    )
    with _alone(base):
        _prune(base, keep, model_labels.served(config_file, name))
    return target


def versions(base: Path) -> list[int]:
    """The versions under a base path, in no order; none where it is missing."""
    names = (path.name for path in base.iterdir()) if base.is_dir() else ()
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def flush_one(path: Path) -> None:
    """Makes a file's content, or a directory's names, outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(source: Path, version: int | None, keep: int) -> None:
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


@contextlib.contextmanager
def _alone(base: Path) -> Iterator[None]:
    """Holds the base path; the kernel lets go of it when the process dies."""
    descriptor = os.open(base, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(base: Path) -> None:
    """Removes what publishers that were killed have left."""
    for prefix in (_PUBLISHING, _DELETING):
        for path in base.glob(f"{prefix}*"):
            shutil.rmtree(path)


def _rename(staging: Path, base: Path, version: int | None) -> Path:
    number = max(versions(base), default=0) + 1 if version is None else version
    target = base / str(number)
    # An empty directory would give way to a rename.
    if target.exists():
        raise PublishError(
            f"Version {version} exists already: {target}. Leave the version out to "
            "publish under the next number"
        )
    staging.rename(target)
    return target


def _prune(base: Path, keep: int, protect: Collection[int]) -> None:
    for number in sorted(versions(base), reverse=True)[keep:]:
        if number not in protect:
            leaving = Path(tempfile.mkdtemp(prefix=_DELETING, dir=base))
            (base / str(number)).rename(leaving)  # an empty directory gives way
            shutil.rmtree(leaving)


def _flush(directory: Path) -> None:
    for parent, _, files in os.walk(directory):
        for name in files:
            flush_one(Path(parent, name))
        flush_one(Path(parent))
