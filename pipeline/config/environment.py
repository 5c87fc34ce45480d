"""Environment variables in a config: `${NAME}` in any text of its YAML file.

`$${NAME}` is the text `${NAME}`.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError

_VARIABLE = re.compile(r"(\$?)\$\{(\w+)\}")


def escape(text: str) -> str:
    """Returns a text as a YAML file has it, where nothing in it is a variable."""
    return _VARIABLE.sub(r"$\g<0>", text)


def expand(raw: Any, source: str | Path) -> Any:
    """Returns what a YAML file holds with the values of environment variables.

    Args:
        raw: Mappings, lists and values, of which the texts may have `${NAME}` in them.
        source: The file, for messages.

    Raises:
        ConfigError: With one line for each text that names a variable that is not set.
    """
    problems = [
        f"{source}: {path}: the environment variable {name} is not set. Received: "
        f"{text!r}. Set it, as by {name}=... before the command, or give the value by "
        f"--set {path}=..."
        for path, text in _texts(raw, "")
        for escaped, name in _VARIABLE.findall(text)
        if not escaped and name not in os.environ
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    return _expanded(raw)


def _texts(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yields (YAML path, text) of all texts."""
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            yield from _texts(value, f"{path}.{key}".lstrip("."))


def _expanded(node: Any) -> Any:
    if isinstance(node, str):
        return _VARIABLE.sub(
            lambda match: match[0][1:] if match[1] else os.environ[match[2]], node
        )
    if isinstance(node, dict):
        return {key: _expanded(value) for key, value in node.items()}
    return [_expanded(value) for value in node] if isinstance(node, list) else node
