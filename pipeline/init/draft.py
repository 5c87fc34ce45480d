"""All that is guessed about logs, put together as a config."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import PipelineError, nearest
from pipeline.init import divide, events, features, labels, leaks, spaces
from pipeline.init.features import Choice
from pipeline.init.labels import Label
from pipeline.init.profiles import Profile, profiles
from pipeline.init.sample import Sample

LABEL = "a label"
_DOMAINS = 1_000  # at most


class Asked(NamedTuple):
    """What the user has said; None and () where it is to be guessed."""

    labels: Sequence[str] = ()
    domain: str | None = None
    time: str | None = None
    user: str | None = None


class Draft(NamedTuple):
    """A config, and what is to be said of it.

    Attributes:
        data: Its section, without the logs and how they are read.
        choices: What became of each column.
        columns: The profiles of the same.
        labels: The labels of the tasks.
        domain: The feature, if there is one.
        user: The column of the user's id, if there is one.
        notes: {key: what was seen}, of "split", "domain" and "data".
    """

    data: dict[str, Any]
    choices: list[Choice]
    columns: dict[str, Profile]
    labels: list[Label]
    domain: str | None
    user: str | None
    notes: dict[str, str]


def draft(sample: Sample, asked: Asked) -> Draft:
    """Guesses what columns of logs are.

    Args:
        sample: Some of the rows.
        asked: What is not to be guessed.

    Raises:
        PipelineError: If a column that was asked for is not there or of no use, or no
            label or feature is found.
    """
    columns = profiles(sample.rows)
    _check(asked, columns)
    # What tables say of a user or an item is no label and no time of a row.
    own = {name: p for name, p in columns.items() if not sample.is_joined(name)}
    data: dict[str, Any] = {}
    notes: dict[str, str] = {}
    log = None
    if not asked.labels:
        log = events.find(own, sample.logs, asked.time, asked.user)
    if log:
        found, data = log.labels, dict(log.data)
        columns = profiles(sample.rows.filter(log.shown))
        own = {name: columns[name] for name in own}
        notes["data"] = f"a log of events, of the kinds in {log.column}"
        known_no = {log.column: "the kind of the event: tells the label"}
    else:
        found = spaces.assign(labels.find(own, asked.labels), own)
        known_no = {a.source: _of_label(a) for a in found} | _space_columns(found)
        known_no |= labels.outcomes(own, found)
    found = [a for a in found if len(np.unique(a.values[np.isfinite(a.values)])) > 1]
    if not found:
        raise PipelineError("every label that was found has one value only")
    if asked.time in {label.source for label in found}:
        raise PipelineError(
            f"--time: {asked.time!r} is a label. The time of a row is when it was shown"
        )
    unseen = sample.read / sample.rows.num_rows
    choices = _without_leaks(features.choose(columns, known_no, unseen), found, columns)
    if finite := [*features.finite(choices, columns)]:
        data["where"] = " and ".join([*filter(None, [data.get("where")]), *finite])
    user = asked.user or divide.user(own)
    if isinstance(sample.logs, dict):
        data["split"] = {"by": "given"}
        notes["split"] = "as the files' names tell"
        if "valid" not in sample.logs:
            data["split"] |= {"valid": 0.1} | ({"column": user} if user else {})
            notes["split"] += ", valid is drawn from train"
    else:
        divided = divide.split(own, found, asked.time, user)
        data["split"], notes["split"] = divided.section, divided.note
    if asked.domain:
        domain, notes["domain"] = asked.domain, "as --domain asks for"
        choices = _with_domain(choices, columns, domain, unseen)
    else:
        categorical = [columns[c.name] for c in choices if features.is_categorical(c)]
        domain, notes["domain"] = divide.domain(categorical, found)
    called = {c.name: c.feature["name"] for c in choices if c.feature}
    domain = called.get(domain)
    return Draft(data, choices, columns, found, domain, user, notes)


def _check(asked: Asked, columns: Mapping[str, Profile]) -> None:
    """Raises a PipelineError for columns that are not there or of no use."""
    for flag in ("domain", "time", "user"):
        name = getattr(asked, flag)
        if name is not None and name not in columns:
            raise PipelineError(
                f"--{flag}: there is no column {name!r}.{nearest(name, columns)} "
                f"Columns: {', '.join(columns)}"
            )
    numbers = columns[asked.time].numbers if asked.time else None
    if asked.time and (numbers is None or not np.isfinite(numbers).any()):
        raise PipelineError(
            f"--time: numbers or ISO 8601 times are needed. Column {asked.time!r} has "
            f"values such as {columns[asked.time].values[:1]}"
        )
    if asked.user and columns[asked.user].kind in ("list", "vector", "nested"):
        raise PipelineError(
            f"--user: an id a row is needed. Column {asked.user!r} holds a "
            f"{columns[asked.user].kind}"
        )
    if asked.domain and (distinct := columns[asked.domain].distinct) > _DOMAINS:
        raise PipelineError(
            f"--domain: a column of at most {_DOMAINS:,} values is needed. Column "
            f"{asked.domain!r} has {distinct:,}"
        )


def _without_leaks(
    choices: Sequence[Choice], found: Sequence[Label], columns: Mapping[str, Profile]
) -> list[Choice]:
    """The choices, without features that tell a label."""
    candidates = [columns[c.name] for c in choices if c.feature]
    told = leaks.suspects(candidates, found, columns)
    if len(told) == len(candidates):
        raise PipelineError(
            "no column can be a feature: beside labels and what tells them there are "
            "only times, ids of requests, and texts or lists of no use"
        )
    return [
        Choice(c.name, None, told[c.name]) if c.name in told else c for c in choices
    ]


def _of_label(label: Label) -> str:
    made = label.expression
    return f"the label {label.task} is made from it" if made else LABEL


def _space_columns(found: Sequence[Label]) -> dict[str, str]:
    tasks = {label.task for label in found}
    return {
        a.space: f"the sample space of {a.task}"
        for a in found
        if a.space and a.space not in tasks
    }


def _with_domain(
    choices: Sequence[Choice],
    columns: Mapping[str, Profile],
    domain: str,
    unseen: float,
) -> list[Choice]:
    """The choices, with the domain as a category."""
    choice = next(c for c in choices if c.name == domain)
    if choice.feature is None or choice.feature["kind"] == "sequence":
        why = choice.reason or "a list"
        raise PipelineError(f"--domain: column {domain!r} is no category: {why}")
    feature = features.categorical(columns[domain], unseen)
    own = {k: v for k, v in choice.feature.items() if k in ("name", "column")}
    as_domain = Choice(domain, feature | own)
    return [as_domain if c is choice else c for c in choices]
