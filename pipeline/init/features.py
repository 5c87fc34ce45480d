"""Which columns become features, as what, and why the others do not."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.config.features import is_servable
from pipeline.init import names
from pipeline.init.labels import reference, task_name
from pipeline.init.profiles import Profile

_SEPARATORS = "|;, "
# A value and its weight, as in "sport:0.5"; a fraction, as "12:30" may be a time.
_WEIGHTED = r".+:\d*\.\d+(?:e[+-]?\d+)?"
# Below, a vocabulary; above, a table by hashes, whose size no new value changes.
_VOCABULARY = 50_000
_RARE = 1_000  # with more values than this, those seen once are left out
_CATEGORIES = 100  # whole numbers of so few values may be categories
# An amount of a currency, or a share: "$1,234.50", "12.5 %".
_MARKED = re.compile(
    r"\(?[+-]?(?:[$€£¥₹]\s?[+-]?[\d.,]*\d|[\d.,]*\d\s?[%‰$€£¥₹])\)?", re.ASCII
)
# Thousands with blanks between them: "12 345,60".
_BLANKS = re.compile(r"[+-]?\d{1,3}(?:\s\d{3})*(?:[.,]\d+)?")
_LARGEST = 3e38  # of float32
_TEXT = 40  # characters, on average, of a text that is no category


class Choice(NamedTuple):
    """What becomes of a column.

    Attributes:
        name: The column.
        feature: The entry of `features`; None where it is none.
        reason: Why it is none, or what was guessed.
    """

    name: str
    feature: dict[str, Any] | None
    reason: str = ""


def choose(
    profiles: Mapping[str, Profile], not_: Mapping[str, str], unseen: float
) -> list[Choice]:
    """Decides on each column, in the order of the logs.

    Args:
        profiles: Of all columns.
        not_: {column: why it is no feature}, where that is known.
        unseen: How many times as many rows there are as were looked at.
    """
    choices, lists = {}, {}
    for p in profiles.values():
        reason = not_.get(p.name) or _unusable(p)
        if reason:
            choices[p.name] = Choice(p.name, None, reason)
        elif p.kind == "list" or (p.kind == "text" and _separator(p)):
            lists[p.name] = p  # however long, and whether or not they come again
        elif p.kind == "vector":
            feature = {"name": p.name, "kind": "vector", "dim": p.length}
            reason = "a list of fractions, such as an embedding"
            choices[p.name] = Choice(p.name, feature, reason)
        elif reason := _not_again(p):
            choices[p.name] = Choice(p.name, None, reason)
        else:
            choices[p.name] = _single(p, unseen)
    ids = [profiles[c.name] for c in choices.values() if is_categorical(c)]
    for p in lists.values():
        choices[p.name] = _sequence(p, ids, unseen)
    return _named([choices[name] for name in profiles])


def _named(choices: Sequence[Choice]) -> list[Choice]:
    """The choices, with a name of its own where a header can be no feature's."""
    taken = {c.name for c in choices}
    names_, result = {}, []
    for i, choice in enumerate(choices, 1):
        name = task_name(choice.name, i) if choice.feature else choice.name
        while (name != choice.name and name in taken) or not is_servable(name):
            name += "_"
        taken.add(name)
        names_[choice.name] = name
    for choice in choices:
        feature = choice.feature
        if feature and names_[choice.name] != choice.name:
            feature = {"name": names_[choice.name], "column": choice.name} | {
                key: value for key, value in feature.items() if key != "name"
            }
        if feature and "of" in feature:
            feature = feature | {"of": names_[feature["of"]]}
        result.append(choice._replace(feature=feature))
    return result


def finite(choices: Iterable[Choice], profiles: Mapping[str, Profile]) -> Iterator[str]:
    """Conditions that leave out the rows with numbers that no model takes."""
    for choice in choices:
        numbers = profiles[choice.name].numbers
        if choice.feature and choice.feature["kind"] == "numeric":
            if (np.abs(numbers) > _LARGEST).any():
                yield f"coalesce(abs({reference(choice.name)}), 0) < {_LARGEST:g}"


def is_categorical(choice: Choice) -> bool:
    """Whether a column has become a categorical feature."""
    return choice.feature is not None and choice.feature["kind"] == "categorical"


def _unusable(p: Profile) -> str:
    if not p.name:
        return "a column without a name"
    if p.misfit and not _is_number(p):
        return p.misfit
    if p.kind == "empty":
        return "no value in the rows that were read"
    if p.kind == "nested":
        return (
            f"nested: a field is a feature by its path, column: {p.name}.FIELD; write "
            "lists and maps into columns of their own"
        )
    if p.kind == "vector" and not p.length:
        return "fractions, not as many in each row, or not as 0.5|0.2 or [0.5, 0.2]"
    if p.kind in ("list", "vector"):
        return ""
    if p.kind == "text" and all(map(_MARKED.fullmatch, p.values)):
        return (
            f"numbers with a sign, such as {_short(p.values[0])}: write the number "
            "alone, and it is a feature"
        )
    if p.kind == "text" and all(map(_BLANKS.fullmatch, p.values)):
        return (
            f"numbers with blanks in them, such as {_short(p.values[0])}: write them "
            "without, and it is a feature"
        )
    if p.distinct == 1 and p.known.all():
        return f"always {_short(p.values[0])}"
    if p.kind == "time" or names.is_time(p):
        return "a time: no later row has one of these"
    if names.is_request(p):
        return "the id of something that does not come again"
    if names.is_weight(p):
        return "a weight of rows: a task takes it as `row_weight`"
    return ""


