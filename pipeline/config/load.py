"""Reading a config's YAML file, overriding its values and explaining its faults.

Every error names the YAML path, what was received and, for a misspelt name, the
nearest known one.
"""

import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml

from pipeline.config import environment
from pipeline.config.features import KINDS
from pipeline.config.schema import Config
from pipeline.config.values import Section
from pipeline.errors import ConfigError, nearest

_OF_LOGS = "Of logs, `python -m pipeline init` writes a config"
# Of a section whose entries have names: the key that has the name in the logs.
_COLUMN_KEYS = {"features": "column", "tasks": "label"}
_LONGEST = 200  # characters of what was received


class _OnceLoader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, of which YAML would drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name in seen and name != "<<":
                raise yaml.constructor.ConstructorError(
                    "while reading a mapping",
                    node.start_mark,
                    f"the key {name!r} is given twice; leave one out",
                    key.start_mark,
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> Any:
    """Returns what a YAML file holds.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), _OnceLoader)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        logs = "" if isinstance(error, yaml.YAMLError) else f". {_OF_LOGS}"
        raise ConfigError(f"{path}: not valid YAML in UTF-8: {error}{logs}") from None


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads and checks a pipeline's YAML file.

    Args:
        path: The YAML file; `${NAME}` in a text is the environment variable NAME.
        overrides: "path.to.key=value" strings; a value is read as YAML, and items of
            a list are named by position or by their `name`.

    Raises:
        ConfigError: With one line for each thing that is wrong.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{path}: a config is a YAML file of keys and values. Received: "
            f"{type(raw).__name__}. {_OF_LOGS}"
        )
    for change in overrides:
        override(raw, change)
    raw = environment.expand(raw, path)
    try:
        config = Config.model_validate(raw)
        # A wildcard's columns may be named elsewhere, and are not known yet.
        has_wildcard = any(feature.is_wildcard for feature in config.features)
        problems = [] if has_wildcard else list(config.problems())
    except pydantic.ValidationError as error:
        problems = explain(error, raw)
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    return config


def override(raw: dict, change: str) -> None:
    """Changes a value of what the YAML says, by "path.to.key=value"; see `load`."""
    key, equals, value = change.partition("=")
    if not equals:
        raise ConfigError(f"--set: expected path.to.key=value. Received: {change!r}")
    *parents, last = key.split(".")
    node: Any = raw
    for step in parents:
        if isinstance(node, dict):
            if node.get(step) is None:
                node[step] = {}
            node = node[step]
        else:
            node = node[_position(node, step, key)]
    try:
        value = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}: not valid YAML: {error}") from None
    if isinstance(node, dict):
        node[last] = value
    else:
        node[_position(node, last, key)] = value


def _position(node: Any, step: str, key: str) -> int:
    if isinstance(node, list):
        names = [str(n.get("name")) for n in node if isinstance(n, dict)]
        if step.isdigit() and int(step) < len(node):
            return int(step)
        if step in names:
            return names.index(step)
        raise ConfigError(f"--set {key}: no item {step!r}.{nearest(step, names)}")
    raise ConfigError(f"--set {key}: {step!r} is below a value, not a section")


def explain(error: pydantic.ValidationError, raw: dict) -> list[str]:
    """What is wrong with a config, a line for each thing.

    Args:
        error: What its validation has raised.
        raw: What was validated.
    """
    return list(dict.fromkeys(_explain(each, raw) for each in error.errors()))


def _explain(error: Any, raw: dict) -> str:
    """One line for a pydantic error: YAML path, rule, what was received."""
    path = _path(error, raw)
    where = ".".join(str(step) for step in path) or "(top level)"
    if error["type"] == "extra_forbidden":
        known = _keys_at(error["loc"][:-1])
        hint = nearest(str(path[-1]), known)
        return f"{where}: unknown key.{hint} Known: {', '.join(sorted(known))}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{where}: this key is required"
    if error["type"].startswith("union_tag"):  # of a feature's kind
        kind, kinds = error["input"].get("kind"), ", ".join(KINDS)
        hint = nearest(kind, KINDS) if isinstance(kind, str) else ""
        return f"{where}.kind: must be one of {kinds}. Received: {kind!r}.{hint}"
    if error["type"] == "value_error":
        return f"{where}: {message}"
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = "must be keys and values"
        if path and isinstance(path[-1], int) and isinstance(error["input"], str):
            name = error["input"]
            return f"{where}: {message}, as {{name: {name}}}. Received: {name!r}"
    if error["type"] == "string_pattern_mismatch" and path[-1:] == ["name"]:
        if key := _COLUMN_KEYS.get(str(path[0])):
            message = (
                "a name starts with a letter and has letters, digits, '_', '.' and "
                f"'-'; beside it, `{key}` is any column of the logs"
            )
    received = repr(error["input"])
    if len(received) > _LONGEST:
        received = f"{received[:_LONGEST]} ..."
    return f"{where}: {message}. Received: {received}"


def _path(error: Any, raw: Any) -> list[str | int]:
    """Where in the YAML an error is; a union adds the kind, or type, that it tried."""
    *parents, last = error["loc"] or (None,)
    path, node = [], raw
    for step in parents:
        if isinstance(node, dict) and step in node:
            path, node = [*path, step], node[step]
        elif isinstance(node, list) and isinstance(step, int):
            path, node = [*path, step], node[step]
    known = range(len(node)) if isinstance(node, list) else node
    of_key = error["type"] in ("missing", "extra_forbidden")
    there = isinstance(known, dict | range) and last in known
    return [*path, last] if of_key or there else path


def _keys_at(loc: tuple) -> list[str]:
    """The keys that the section at `loc` may have."""
    section: Any = Config
    for step in loc:
        if isinstance(step, int):
            continue
        # list[...] is a type in Python 3.10.
        if step in getattr(section, "model_fields", ()):
            section = section.model_fields[step].annotation
        models = list(_models(section))
        if step in KINDS:
            models = [
                m
                for m in models
                if step in typing.get_args(m.model_fields["kind"].annotation)
            ]
        section = models[0] if len(models) == 1 else section
    return list(section.model_fields)


def _models(annotation: Any) -> Iterator[type[Section]]:
    """The section classes inside an annotation such as list[Annotated[A | B, ...]]."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, Section):
            yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)
