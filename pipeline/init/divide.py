"""The split of the rows, and the column whose values are the domains."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.artifacts.layout import SPLITS
from pipeline.components.example_gen import splits
from pipeline.init import names
from pipeline.init.labels import Label
from pipeline.init.profiles import Profile
from pipeline.statistics import sketch

_SHARES = ((0.8, 0.1), (0.6, 0.2))
_LEAST = 0.02  # of the rows, in valid and test
_DOMAINS = (2, 30)
_DOMAIN_ROWS = 0.005  # of all: values of a domain with fewer don't count
_DIFFER = 1.2  # between the lowest and the highest rate of a label
_POSITIVES = 20


class Divided(NamedTuple):
    """The split.

    Attributes:
        section: `data.split` as the config has it.
        note: Why this one.
    """

    section: dict
    note: str


def user(profiles: Mapping[str, Profile]) -> str | None:
    """The column of the user's id."""
    found = [
        p
        for p in profiles.values()
        if names.is_user(p) and p.distinct > 1 and not p.misfit
    ]
    return found[0].name if found else None


def item(profiles: Mapping[str, Profile]) -> str | None:
    """The column of the id of what is shown."""
    found = [p for p in profiles.values() if names.is_item(p) and p.distinct > 1]
    return max(found, key=lambda p: p.distinct).name if found else None


def times(profiles: Mapping[str, Profile]) -> list[str]:
    """Columns of times, the finest first."""
    found = [
        p
        for p in profiles.values()
        if (p.kind == "time" or (p.kind == "number" and names.is_time(p)))
        and p.distinct > 1
        and np.isfinite(p.numbers).mean() > 0.999
    ]
    return [p.name for p in sorted(found, key=lambda p: -p.distinct)]


def split(
    profiles: Mapping[str, Profile],
    labels: Sequence[Label],
    time: str | None,
    of_user: str | None,
) -> Divided:
    """Divides the rows by time, else by the user, else by chance.

    The first way by which every split gets rows, and labels of both kinds, is taken.

    Args:
        profiles: Of all columns.
        labels: The labels.
        time: The column that must be taken, if one was asked for.
        of_user: The column of the user's id, if there is one.
    """
    ways = [*_ways(profiles, labels, time, of_user)]
    for needed in (labels, ()):
        for by, column, note in ways:
            for train, valid in _SHARES:
                p = profiles[column] if column else None
                of = _assign(p, len(labels[0].values), by, train, valid)
                if _all_have_rows(of, needed):
                    return Divided(_section(by, column, train, valid), note)
    by, column, note = ways[-1]
    return Divided(_section(by, column, *_SHARES[-1]), note)


def _section(by: str, column: str | None, train: float, valid: float) -> dict:
    of = {"column": column} if column else {}
    return {"by": by, **of, "train": train, "valid": valid}


def _ways(
    profiles: Mapping[str, Profile],
    labels: Sequence[Label],
    time: str | None,
    of_user: str | None,
) -> Iterator[tuple[str, str | None, str]]:
    if time:
        yield "time", time, "the oldest rows train, as --time asks for"
        return
    for name in times(profiles)[:1]:
        yield "time", name, "the oldest rows train, the newest test"
    no_time = "".join(f"; {why}" for why in _no_times(profiles))
    if of_user and profiles[of_user].known.mean() > 0.999:
        yield "hash", of_user, f"all rows of a user stay together{no_time}"
    requests = [p for p in profiles.values() if names.is_request(p) and p.known.all()]
    for p in requests[:1]:
        yield "hash", p.name, f"all rows of one value stay together{no_time}"
    yield "random", None, f"each row by itself: {_why_by_chance(profiles, of_user)}"


def _why_by_chance(profiles: Mapping[str, Profile], of_user: str | None) -> str:
    """Why neither a time nor a user can split the rows."""
    found = [*_no_times(profiles)]
    if of_user and (missing := 1 - profiles[of_user].known.mean()):
        found.append(f"{of_user} is missing in {missing:.1%} of the rows")
    return "; ".join(found) or "no time and no user"


