"""Architectures by name."""

from tfmtl import _errors
from tfmtl.models.base import MultiTaskModel
from tfmtl.models.ple import PLE
from tfmtl.models.shared_bottom import SharedBottom

_REGISTRY = {
    "shared_bottom": SharedBottom,
    "ple": PLE,
}

__all__ = ["PLE", "MultiTaskModel", "SharedBottom", "get", "names"]


def names() -> list[str]:
    """Returns the names of all architectures.

    Example:
    >>> "ple" in names()
    True
    """
    return list(_REGISTRY)


def get(name: str) -> type[MultiTaskModel]:
    """Returns the architecture of a name.

    Args:
        name: String. One of `names()`.

    Raises:
        ValueError: If there is no such architecture; the message gives the nearest.

    Example:
    >>> get("ple").__name__
    'PLE'
    """
    _errors.check_choice("architecture", name, _REGISTRY)
    return _REGISTRY[name]
