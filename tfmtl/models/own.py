"""Architectures of one's own, named by where they stand: "module:Class"."""

import pkgutil

import keras

from tfmtl.models.base import MultiTaskModel


def is_own(name: str) -> bool:
    """Returns whether a name is "module:Class", not that of an architecture here."""
    return isinstance(name, str) and ":" in name


def load(name: str) -> type[MultiTaskModel]:
    """Returns the class that "module:Class" names.

    Args:
        name: String. The module must be importable, so on PYTHONPATH or installed.

    Raises:
        ValueError: If it cannot be imported, is no `MultiTaskModel`, or could not be
            loaded again once it is saved.
    """
    try:
        found = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"architecture {name!r} cannot be imported: {error}. Write module:Class, "
            "and have the module in the current folder or on PYTHONPATH."
        ) from error
    if not (isinstance(found, type) and issubclass(found, MultiTaskModel)):
        raise ValueError(
            f"architecture {name!r} must be a subclass of tfmtl.MultiTaskModel. "
            f"Received: {found!r}."
        )
    saved_as = keras.saving.get_registered_name(found)
    if keras.saving.get_registered_object(saved_as) is not found:
        raise ValueError(
            f"{found.__name__} must be registered, else a saved model cannot be "
            "loaded: write @keras.saving.register_keras_serializable("
            f"{name.split(':')[0]!r}) above the class."
        )
    return found
