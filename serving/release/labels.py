"""Versions and labels of a model in TF Serving's model config file.

A server that polls the file (`--model_config_file_poll_wait_seconds`) serves the
versions that it lists, and a URL may name a label for a version:
`/v1/models/shop/labels/canary:predict`. A URL with neither gets the highest version
listed. The file is replaced in one step, so that a server never reads half of it;
comments in it are lost.

A server does not take every change: see `serving.release.steps`, which makes them in
steps that it takes.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from serving.config.server import ModelConfig, model_configs, parse_text_file
from serving.release.files import alone, replace

STABLE = "stable"


class ChangedMeanwhileError(ValueError):
    """The file does not say any more what a change was made for."""


def models(config_file: str | Path) -> list[ModelConfig]:
    """What the file says of each model; [] where it is missing.

    Raises:
        ValueError: the file is not of its format, or no server takes it.
    """
    return model_configs(_parse(Path(config_file)))


def find(config_file: str | Path, name: str) -> ModelConfig | None:
    """What the file says of a model; None if it does not know it.

    Raises:
        ValueError: the file is not of its format.
    """
    return _find(_parse(Path(config_file)), name)


def known(config_file: str | Path, name: str) -> ModelConfig:
    """What the file says of a model that it has to know.

    Raises:
        ValueError: the file is not of its format, or does not know the model.
    """
    found = find(config_file, name)
    if found is not None:
        return found
    names = [model.name for model in models(config_file)]
    raise ValueError(f"{config_file} has no model {name!r}. It has: {names}")


def write(
    config_file: str | Path,
    before: ModelConfig | None,
    after: ModelConfig | None,
) -> None:
    """Replaces what the file says of a model, or adds or removes it.

    Nothing is done where it says `after` already: somebody else did the same.

    Args:
        config_file: path. The file; made if it is missing.
        before: ModelConfig. What it has to say until now; None is nothing.
        after: ModelConfig. What it says then; None is nothing.

    Raises:
        ValueError: the file is not of its format.
        ChangedMeanwhileError: it does not say `before`.
    """
    from google.protobuf import text_format

    name = (before or after).name
    file = Path(os.path.realpath(config_file))
    file.parent.mkdir(parents=True, exist_ok=True)
    with alone(file.parent):
        config = _parse(file)
        found = _find(config, name)
        if found == after:
            return
        _check(config_file, found, before)
        models = config.model_config_list.config
        if after is None:
            kept = [model for model in models if model.name != name]
            del models[:]
            models.extend(kept)
        else:
            _set(models, after)
        replace(file, text_format.MessageToString(config))


def check_unchanged(config_file: str | Path, model: ModelConfig) -> None:
    """Raises a ChangedMeanwhileError if the file does not say this any more."""
    _check(config_file, find(config_file, model.name), model)


def describe(model: ModelConfig | None) -> str:
    """Says what a file lists of a model, such as "versions 4, 5; stable=4"."""
    if model is None:
        return "no such model"
    versions = f"the newest {model.versions} versions"
    if isinstance(model.versions, tuple):
        versions = versions_text(model.versions)
    elif model.versions == "all":
        versions = "all versions"
    return "; ".join([versions, *labels_text(model.labels)])


def versions_text(versions: Collection[int]) -> str:
    """Such as "versions 4, 5"."""
    found = ", ".join(str(version) for version in sorted(versions)) or "none"
    return f"version{'s' * (len(versions) != 1)} {found}"


def labels_text(labels: Mapping[str, int | None]) -> list[str]:
    """Such as ["canary=5 stable=4"]; [] without labels."""
    found = [f"{label}={version}" for label, version in sorted(labels.items())]
    return [" ".join(found)] if found else []


def _check(
    config_file: str | Path, found: ModelConfig | None, expected: ModelConfig | None
) -> None:
    if found != expected:
        raise ChangedMeanwhileError(
            f"{config_file} was changed by somebody else meanwhile, and is left as it "
            f"is: {describe(found)}"
        )


def _set(models: Any, after: ModelConfig) -> None:
    """Has the repeated message of the file's models say this of one."""
    model = next((model for model in models if model.name == after.name), None)
    if model is None:
        path = str(after.base_path.resolve())
        model = models.add(name=after.name, base_path=path, model_platform="tensorflow")
    policy = model.model_version_policy
    policy.Clear()
    if isinstance(after.versions, tuple):
        policy.specific.versions.extend(after.versions)
    elif after.versions == "all":
        policy.all.SetInParent()
    else:
        policy.latest.num_versions = after.versions
    model.version_labels.clear()
    model.version_labels.update(after.labels)


def _parse(file: Path) -> Any:
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    config = ModelServerConfig()
    return parse_text_file(file, config) if file.exists() else config


def _find(config: Any, name: str) -> ModelConfig | None:
    return next((model for model in model_configs(config) if model.name == name), None)
