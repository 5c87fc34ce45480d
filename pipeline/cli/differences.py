"""How one config differs from another, as `--set` would write it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def differences(config: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    """Returns what `--set` would have to change in `base` to get `config`.

    Args:
        config: What `Config.model_dump` gave, maybe of an older version: a section that
            it does not have is no difference.
        base: Another.

    Example:
        >>> base = {"train": {"epochs": 3}, "tasks": [{"name": "click", "weight": 1}]}
        >>> config = {"train": {"epochs": 5}, "tasks": [{"name": "click", "weight": 2}]}
        >>> differences(config, base)
        ['train.epochs=5', 'tasks.click.weight=2']
    """
    return [
        f"{path}={value if isinstance(value, str) else json.dumps(value)}"
        for path, value in _walk(config, base, "")
    ]


def _walk(config: Any, base: Any, path: str) -> Iterator[tuple[str, Any]]:
    if config == base:
        return
    of, than = _parts(config), _parts(base)
    if of is None or than is None or not _alike(of, than, isinstance(base, list)):
        yield path, config
        return
    for key, value in of.items():
        yield from _walk(value, than[key], f"{path}.{key}".lstrip("."))


def _alike(of: Mapping, than: Mapping, are_lists: bool) -> bool:
    """Whether items can be set one by one: none must go, none be added."""
    more = set(than) - set(of)
    unknown = all(isinstance(than[key], dict | None) for key in more)
    return set(of) <= set(than) and (not more or (unknown and not are_lists))


def _parts(value: Any) -> dict[str, Any] | None:
    """A mapping, or a list of named items as one; None for what is set as a whole."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and value:
        if all(isinstance(item, dict) and "name" in item for item in value):
            return {item["name"]: item for item in value}
    return None
