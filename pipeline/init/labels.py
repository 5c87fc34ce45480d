"""Which columns are labels: what a user did, and is not known before it is shown."""

import json
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.errors import PipelineError, nearest
from pipeline.init import names
from pipeline.init.profiles import Profile

# Words for 1 and 0, beside true and false, that an expression must compare with.
_YES_NO = ({"yes", "no"}, {"y", "n"}, {"t", "f"})
_YES = {"yes", "y", "t"}
# A time that was spent is learnt where so many are not 0, and of so many values.
_MOSTLY = 0.5
_DISTINCT = 20
# Of fewer rows, one action each may look like a property of its user.
_FEW_ROWS = 50
_NO_NAME = "no name tells a label"


class Label(NamedTuple):
    """A task's label.

    Attributes:
        task: The name of the task.
        source: The column of the logs that it is, or is made from.
        values: float64 (rows,), NaN where it is not known.
        kind: "binary" or "regression".
        expression: What makes it, where it is no column of the logs.
        space: The task or column that says which rows it is learnt from.
        notes: What is to be said of it.
    """

    task: str
    source: str
    values: np.ndarray
    kind: str = "binary"
    expression: str | None = None
    space: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """The mean of the known values."""
        known = np.isfinite(self.values)
        return float(self.values[known].mean()) if known.any() else np.nan


def find(profiles: Mapping[str, Profile], asked: Sequence[str]) -> list[Label]:
    """Finds the labels, in the order of a funnel.

    Args:
        profiles: Of all columns.
        asked: The columns that are to be labels; where there are none, they are guessed
            by their names and values.

    Raises:
        PipelineError: If a column that is asked for cannot be one, or none is found.
    """
    if asked:
        return _named([_asked(profiles, name) for name in asked], profiles)
    found = [
        label
        for p in profiles.values()
        if not any(names.is_prediction(p, other) for other in profiles)
        for label in _guess(p, profiles)
    ]
    of_users = {p.name for p in profiles.values() if _is_of_a_user(p, profiles)}
    found = [label for label in found if label.source not in of_users] or found
    found = _once(found) or list(_last_or_first(profiles))
    found += [_number(p) for p in (*_worths(profiles, found), *_spent(profiles, found))]
    if not found:
        one = [p.name for p in profiles.values() if _never_or_always(p)]
        if one:
            raise PipelineError(
                f"a label needs both 0 and 1. Called like one, but "
                f"{profiles[one[0]].values[0]} in all rows that were read: "
                f"{', '.join(one[:10])}. Give more rows, or name others by --label"
            )
        two = [p.name for p in profiles.values() if p.distinct == 2]
        hint = f" Columns of two values: {', '.join(two[:10])}." if two else ""
        raise PipelineError(
            "no column looks like a label: 0 or 1, and called like an action such as "
            f"click; a rating; or a time that was spent.{hint} Name them by --label"
        )
    return _named(sorted(found, key=lambda a: _order(a, profiles)), profiles)


def _once(found: Sequence[Label]) -> list[Label]:
    """The labels, without those that are a label before them under another name."""
    kept: list[Label] = []
    for label in found:
        rarer = min(np.sum(label.values == 1), np.sum(label.values == 0))
        if rarer < _FEW_ROWS or not any(
            np.array_equal(label.values, other.values, equal_nan=True) for other in kept
        ):
            kept.append(label)
    return kept


def _named(found: Sequence[Label], columns: Collection[str]) -> list[Label]:
    """The labels; tasks of columns without a Latin letter get a number."""
    result = []
    for i, label in enumerate(found, 1):
        if task_name(label.source) == "column" != label.source:
            number = f"label_{i}"
            while number in columns:
                number += "_"
            label = label._replace(task=label.task.replace("column", number, 1))
        result.append(label)
    return result


def outcomes(
    profiles: Mapping[str, Profile], labels: Sequence[Label]
) -> dict[str, str]:
    """Columns that are known only later but are no labels, with the reasons.

    Args:
        profiles: Of all columns.
        labels: The labels.
    """
    sources = {label.source for label in labels}
    guessed = [a for a in labels if any(_NO_NAME in note for note in a.notes)]
    spaces = {label.space for label in labels}
    found = {}
    for p in profiles.values():
        if p.name in sources or _is_of_a_user(p, profiles):
            continue
        predicted = [q for q in profiles if names.is_prediction(p, q)]
        if predicted:
            found[p.name] = f"called like a prediction of {predicted[0]}"
            continue
        if _is_dwell(p, profiles):
            found[p.name] = f"known only later; a task by --label {p.name}"
        elif _is_action(p) or _is_rating(p) or _is_coded_action(p):
            found[p.name] = "called like something that is known only later"
        elif label := next((a for a in guessed if _needs(a, p)), None):
            found[p.name] = (
                f"{label.task} is never 1 without it, as of an action before it; a "
                f"task by --label {p.name} --label {label.source}"
            )
        elif p.name not in spaces and (label := _exposed(p, labels)):
            found[p.name] = (
                f"known only later: {label.task} needs it; a task by --label {p.name}"
            )
        elif _never_or_always(p):
            found[p.name] = f"an action, but {p.values[0]} in all rows that were read"
    return found