def _no_times(profiles: Mapping[str, Profile]) -> Iterator[str]:
    """Why columns that are called like times cannot split the rows."""
    for p in profiles.values():
        if not names.is_time(p) or p.distinct < 2:
            continue
        if p.kind == "text":
            yield f"{p.name} is no ISO 8601 time, such as {p.values[0][:30]!r}"
        elif p.numbers is not None and (missing := 1 - np.isfinite(p.numbers).mean()):
            yield f"{p.name} is missing in {missing:.1%} of the rows"


def _assign(
    p: Profile | None, rows: int, by: str, train: float, valid: float
) -> np.ndarray:
    if p is None:
        places = splits.drawn([""], np.zeros(rows, int), np.arange(rows), seed=0)
        return splits.by_share(places, train, valid)
    if by == "hash":
        places = splits.hashed([pa.array(p.values, pa.string())])
        return np.append(splits.by_share(places, train, valid), -1)[p.codes]
    known = p.numbers[np.isfinite(p.numbers)]
    limits = splits.boundaries(sketch.sketch(known), train, valid)
    return splits.by_time(p.numbers, limits)


def _all_have_rows(of: np.ndarray, labels: Sequence[Label]) -> bool:
    for place in range(len(SPLITS)):
        rows = of == place
        if rows.mean() < _LEAST:
            return False
        for label in labels:
            values = label.values[rows]
            if len(np.unique(values[np.isfinite(values)])) < 2:
                return False
    return True


def domain(
    candidates: Sequence[Profile], labels: Sequence[Label]
) -> tuple[str | None, str]:
    """The column of the domain, and what was seen.

    Few values, each with rows enough, between which the rate of a label differs, and a
    name that tells.

    Args:
        candidates: Those of the categorical features.
        labels: The labels.
    """
    found = []
    for p in candidates:
        rank = names.domain_rank(p)
        counts = np.bincount(p.codes[p.known], minlength=1)
        many = np.flatnonzero(counts >= max(_DOMAIN_ROWS * len(p.codes), 1))
        few = _DOMAINS[0] <= len(many) and p.distinct <= _DOMAINS[1]
        if rank is None or not few or p.known.mean() < 0.99:
            continue
        rates = [r for label in labels if (r := _rates(p, label, many)) is not None]
        if rates:
            low, high, task = max(rates, key=lambda r: r[1] / max(r[0], 1e-9))
            seen = f"{task} is {_rate(low)} to {_rate(high)} in its {p.distinct} values"
            if high >= _DIFFER * low:
                found.append((rank, p.name, seen))
    if not found:
        return None, ""
    _, name, seen = min(found)
    return name, seen


def _rates(
    p: Profile, label: Label, many: np.ndarray
) -> tuple[float, float, str] | None:
    """The lowest and the highest rate of a label by the frequent values of a column."""
    if label.kind != "binary":
        return None
    known = p.known & np.isfinite(label.values)
    rows = np.bincount(p.codes[known], minlength=p.distinct)[many]
    ones = np.bincount(p.codes[known], label.values[known], p.distinct)[many]
    if ones.sum() < _POSITIVES * len(many) or not rows.all():
        return None
    rates, rate = ones / rows, ones.sum() / rows.sum()
    if not 0 < rate < 1:
        return None
    # By chance, chi-squared is about its degrees of freedom.
    chi_squared = np.sum(rows * (rates - rate) ** 2) / (rate * (1 - rate))
    freedom = len(many) - 1
    if chi_squared < freedom + 4 * np.sqrt(2 * freedom):
        return None
    return float(rates.min()), float(rates.max()), label.task


def _rate(rate: float) -> str:
    return f"{100 * rate:.3g} %"
