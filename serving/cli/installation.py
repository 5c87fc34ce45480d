"""What is installed, as the commands tell it: versions, and what is missing."""

import platform
from importlib import metadata

_OURS = ("tfmtl", "pipeline", "serving")


def version() -> str:
    """The version of this project and of what decides how it behaves.

    Nothing is imported for it. A package that is not installed is left out.
    """
    found = []
    for name in ("tfmtl", "tensorflow", "keras", "apache-beam"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join([*found, f"Python {platform.python_version()}"])


def missing(error: ModuleNotFoundError, extra: str) -> str:
    """Says what to install for a module that is not there.

    Args:
        error: What the import raised.
        extra: The extra that brings all that the command needs.

    Raises:
        ModuleNotFoundError: the error itself, if the module would be one of ours.
    """
    package = (error.name or "").partition(".")[0]
    if package in ("", *_OURS):
        raise error
    return (
        f"the package {package!r} is not installed. This command needs the extra "
        f"`{extra}`: pip install 'tfmtl[{extra}]'"
    )
