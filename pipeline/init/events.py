"""A log of all events: impressions and what came of them, told apart by a column."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pipeline.init import divide, names
from pipeline.init.labels import Label, equals, task_name
from pipeline.init.profiles import Profile

_KINDS = (2, 20)
_LEAST = 50  # rows of an action that becomes a task
_WINDOWS = {"10m": 600, "1h": 3600, "1d": 86400, "7d": 7 * 86400}
_SHARE = 0.9  # of the actions, within the window
_UNITS = ((1e11, "s", 1.0), (1e14, "ms", 1e3), (1e17, "us", 1e6), (np.inf, "ns", 1e9))


class Events(NamedTuple):
    """What a log of events is.

    Attributes:
        column: The kind of an event.
        shown: bool (rows,). Which rows are the impressions.
        data: The entries of `data` that join the rest to them.
        labels: Of the impressions, as if no window was ever over.
    """

    column: str
    shown: np.ndarray
    data: dict[str, Any]
    labels: list[Label]


def find(
    profiles: Mapping[str, Profile],
    logs: list[str] | dict,
    time: str | None,
    user: str | None,
) -> Events | None:
    """Tells whether logs are of events of several kinds; None if not.

    They are if a column is called like that and has few values, and there are columns
    of a user, of what is shown and of a time.

    Args:
        profiles: Of all columns.
        logs: The patterns.
        time: The column of the time, if it was given.
        user: The column of the user's id, if it was given.
    """
    found = [
        p
        for p in profiles.values()
        if p.kind == "text"
        and names.is_event(p)
        and _KINDS[0] <= p.distinct <= _KINDS[1]
        and p.known.all()
    ]
    user, item = user or divide.user(profiles), divide.item(profiles)
    times = [time] if time else divide.times(profiles)
    if not (found and user and item and times) or isinstance(logs, dict):
        return None
    event, keys, time = found[0], [user, item], times[0]
    counts = np.bincount(event.codes, minlength=event.distinct)
    base = max(
        range(event.distinct),
        key=lambda i: (names.is_shown(event.values[i]), counts[i]),
    )
    unit, seconds = _time(profiles[time])
    is_kind = [equals(event.name, value) for value in event.values]
    data: dict[str, Any] = {"where": is_kind[base], "time": time}
    data |= {"time_unit": unit} if unit != "s" else {}
    shown, actions, labels = event.codes == base, [], []
    order = sorted(range(event.distinct), key=lambda i: -counts[i])
    for kind in order:
        if kind == base or counts[kind] < _LEAST:
            continue
        name = task_name(event.values[kind].lower())
        label, window = _joined(
            [profiles[key] for key in keys], seconds, shown, event.codes == kind
        )
        actions.append(
            {"name": name, "logs": logs, "where": is_kind[kind], "key": keys}
            | {"time": time, "window": window}
        )
        note = f"within {window} of the {event.values[base]}, as most of them are"
        labels.append(Label(name, name, label[shown], notes=(note,)))
    if not labels:
        return None
    return Events(event.name, shown, data | {"actions": actions}, labels)


def _time(p: Profile) -> tuple[str, np.ndarray]:
    """The unit of the numbers, and the times in seconds."""
    if p.kind == "time":
        return "s", p.numbers
    largest = float(np.nanmax(np.abs(p.numbers)))
    unit, factor = next(u[1:] for u in _UNITS if largest < u[0])
    return unit, p.numbers / factor


def _joined(
    keys: list[Profile], time: np.ndarray, shown: np.ndarray, acted: np.ndarray
) -> tuple[np.ndarray, str]:
    """The label of each impression, and the window that holds most of the actions.

    Returns:
        float64 (rows,): 1 where an action came after this impression and before the
        next of its key; and the window, as the config has it.
    """
    user, item = (p.codes for p in keys)
    pair = user * (item.max() + 1) + item
    # By key and time; of one time, impressions first.
    order = np.lexsort((acted, time, pair))
    order = order[(shown | acted)[order]]
    is_shown = shown[order]
    last = np.maximum.accumulate(np.where(is_shown, np.arange(len(order)), -1))
    after = np.flatnonzero(~is_shown)
    before = last[after]
    ok = (before >= 0) & (pair[order][after] == pair[order][np.maximum(before, 0)])
    after, before = order[after[ok]], order[before[ok]]
    label = np.zeros(len(time))
    label[before] = 1
    delay = time[after] - time[before]
    wanted = np.quantile(delay, _SHARE) if len(delay) else 0
    fits = [name for name, seconds in _WINDOWS.items() if seconds >= wanted]
    return label, (fits or list(_WINDOWS)[-1:])[0]
