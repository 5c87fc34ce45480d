"""Sample spaces: of which rows a label is known, or can be 1 at all."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.init import names
from pipeline.init.labels import Label, follows
from pipeline.init.profiles import Profile

# So few rows may contradict: logs are never quite clean.
_FEW = 1e-3


def assign(labels: Sequence[Label], profiles: Mapping[str, Profile]) -> list[Label]:
    """Gives the labels their sample spaces.

    A label that is missing in some rows is learnt from those in which another 0/1
    column is 1, if that says just where it is known. A number that is 0 or missing
    wherever an action is 0 is learnt from the rows with the action. A later stage of a
    funnel (a purchase) is learnt from the rows of an earlier one (a click), if it is
    never 1 without it. Other actions, such as likes, are learnt from all rows, for a
    ranking asks for them before anything is clicked.

    Args:
        labels: In the order of a funnel.
        profiles: Of all columns.
    """
    result: list[Label] = []
    for label in labels:
        space, why = _space(label, labels, profiles)
        notes = (*label.notes, why) if why else label.notes
        result.append(label._replace(space=space, notes=notes))
    return result


def _space(
    label: Label, labels: Sequence[Label], profiles: Mapping[str, Profile]
) -> tuple[str | None, str]:
    known = np.isfinite(label.values)
    if 0 < known.sum() < len(known):
        for other in _flags(label, labels, profiles):
            if np.mean(known != (profiles[other].numbers == 1)) < _FEW:
                return _task(other, labels), f"known where {other} is 1, and only there"
    binary = [a for a in labels if a.kind == "binary" and a.task != label.task]
    if label.kind == "regression":
        for other in sorted(binary, key=lambda a: a.rate):
            if follows(label.values, other.values):
                return other.task, f"0 or missing wherever {other.task} is 0"
        return None, ""
    stage = names.stage(profiles[label.source])
    inside = [a for a in binary if a.rate > label.rate and _inside(label, a)]
    earlier = [
        (names.stage(profiles[a.source]), -a.rate, a.task)
        for a in inside
        if names.stage(profiles[a.source]) is not None
    ]
    earlier = [found for found in earlier if stage is not None and found[0] < stage]
    if earlier:
        task = max(earlier)[-1]
        return task, f"never 1 without {task}, which comes before it"
    # A name alone does not make a funnel: such a space must be asked for.
    if inside:
        task = min(inside, key=lambda a: a.rate).task
        return None, f"never 1 without {task}; `space: {task}` would learn from those"
    return None, ""


def in_space(
    label: Label, labels: Sequence[Label], profiles: Mapping[str, Profile]
) -> np.ndarray:
    """Where a label counts, bool (rows,)."""
    known = np.isfinite(label.values)
    if label.space is None:
        return known
    of_task = [other.values for other in labels if other.task == label.space]
    return known & ((of_task or [profiles[label.space].numbers])[0] == 1)


def _flags(
    label: Label, labels: Sequence[Label], profiles: Mapping[str, Profile]
) -> list[str]:
    """The 0/1 columns without a gap; those that are labels come first."""
    tasks = [a.source for a in labels if a.kind == "binary" and not a.expression]
    columns = dict.fromkeys([*tasks, *profiles])
    return [
        name
        for name in columns
        if profiles[name].is_flag and profiles[name].known.all() and name != label.task
    ]


def _task(column: str, labels: Sequence[Label]) -> str:
    """The task whose label is a column; else the column itself."""
    tasks = [a.task for a in labels if a.source == column and not a.expression]
    return tasks[0] if tasks else column


def _inside(label: Label, other: Label) -> bool:
    ones = label.values == 1
    return bool(ones.any()) and np.all(other.values[ones] == 1)
