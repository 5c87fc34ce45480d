"""Learning curves under telling names, all in one folder for TensorBoard.

    tensorboard --logdir WORKSPACE/tensorboard

has a link a run that trained a model, to the logs of that model:
ARCHITECTURE-OVERRIDES-RUN, such as ple-epochs=5-20261130-133000.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts import layout
from pipeline.config import Config

_LONG = 100  # characters of the overrides


def link(config: Config, overrides: Sequence[str], run: str, model: Path) -> Path:
    """Makes the link of a run, and removes those whose logs are deleted.

    Args:
        config: What it ran with.
        overrides: What `--set` changed.
        run: Its name.
        model: The model artifact.

    Returns:
        The folder of all links.
    """
    folder = Path(config.workspace) / layout.TENSORBOARD_LINKS
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        if old.is_symlink() and not old.exists():
            old.unlink(missing_ok=True)
    path = folder / name(config.model.architecture, overrides, run)
    target = os.path.relpath(model / layout.TENSORBOARD, folder)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    return folder


def name(architecture: str, overrides: Sequence[str], run: str) -> str:
    """The name of a run's curves: a file name that tells it from others.

    Example:
        >>> name("ple", ["train.epochs=5", "workspace=/tmp/a"], "20261130-133000")
        'ple-epochs=5-20261130-133000'
    """
    shown = []
    for override in overrides:
        key, _, value = override.partition("=")
        section, _, last = key.rpartition(".")
        if section and key not in ("model.architecture", "push.destination"):
            shown.append(f"{last}={value}")
    parts = [architecture, ",".join(shown)[:_LONG], run]
    return "-".join(re.sub(r"[^\w.,=+-]+", "_", part) for part in parts if part)