def _not_again(p: Profile) -> str:
    """Why the values of a column are hardly those of a later row; or ""."""
    rows = max(int(p.known.sum()), 1)
    own = rows >= 100 and p.distinct > 0.95 * rows
    if own and (p.kind == "text" or (p.is_whole and not names.is_number(p))):
        return "nearly every row has a value of its own"
    if p.kind == "text" and p.distinct > _CATEGORIES:
        if np.mean([len(value) for value in p.values]) > _TEXT:
            return "long texts, not categories"
    return ""


def _short(value: str) -> str:
    return repr(value if len(value) <= 20 else f"{value[:20]}...")


def _single(p: Profile, unseen: float) -> Choice:
    if _is_number(p):
        known = p.numbers[np.isfinite(p.numbers)]
        skewed = known.min() >= 0 and known.max() > 10 * max(known.mean(), 1e-9)
        feature = {"name": p.name, "kind": "numeric"}
        return Choice(p.name, feature | ({"scaling": "log1p_zscore"} if skewed else {}))
    return Choice(p.name, categorical(p, unseen), _guessed(p))


def _is_number(p: Profile) -> bool:
    if p.kind != "number" or p.is_flag or names.is_user(p) or names.is_item(p):
        return False
    if not p.is_whole or names.is_number(p):
        return True
    if p.distinct <= _CATEGORIES or names.is_category(p):
        return False
    # Amounts start at 0 and are 0 more often than any other number; ids are neither.
    counts = np.bincount(p.codes[p.known])
    most_often = [p.values[i] for i in np.flatnonzero(counts == counts.max())]
    return most_often == ["0"] or float(np.nanmin(p.numbers)) < 0


def _guessed(p: Profile) -> str:
    if p.note:
        return p.note
    if p.kind != "number" or p.is_flag or names.is_category(p) or names.is_item(p):
        return ""
    return "whole numbers, taken for categories"


def categorical(p: Profile, unseen: float) -> dict[str, Any]:
    """The entry of a categorical feature, its table by how many values there are."""
    feature = {"name": p.name, "kind": "categorical"}
    size = _expected_values(p, unseen)
    if size > _VOCABULARY:
        feature["hash_buckets"] = _round_up(2 * size)
    elif p.distinct > _RARE:
        feature["vocabulary"] = {"min_count": 2}
    return feature | {"embedding_dim": 4 if size <= 10 else 8 if size <= 1000 else 16}


def _expected_values(p: Profile, unseen: float) -> int:
    """How many different values all rows have (Chao's estimate)."""
    counts = np.bincount(p.codes[p.known])
    once, twice = int(np.sum(counts == 1)), int(np.sum(counts == 2))
    estimate = p.distinct + once * (once - 1) / (2 * (twice + 1))
    return int(min(estimate, p.distinct * unseen))


def _round_up(number: float) -> int:
    """The next number of one digit and zeros: 2,345 -> 3,000."""
    unit = 10 ** (len(str(int(number))) - 1)
    return int(-(-number // unit)) * unit


def _separator(p: Profile) -> str | None:
    """What stands between the items, if a third of the texts have some of it."""
    some = p.values[:: -(-len(p.values) // 2000)]
    for separator in _SEPARATORS:
        if np.mean([separator in value for value in some]) > 0.3:
            return separator
    return None


def _multivalued(
    p: Profile, length: int, separator: str | None, unseen: float
) -> dict[str, Any]:
    """The entry of several values in no order, with a table of their own."""
    feature = categorical(p, unseen) | {"kind": "multivalued"}
    feature["max_length"] = min(length, 50)
    return feature | ({"separator": separator} if separator not in (None, "|") else {})


def _sequence(p: Profile, ids: Iterable[Profile], unseen: float) -> Choice:
    """A list of the values of a categorical feature, if there is such a one."""
    separator, items, length = None, p.values, p.length
    if p.kind == "text":
        separator = _separator(p)
        parts = [value.split(separator) for value in p.values]
        items = list(dict.fromkeys(item for part in parts for item in part if item))
        length = max(map(len, parts))
    written = items[:2000]
    if written and all(re.fullmatch(_WEIGHTED, item) for item in written):
        feature = _multivalued(p, length, separator, unseen) | {"weighted": True}
        return Choice(p.name, feature, "values with weights")
    wanted = set(written)
    shares = [
        # Whole numbers may be ids of users by chance; what is listed are items.
        (
            len(wanted & set(q.values)) / max(len(wanted), 1),
            not names.is_user(q),
            q.name,
        )
        for q in ids
    ]
    share, _, of = max(shares, default=(0.0, True, ""), key=lambda found: found[:2])
    # Words of a text may be numbers that are ids by chance.
    if share >= (0.95 if separator == " " else 0.5):
        feature = {"name": p.name, "kind": "sequence", "of": of}
        feature["max_length"] = min(length, 50)
        feature |= {"separator": separator} if separator not in (None, "|") else {}
        return Choice(p.name, feature, f"its items are values of {of}")
    if p.kind == "text" and p.distinct <= max(_CATEGORIES, 0.05 * p.known.sum()):
        return Choice(p.name, categorical(p, unseen))
    if p.kind == "list" or separator == "|":
        feature = _multivalued(p, length, separator, unseen)
        return Choice(p.name, feature, "a list; if it is in order, a sequence")
    what = f"a list, by {separator!r}, or a long text"
    return Choice(p.name, None, f"{what}, and no other column has its items as values")