def _needs(label: Label, p: Profile) -> bool:
    """Whether a label is never 1 without a 0/1 column, and not by chance."""
    return p.is_flag and label.kind == "binary" and follows(label.values, p.numbers)


def _exposed(p: Profile, labels: Sequence[Label]) -> Label | None:
    """The label that is never 1 without a column called like a play or a view."""
    if not (p.is_flag and names.is_exposure(p)):
        return None
    after = (a for a in labels if follows(a.values, p.numbers))
    return next(after, None)


def _guess(p: Profile, profiles: Mapping[str, Profile]) -> Iterator[Label]:
    if _is_action(p):
        yield _binary(p)
    elif _acts(p) and p.kind == "number" and set(p.values) == {"-1", "1"}:
        values = np.where(np.isfinite(p.numbers), p.numbers == 1, np.nan)
        text = f"{reference(p.name)} == 1"
        yield Label(f"{task_name(p.name)}_is_1", p.name, values, expression=text)
    elif _is_rating(p):
        yield _rating(p)
    elif _is_dwell(p, profiles):
        known = p.numbers[np.isfinite(p.numbers)]
        if np.mean(known > 0) > _MOSTLY and p.distinct >= _DISTINCT:
            yield _number(p)


def _worths(profiles: Mapping[str, Profile], found: Sequence[Label]) -> list[Profile]:
    """Numbers called like what an action was worth, which are 0 without the action."""
    binary = [label for label in found if label.kind == "binary"]
    return [
        p
        for p in profiles.values()
        if p.kind == "number"
        and names.is_amount(p)
        and p.name not in {label.source for label in found}
        and any(follows(p.numbers, label.values) for label in binary)
    ]


def _spent(profiles: Mapping[str, Profile], found: Sequence[Label]) -> list[Profile]:
    """Times that were spent after an action, and mostly so where it was done."""
    binary = [label for label in found if label.kind == "binary"]
    return [
        p
        for p in profiles.values()
        if _is_dwell(p, profiles)
        and p.distinct >= _DISTINCT
        and p.name not in {label.source for label in found}
        and any(
            follows(p.numbers, label.values)
            and np.mean(p.numbers[label.values == 1] > 0) > _MOSTLY
            for label in binary
        )
    ]


def follows(values: np.ndarray, action: np.ndarray, rows: int = 10) -> bool:
    """Whether numbers are 0 or missing without an action, and not by chance.

    Args:
        values: float64 (rows,).
        action: float64 (rows,), 0 or 1.
        rows: So many must have a value at least.
    """
    filled = np.isfinite(values) & (values != 0)
    count, rate = int(filled.sum()), float(np.nanmean(action))
    if count < rows or not 0 < rate < 1:
        return False
    return bool(np.all(action[filled] == 1)) and count * np.log(rate) < np.log(1e-6)


def _acts(p: Profile) -> bool:
    return names.is_action(p) and not names.is_exposure(p)


def _never_or_always(p: Profile) -> bool:
    return p.distinct == 1 and p.values[0] in ("0", "1", "false", "true") and _acts(p)


def _is_action(p: Profile) -> bool:
    return (p.is_flag or _yes_no(p)) and _acts(p)


def _is_of_a_user(p: Profile, profiles: Mapping[str, Profile]) -> bool:
    """Whether each user has one value in all rows: "subscribed" is then no action."""
    if p.distinct != 2 or not _acts(p):
        return False
    users = [q for q in profiles.values() if names.is_user(q) and is_function_of(p, q)]
    rarer = min(np.bincount(p.codes[p.known])[:2]) if users else 0
    return rarer >= _FEW_ROWS


def _is_coded_action(p: Profile) -> bool:
    """Whether it is an action that is written in other numbers, as 1 and 2."""
    return p.kind == "number" and p.distinct == 2 and _acts(p)


def _yes_no(p: Profile) -> bool:
    return p.kind == "text" and {value.lower() for value in p.values} in _YES_NO


def _is_rating(p: Profile) -> bool:
    if p.kind != "number" or not names.is_rating(p):
        return False
    known = p.numbers[np.isfinite(p.numbers)]
    halves = np.all(known * 2 == np.floor(known * 2))
    return (
        bool(halves)
        and 3 <= p.distinct <= 21
        and 0 <= known.min() <= known.max() <= 100
    )


def _is_dwell(p: Profile, profiles: Mapping[str, Profile]) -> bool:
    """Whether it is a time that was spent, and not the length of what is shown."""
    if p.kind != "number" or p.is_flag or not names.is_dwell(p):
        return False
    known = p.numbers[np.isfinite(p.numbers)]
    return bool(known.min() >= 0) and not any(
        is_function_of(p, q) for q in profiles.values() if names.is_item(q)
    )


