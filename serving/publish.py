"""Publishing a SavedModel: a new version appears under the base path all at once."""

import os
import shutil
import tempfile
from pathlib import Path


class PublishError(ValueError):
    """The directory cannot be published; the message says why."""


def publish(
    saved_model_dir: str | Path,
    base_path: str | Path,
    *,
    version: int | None = None,
    keep: int = 3,
) -> Path:
    """Copies a SavedModel to the next version under a model's base path.

    A server that polls the base path, this one or TF Serving, ignores names that are
    not numbers. So the copy is made under such a name, flushed to disk, and renamed
    when it is whole. Old versions leave the same way: renamed, then deleted.

    Args:
        saved_model_dir: path. A directory with saved_model.pb and variables/.
        base_path: path. The directory of the versions; made if it is missing.
        version: int. The version to publish as. Defaults to the newest plus 1.
        keep: int. How many of the newest versions stay. Defaults to 3.

    Returns:
        Path, the directory of the published version.

    Raises:
        PublishError: the directory is no whole SavedModel, the version exists, or
            an argument is out of its range.
    """
    source, base = Path(saved_model_dir), Path(base_path)
    _check(source, version, keep)
    base.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".publishing-", dir=base))
    try:
        shutil.copytree(source, staging, dirs_exist_ok=True)
        staging.chmod(0o755)  # mkdtemp's 0700 would keep a server of another user out
        _flush(staging)
        target = _rename(staging, base, version)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _flush_one(base)
    _prune(base, keep, target)
    return target


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


def _rename(staging: Path, base: Path, version: int | None) -> Path:
    while True:
        number = max(_versions(base), default=0) + 1 if version is None else version
        target = base / str(number)
        try:
            staging.rename(target)
            return target
        except OSError as error:
            if not target.exists():
                raise
            if version is not None:
                raise PublishError(
                    f"Version {version} exists already: {target}. Leave the version "
                    "out to publish under the next number"
                ) from error
            # Another publisher was first: try the number after its own.


def _prune(base: Path, keep: int, published: Path) -> None:
    for number in sorted(_versions(base), reverse=True)[keep:]:
        old = base / str(number)
        if old != published:
            leaving = Path(tempfile.mkdtemp(prefix=".deleting-", dir=base))
            old.rename(leaving)  # an empty directory gives way
            shutil.rmtree(leaving)


def _versions(base: Path) -> list[int]:
    names = (path.name for path in base.iterdir())
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def _flush(directory: Path) -> None:
    for parent, _, files in os.walk(directory):
        for name in files:
            _flush_one(Path(parent, name))
        _flush_one(Path(parent))


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
