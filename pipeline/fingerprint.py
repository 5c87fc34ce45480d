"""What a stage's outputs depend on, as one hash: inputs, config, code, libraries."""

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_OURS = ("pipeline", "tfmtl", "serving")
_LIBRARIES = ("apache-beam", "keras", "pyarrow", "tensorflow")
_IMPORT = re.compile(
    r"^[ ]*(?:from[ ]([\w.]+)[ ])?import[ ](\([^)]*\)|.*)", re.MULTILINE
)


def fingerprint(modules: Iterable[str], depends: Any, inputs: Iterable[str]) -> str:
    """Returns the hash of an execution.

    Args:
        modules: The component's modules; they and what they import of this project,
            or of their own package, count.
        depends: The part of the config that the outputs depend on.
        inputs: Names of the executions whose artifacts are read.
    """
    versions = [importlib.metadata.version(library) for library in _LIBRARIES]
    parts = [[code(module) for module in modules], versions, depends, list(inputs)]
    return digest(parts)


def digest(value: Any) -> str:
    """Returns the hash of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@functools.cache
def code(module: str) -> str:
    """Returns the hash of a module's source and of all it imports of this project.

    A module that is not of this project counts with what it imports of its package.
    """
    digest = hashlib.sha256()
    for name in sorted(_closure(module)):
        digest.update(_file(name).read_bytes())
    return digest.hexdigest()


def _closure(module: str) -> set[str]:
    packages = {*_OURS, module.split(".")[0]}
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name.split(".")[0] not in packages or not _file(name):
            continue
        seen.add(name)
        waiting += _imports(name)
    return seen


@functools.cache  # The stages have most of their modules in common.
def _imports(name: str) -> list[str]:
    """Returns the names that a module of ours imports, whether modules or not.

    A word too many, such as one of a docstring, does no harm. Parsing the modules would
    take ten times as long, a quarter of a second before the first stage.
    """
    found, file = [], _file(name)
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for of, names in _IMPORT.findall(file.read_text()):
        if of.startswith(".") and package:
            of = importlib.util.resolve_name(of, package)
        words = re.findall(r"[\w.]+", names)
        found += [of, *(f"{of}.{word}" for word in words)] if of else words
    return found


def _file(name: str) -> Path | None:
    """Returns the source of a module, without importing it; None if there is none."""
    package, *rest = name.split(".")
    root = _ROOT / package if package in _OURS else _package(package)
    if root is None:
        return None
    path = root.joinpath(*rest)
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def _package(name: str) -> Path | None:
    """Returns the folder of another package, or the path of a module without .py."""
    found = importlib.util.find_spec(name)
    if found is None:
        return None
    if found.submodule_search_locations:
        return Path(next(iter(found.submodule_search_locations)))
    return Path(found.origin).with_suffix("")
