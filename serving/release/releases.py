"""Releases of a model that a model config file serves: publish, label, roll back.

Each goes in the steps of `serving.release.steps`, which a server takes.
"""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from serving.config.server import ModelConfig
from serving.models.version_folders import versions
from serving.release import labels as file_labels
from serving.release import publish as copies
from serving.release import rollbacks
from serving.release.labels import STABLE
from serving.release.servers import NotServedError
from serving.release.steps import (
    Goal,
    Release,
    Start,
    UnfinishedError,
    begin,
    carry_out,
    pin,
    without_marker,
)

__all__ = ["Release", "UnfinishedError", "move_labels", "publish", "roll_back"]


def publish(
    release: Release,
    saved_model_dir: str | Path,
    wanted: Collection[str] = (),
    *,
    keep: int = 3,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Publishes a version and has it served, with labels if any are given.

    If the newest version is this very model, no other one is made: so a publication
    that was killed goes on. A version that a server fails to load is removed again.
    The first label of a model leaves the version that is served its place: it becomes
    `stable` and stays loaded. Callers without a label get the newest version all the
    same.

    Args:
        release: Release. Its `base_path` is needed.
        saved_model_dir: path. A directory with saved_model.pb and variables/.
        wanted: collection of str. Labels that the version gets. Defaults to none.
        keep: int. How many of the newest versions stay, beside those that are listed.
        extra: dict. As for `serving.release.publish.publish`.

    Returns:
        Path, the directory of the published version.

    Raises:
        PublishError: the directory cannot be published.
        ValueError: the config file cannot be read.
        NotServedError: a server does not serve it.
        UnfinishedError: a step is left, for which a server must be asked.
    """
    base = release.base_path
    copies.check(saved_model_dir, keep)
    start = begin(release)
    now = start.now
    first = _first_labels(release, start, wanted)
    if start.served and wanted:
        release.say(
            "callers without a label get the newest version: let them ask for a label"
        )
    if now and not isinstance(now.versions, tuple) and (first or now.labels):
        start = pin(release, start, first)
    known = {*versions(base)}
    # Old versions leave last: until the file is changed, a server may want them.
    target = copies.publish(
        saved_model_dir, base, keep=len(known) + keep, extra=extra, reuse=True
    )
    version = int(target.name)
    labels = {**first, **dict.fromkeys(wanted, version)}
    if wanted:
        then = release.command("label", *(f"{label}={version}" for label in wanted))
    else:
        then = release.command("publish", str(target), with_base=True)
    try:
        goal = Goal({*labels.values(), version}, labels, first, then)
        carry_out(release, start, goal)
    except UnfinishedError as error:
        copies.prune(base, keep, {*_protected(release), *start.served})
        raise UnfinishedError(str(error), target) from error
    except NotServedError:
        if version not in known and version not in _protected(release):
            copies.remove(target)
        raise
    copies.prune(base, keep, _protected(release))
    return target


def move_labels(release: Release, wanted: Mapping[str, int | None]) -> dict[str, int]:
    """Gives labels to versions, and lists those with a label.

    Listed is also the highest version that was, if it is above them: whoever asks
    without a label must not get an older one.

    Args:
        release: Release.
        wanted: dict. The version of each label; None takes the label away. Other
            labels stay as they are.

    Returns:
        dict, all labels of the model.

    Raises:
        ValueError: the file cannot be read, or does not know the model.
        NotServedError: a server does not serve what is wanted.
        UnfinishedError: a step is left, for which a server must be asked.
    """
    file_labels.known(release.config_file, release.name)
    start = begin(release)
    given = {label: n for label, n in wanted.items() if n is not None}
    first = _first_labels(release, start, given)
    labels = {k: n for k, n in {**first, **wanted}.items() if n is not None}
    listed = {*labels.values()}
    highest = max(start.served, default=-1)
    if highest > max(listed, default=-1):
        listed.add(highest)
    pairs = [f"{k}={'' if n is None else n}" for k, n in wanted.items()]
    then = release.command("label", *pairs)
    carry_out(release, start, Goal(listed, labels, first, then))
    for base in _bases(release, start.now):
        folders = versions(base)
        for number in {*given.values()} & folders.keys():
            rollbacks.unmark(base, folders[number])
    return dict(sorted(labels.items()))


def roll_back(release: Release, to: int | None = None) -> int:
    """Goes back to an older version: labels of newer ones go to it, and those leave.

    Args:
        release: Release. Versions are dropped at once, whatever `drain_seconds` says:
            whoever asks without a label gets the newest one until then.
        to: int. The version to go back to, one that the file lists or that is under
            the base path. Defaults to that of `stable`, where newer ones are listed,
            and else to the newest one below it that was not rolled back itself.

    Returns:
        int, the version that is served now to whoever names none.

    Raises:
        ValueError: the file cannot be read or does not know the model, or there is no
            such version.
        NotServedError: a server does not serve it.
        UnfinishedError: a step is left, for which a server must be asked.
    """
    file, name = release.config_file, release.name
    note = file.with_name(f".{file.name}.rollback.{name}")
    file_labels.known(file, name)
    start = begin(release)
    now, begun = start.now, rollbacks.begun(note)
    if begun and to in (None, begun["to"]) and _is_on_the_way(now, begun):
        to = begun["to"]
    else:
        to = _version_before(release, start, to)
        before = {"versions": now.versions, "labels": now.labels}
        rollbacks.begin(note, {"to": to, "before": before})
    labels = _rolled_back(without_marker(now.labels), to)
    then = release.command("rollback", "--to", str(to), with_base=True)
    at_once = dataclasses.replace(release, drain_seconds=0.0)
    try:
        goal = Goal({*labels.values(), to}, labels, now.labels, then)
        carry_out(at_once, start, goal)
    except NotServedError as error:
        if file_labels.find(file, name) == now:  # nothing has happened
            rollbacks.end(note)
            older = _older(release, now, to)
            if older is not None:
                raise NotServedError(
                    f"{error}. The version before it: rollback --to {older}"
                ) from error
        raise
    for base in _bases(release, now):
        rollbacks.mark(base, to)
    rollbacks.end(note)
    return to


def _first_labels(
    release: Release, start: Start, wanted: Collection[str]
) -> dict[str, int]:
    """The labels before any of those wanted is given.

    A model without any gets `stable` for the version that is served: or it would be
    unloaded, as only versions with a label are listed.
    """
    labels = without_marker(start.now.labels) if start.now else {}
    if labels or not wanted or STABLE in wanted or not start.served:
        return labels
    served = max(start.served)
    release.say(
        f"version {served}, which is served, gets the label {STABLE} and stays loaded"
    )
    return {STABLE: served}


def _rolled_back(labels: Mapping[str, int], to: int) -> dict[str, int]:
    """The labels after going back: none leads to a version above."""
    after = {label: min(version, to) for label, version in labels.items()}
    return {**after, STABLE: to} if after else {}


def _version_before(release: Release, start: Start, to: int | None) -> int:
    now = start.now
    base = release.base_path or now.base_path
    listed, folders = start.served, versions(base)
    if to is None:
        stable = now.labels.get(STABLE, max(listed, default=0))
        if listed and stable < max(listed) and stable in listed:
            return stable
        older = _older(release, now, stable)
        if older is None:
            raise ValueError(
                f"There is no older version of {now.name!r} to go back to that was not "
                f"rolled back itself. Served are {[*listed]}. Name one that is on "
                "disk: --to VERSION"
            )
        return older
    if to not in {*listed, *folders}:
        raise ValueError(
            f"There is no version {to} of {now.name!r} to go back to. Served are "
            f"{[*listed]}, and the base path has {[*folders]}; another one needs "
            "--model-base-path, and to be there"
        )
    return to


def _older(release: Release, now: ModelConfig, version: int) -> int | None:
    """The version below one that a rollback would choose."""
    base = release.base_path or now.base_path
    listed = now.versions if isinstance(now.versions, tuple) else ()
    folders = versions(base)
    older = {n for n in listed if n < version and n not in folders}
    older.add(copies.older_model(base, version))
    return max(older - {None}, default=None)


def _is_on_the_way(now: ModelConfig, begun: Mapping[str, Any]) -> bool:
    """Whether the file is as a rollback that was begun has left it."""
    before, to = begun["before"], begun["to"]
    labels = _rolled_back(without_marker(before["labels"]), to)
    if not isinstance(now.versions, tuple):
        return now.versions == before["versions"] and now.labels == before["labels"]
    return now.labels in (before["labels"], labels) and (
        [*now.versions] == before["versions"] or to in now.versions
    )


def _bases(release: Release, now: ModelConfig) -> set[Path]:
    """Where the versions are, as seen from here: the file may name another place."""
    return {release.base_path or now.base_path, now.base_path}


def _protected(release: Release) -> set[int]:
    """The versions that the file names for any model under this base path."""
    found: set[int] = set()
    models = file_labels.models(release.config_file)
    own = next((model for model in models if model.name == release.name), None)
    for model in models:
        if own and model.base_path == own.base_path:
            listed = model.versions if isinstance(model.versions, tuple) else ()
            found |= {*listed, *model.labels.values()}
    return found
