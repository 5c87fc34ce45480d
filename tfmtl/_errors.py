"""Checks of arguments, with messages that give the rule and what was received."""

import difflib
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


def check_units(what: str, units: Iterable[int]) -> tuple[int, ...]:
    """Returns layer widths as a tuple; raises unless each is a positive integer."""
    units = tuple(units)
    for width in units:
        check_positive(f"Each of {what}", width)
    return units


def check_levels(
    what: str, levels: Iterable[Iterable[int]]
) -> tuple[tuple[int, ...], ...]:
    """Returns the layer widths of each level; raises unless every level has some."""
    levels = tuple(levels)
    if not levels or not all(
        units and isinstance(units, list | tuple) for units in levels
    ):
        raise ValueError(
            f"{what} must hold one tuple of layer widths a level, such as "
            f"((256,), (128,)). Received: {levels!r}."
        )
    return tuple(check_units(what, units) for units in levels)


def check_name(what: str, name: object) -> None:
    """Raises unless `name` can name a Keras layer and a serving tensor."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name):
        raise ValueError(
            f"The name of {what} must start with a letter and hold only letters, "
            f"digits, '_', '-' and '.'. Received: {name!r}."
        )


def check_unique(what: str, names: list[str]) -> None:
    """Raises if a name occurs twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} must have different names. Received twice: {twice}.")


def check_task_names(names: Iterable[str]) -> list[str]:
    """Returns the names as a list; raises unless they can name the parts of a layer."""
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