def is_function_of(p: Profile, q: Profile) -> bool:
    """Whether a column has one value for each value of another, that comes again."""
    both = p.known & q.known
    if q.distinct > both.sum() / 1.5:
        return False
    pairs = np.unique(np.stack([q.codes[both], p.codes[both]]), axis=1)
    return pairs.shape[1] <= 1.001 * len(np.unique(q.codes[both]))


def _binary(p: Profile) -> Label:
    if not _yes_no(p):
        return Label(_task(p.name), p.name, p.numbers)
    (yes,) = (value for value in p.values if value.lower() in _YES)
    return _equals(p, yes)


def _equals(p: Profile, value: str, *notes: str) -> Label:
    """A label that is 1 where a text is a certain one."""
    values = np.where(p.known, p.codes == p.values.index(value), np.nan)
    task = f"{task_name(p.name)}_is_{re.sub(r'[^a-z0-9]+', '_', value.lower())}"
    task, text = task.rstrip("_"), equals(p.name, value)
    return Label(task, p.name, values, expression=text, notes=notes)


def _number(p: Profile) -> Label:
    return Label(_task(p.name), p.name, p.numbers, "regression")


def _rating(p: Profile) -> Label:
    known = p.numbers[np.isfinite(p.numbers)]
    values = np.unique(known)
    # Four of five stars, unless nearly all or nearly none have so many.
    usual = values[np.argmin(np.abs(values - 0.8 * values[-1]))]
    if not 0.05 < np.mean(known >= usual) < 0.95:
        rates = np.array([np.mean(known >= value) for value in values[1:]])
        usual = values[1:][np.argmin(np.abs(rates - 0.5))]
    least = f"{usual:g}"
    task = f"{task_name(p.name)}_{least.replace('.', '_')}_up"
    made = np.where(np.isfinite(p.numbers), p.numbers >= usual, np.nan)
    text = f"{reference(p.name)} >= {least}"
    note = f"values from {values[0]:g} to {values[-1]:g}"
    return Label(task, p.name, made, expression=text, notes=(note,))


def _last_or_first(profiles: Mapping[str, Profile]) -> Iterator[Label]:
    """The label where no name tells: the last column, or the first, of two values."""
    columns = [p for p in profiles.values() if p.kind != "empty"]
    for p, place in ((columns[-1], "last"), (columns[0], "first")):
        note = f"{_NO_NAME}; this is the {place} column, of two values"
        if p.is_flag:
            yield _binary(p)._replace(notes=(note,))
            return
        if p.distinct == 2:
            yield _two_values(p, note)
            return


def _two_values(p: Profile, *notes: str) -> Label:
    """1 where a column of two values has the rarer one."""
    counts = np.bincount(p.codes[p.known], minlength=2)
    return _equals(p, p.values[int(np.argmin(counts))], *notes)


def _asked(profiles: Mapping[str, Profile], name: str) -> Label:
    if name not in profiles:
        known = ", ".join(profiles)
        raise PipelineError(
            f"--label: there is no column {name!r}.{nearest(name, profiles)} "
            f"Columns: {known}"
        )
    p = profiles[name]
    if p.is_flag or _yes_no(p):
        return _binary(p)
    if _is_rating(p):
        return _rating(p)
    if p.distinct == 2:
        return _two_values(p)
    if p.distinct == 1:
        raise PipelineError(
            f"--label: a label needs two values or more. Column {name!r} is "
            f"{p.values[0][:30]!r} in all rows that were read"
        )
    if p.kind != "number" or p.distinct < 2:
        raise PipelineError(
            f"--label: a label is 0 or 1, one of two texts, or a number. Column "
            f"{name!r} has {p.distinct:,} values of kind {p.kind}"
        )
    return _number(p)


def _order(label: Label, profiles: Mapping[str, Profile]) -> tuple:
    """Clicks first, then what follows in a funnel, the frequent before the rare."""
    stage = names.stage(profiles[label.source])
    number = label.kind != "binary"
    rate = 0.0 if number or np.isnan(label.rate) else -label.rate
    return number, 0.5 if stage is None else stage, rate


def _task(column: str) -> str:
    """The name of a task; none may be called as what tasks share."""
    name = task_name(column)
    return f"{name}_" if name == "shared" else name


def task_name(column: str, place: int | None = None) -> str:
    """A column's name as a task, or a feature, may have it.

    Args:
        column: The header, of any script; accents are left out.
        place: Which column it is, from 1: the name of one without such letters.
    """
    plain = unicodedata.normalize("NFKD", column)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", plain)
    if name != column:
        name = name.strip("_.-")
    if not name and place:
        name = str(place)
    return name if re.match(r"[A-Za-z]", name) else f"column_{name}".rstrip("_")


def equals(column: str, value: str) -> str:
    """The expression that is 1 where a column is a text."""
    return f"{reference(column)} == {json.dumps(value, ensure_ascii=False)}"


def reference(column: str) -> str:
    """A column in an expression."""
    plain = re.fullmatch(r"[A-Za-z_]\w*", column, re.ASCII)
    words = ("and", "or", "not", "if", "else", "in", "is", "True", "False", "None")
    text = json.dumps(column, ensure_ascii=False)
    return column if plain and column not in words else f"column({text})"
