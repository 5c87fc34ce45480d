"""`train.callbacks`: Keras callbacks from elsewhere, such as MLflow's or W&B's."""

import pkgutil
from collections.abc import Callable

import keras

from pipeline.config import Config, ConfigError


def check(config: Config) -> None:
    """Raises a ConfigError if one of them cannot be imported."""
    for i in range(len(config.train.callbacks)):
        _imported(config, i)


def make(config: Config) -> list[keras.callbacks.Callback]:
    """Returns the callbacks, each a new one.

    Raises:
        ConfigError: What a name stands for gives no callback.
    """
    callbacks = []
    for i, name in enumerate(config.train.callbacks):
        callback = _imported(config, i)()
        if not isinstance(callback, keras.callbacks.Callback):
            raise ConfigError(
                f"train.callbacks.{i}: {name!r} must give a keras.callbacks.Callback. "
                f"It gave a {type(callback).__name__}"
            )
        callbacks.append(callback)
    return callbacks


def _imported(config: Config, index: int) -> Callable[[], object]:
    name = config.train.callbacks[index]
    try:
        made = pkgutil.resolve_name(name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"train.callbacks.{index}: {name!r} cannot be imported: {error}. Install "
            "its package, or have its module on PYTHONPATH"
        ) from error
    if not callable(made):
        raise ConfigError(
            f"train.callbacks.{index}: {name!r} must be a class, or a function, that "
            f"gives a callback. Received: a {type(made).__name__}"
        )
    return made
