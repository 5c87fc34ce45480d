"""Labels of versions, such as stable and canary, in TF Serving's model config file.

A server that polls the file (`--model_config_file_poll_wait_seconds`) serves the
versions that it lists, and a URL may name a label for a version:
`/v1/models/shop/labels/canary:predict`. A URL with neither gets the highest version
listed. The file is replaced in one step, so that a server never reads half of it;
comments in it are lost.

TF Serving gives a label that it knows only to a version that it has loaded, and refuses
the whole file else. So moving a label to a version that is not served yet takes two
steps: `assign` it with `add`, without the label, `wait` until it is AVAILABLE, then
`assign` the label.
"""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from serving import rolled_back

STABLE = "stable"


def served(config_file: str | Path, name: str) -> list[int]:
    """The versions that the file lists for a model; none if it does not know it."""
    model = _find(_parse(Path(config_file)), name)
    if model is None:
        return []
    listed = model.model_version_policy.specific.versions
    return sorted({*listed, *model.version_labels.values()})


def labels(config_file: str | Path, name: str) -> dict[str, int]:
    """{label: version} of a model; none if the file does not know it."""
    model = _find(_parse(Path(config_file)), name)
    return dict(sorted(model.version_labels.items())) if model is not None else {}


def assign(
    config_file: str | Path,
    name: str,
    wanted: Mapping[str, int | None],
    *,
    add: Collection[int] = (),
    drop: Collection[int] = (),
    base_path: str | Path | None = None,
) -> dict[str, int]:
    """Gives labels to versions, and lists the versions to serve.

    Listed are afterwards: each version with a label, `add`, and the highest version
    that was listed before and is not in `drop`, if it is above those.

    Args:
        config_file: path. The file; made if it is missing.
        name: str. The model's name.
        wanted: dict. The version of each label; None takes the label away. Other
            labels stay as they are.
        add: collection of int. Versions to serve without a label too. Defaults to
            none.
        drop: collection of int. Versions not to serve without a label. Defaults to
            none.
        base_path: path. Where the versions are, for a model that the file does not
            know yet. Defaults to no model being added.

    Returns:
        dict, all labels of the model.

    Raises:
        ValueError: the file is not of its format, or does not know the model.
    """
    file = Path(config_file)
    with _changing(file) as config:
        model = _find(config, name)
        if model is None:
            model = _add(config, file, name, base_path)
        before = {*model.model_version_policy.specific.versions} - {*drop}
        for label, version in wanted.items():
            if version is None:
                model.version_labels.pop(label, None)
            else:
                model.version_labels[label] = version
        listed = {*model.version_labels.values()} | {*add}
        if before and max(before) > max(listed, default=-1):
            listed.add(max(before))  # or a URL without a label would get an older one
        _list(model, listed)
        return dict(sorted(model.version_labels.items()))


def rollback(
    config_file: str | Path,
    name: str,
    to: int | None = None,
    on_disk: Collection[int] = (),
) -> int:
    """Goes back to an older version: `stable` is given to it, and newer ones leave.

    Args:
        config_file: path. The file.
        name: str. The model's name.
        to: int. The version to go back to, one that the file lists or of `on_disk`.
            Defaults to that of `stable`, where newer ones are listed, and else to the
            highest one below it.
        on_disk: collection of int. Versions that may be gone back to though they are
            not listed. Defaults to none.

    Returns:
        int, the version that is served now to whoever names none.

    Raises:
        ValueError: the file is not of its format or does not know the model, or there
            is no such version.
    """
    file = Path(config_file)
    with _changing(file) as config:
        model = _find(config, name)
        if model is None:
            model = _add(config, file, name, None)
        listed = sorted(
            {
                *model.model_version_policy.specific.versions,
                *model.version_labels.values(),
            }
        )
        if to is None:
            stable = model.version_labels.get(STABLE, listed[-1] if listed else 0)
            older = sorted(n for n in {*listed, *on_disk} if n < stable)
            if listed and stable < listed[-1]:
                to = stable
            elif older:
                to = older[-1]
            else:
                raise ValueError(
                    f"There is no older version of {name!r} to go back to. {file} "
                    f"lists {listed}. Name one that is on disk: --to VERSION"
                )
        if to not in {*listed, *on_disk}:
            raise ValueError(
                f"There is no version {to} of {name!r} to go back to. {file} lists "
                f"{listed}, and the base path has {sorted(on_disk)}; another one needs "
                "--model-base-path, and to be there"
            )
        for label, version in [*model.version_labels.items()]:
            if version > to and label != STABLE:
                del model.version_labels[label]
        model.version_labels[STABLE] = to
        _list(model, {n for n in listed if n < to} | {to})
        rolled_back.mark(model.base_path, to)
        return to


def wait(status: Any, version: int, seconds: float = 60.0) -> None:
    """Waits until a server has loaded a version.

    Args:
        status: function. Gives {version: state}, such as `Client.status`.
        version: int. The version.
        seconds: float. How long to wait at most. Defaults to 60.

    Raises:
        ValueError: it is not AVAILABLE by then.
    """
    end = time.monotonic() + seconds
    while (state := status().get(version)) != "AVAILABLE":
        if state == "END" or time.monotonic() > end:
            raise ValueError(
                f"The server must have loaded version {version} before it gets a "
                f"label. Its state after the wait: {state or 'unknown'}. See the "
                "server's log"
            )
        time.sleep(0.2)


def _parse(file: Path) -> Any:
    from google.protobuf import text_format
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    config = ModelServerConfig()
    if not file.exists():
        return config
    try:
        return text_format.Parse(file.read_text(), config)
    except text_format.ParseError as error:
        raise ValueError(
            f"{file} is no model_config_list in text format: {error}"
        ) from error


def _find(config: Any, name: str) -> Any:
    models = config.model_config_list.config
    return next((model for model in models if model.name == name), None)


def _add(config: Any, file: Path, name: str, base_path: str | Path | None) -> Any:
    if base_path is None:
        known = [model.name for model in config.model_config_list.config]
        raise ValueError(f"{file} has no model {name!r}. It has: {known}")
    return config.model_config_list.config.add(
        name=name, base_path=str(Path(base_path).resolve()), model_platform="tensorflow"
    )


def _list(model: Any, listed: set[int]) -> None:
    model.model_version_policy.Clear()
    model.model_version_policy.specific.versions.extend(sorted(listed))


@contextlib.contextmanager
def _changing(file: Path) -> Iterator[Any]:
    """Gives the parsed file to change, and replaces it; one process at a time."""
    from google.protobuf import text_format

    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        config = _parse(file)
        yield config
        _replace(file, text_format.MessageToString(config))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(file: Path, text: str) -> None:
    for left in file.parent.glob(f".{file.name}-*"):  # by one that was killed
        left.unlink()
    number, path = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with open(number, "w") as new:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        os.chmod(path, file.stat().st_mode & 0o777 if file.exists() else 0o644)
        os.replace(path, file)
    except BaseException:
        os.unlink(path)
        raise
