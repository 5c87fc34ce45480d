"""Checks of arguments, with messages that give the rule and what was received."""

import difflib
import keyword
import math
import re
from collections.abc import Iterable


def nearest(name: object, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'? Known: ..." for a misspelt name."""
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(known) or 'none'}."


def check_choice(what: str, value: object, known: Iterable[str]) -> None:
    """Raises unless `value` is one of `known`."""
    known = list(known)
    if value not in known:
        raise ValueError(
            f"{what} must be one of {', '.join(map(repr, known))}. Received: "
            f"{value!r}.{nearest(value, known).split(' Known')[0]}"
        )


def check_positive(what: str, value: object) -> None:
    """Raises unless `value` is an integer above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{what} must be a positive integer. Received: {value!r}.")


def is_number(value: object) -> bool:
    """Returns whether `value` is an integer or a finite float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def check_number(what: str, value: object, least: float = 0) -> None:
    """Raises unless `value` is a finite number of at least `least`."""
    if not is_number(value) or value < least:
        raise ValueError(f"{what} must be a number >= {least}. Received: {value!r}.")


def check_units(what: str, units: Iterable[int]) -> tuple[int, ...]:
    """Returns layer widths as a tuple; raises unless each is a positive integer."""
    if not isinstance(units, list | tuple):
        raise ValueError(
            f"{what} must be a tuple of layer widths, such as (128,). Received: "
            f"{units!r}."
        )
    units = tuple(units)
    for width in units:
        check_positive(f"Each of {what}", width)
    return units


def check_levels(
    what: str, levels: Iterable[Iterable[int]]
) -> tuple[tuple[int, ...], ...]:
    """Returns the layer widths of each level; raises unless every level has some."""
    if (
        not isinstance(levels, list | tuple)
        or not levels
        or not all(units and isinstance(units, list | tuple) for units in levels)
    ):
        raise ValueError(
            f"{what} must hold one tuple of layer widths a level, such as "
            f"((256,), (128,)). Received: {levels!r}."
        )
    return tuple(check_units(what, units) for units in levels)


def check_ratio(what: str, value: object) -> None:
    """Raises unless `value` is a number in [0, 1]."""
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{what} must be in [0, 1]. Received: {value!r}.")


def check_rank(layer: object, shape: object, rank: int) -> None:
    """Raises unless `shape` is that of flat vectors, rank 2, or of fields, rank 3."""
    if not isinstance(shape, list | tuple) or len(shape) != rank:
        wanted = "(batch, fields, dim)" if rank == 3 else "(batch, width)"
        shape = shape if isinstance(shape, dict) else tuple(shape)
        raise ValueError(
            f"{type(layer).__name__} reads {wanted}. Received: shape {shape}."
        )


def check_vectors(layer: object, shapes: object) -> None:
    """Raises unless `shapes` are those of a dict of vectors."""
    if not isinstance(shapes, dict):
        raise ValueError(
            f"{type(layer).__name__} reads a dict {{feature: (batch, dim)}}. Received: "
            f"shape {tuple(shapes)}."
        )


def check_keys(layer: object, given: object, names: Iterable[str]) -> None:
    """Raises if `given` is a dict that lacks one of the names."""
    missing = [name for name in names if isinstance(given, dict) and name not in given]
    if missing:
        raise ValueError(
            f"{type(layer).__name__} reads an entry for each of {list(names)}. "
            f"Received: {sorted(given)}, without {missing}."
        )


def check_name(what: str, name: object) -> None:
    """Raises unless `name` can name a Keras layer and a serving tensor."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name):
        raise ValueError(
            f"The name of {what} must start with a letter and hold only letters, "
            f"digits, '_', '-' and '.'. Received: {name!r}."
        )


def is_feature_name(name: object) -> bool:
    """Whether a feature may have a name."""
    try:
        check_feature_name(name)
    except ValueError:
        return False
    return True


def check_feature_name(name: object) -> None:
    """Raises unless `name` can name a feature, and so an argument of a signature."""
    check_name("a feature", name)
    if keyword.iskeyword(name) or name == "self":
        raise ValueError(
            "A feature may not have the name of a Python keyword, nor be called self: "
            f"TensorFlow cannot serve it. Received: {name!r}; call it {name + '_'!r}."
        )


def check_unique(what: str, names: list[str]) -> None:
    """Raises if a name occurs twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} must have different names. Received twice: {twice}.")


def check_task_names(names: Iterable[str]) -> list[str]:
    """Returns the names as a list; raises unless they can name the parts of a layer."""
    if isinstance(names, str):
        raise ValueError(f"tasks must be a list of names. Received: {names!r}.")
    names = list(names)
    if not names:
        raise ValueError("A sharing structure needs at least one task. Received none.")
    for name in names:
        check_name("a task", name)
        if name == "shared":
            raise ValueError(
                "No task may be called 'shared': it names the shared part."
            )
    check_unique("Tasks", names)
    return names
