"""Releases in steps that a server takes: publish, give labels, roll back.

A server gives a label only to a version that it has loaded, and refuses the whole model
config file otherwise, again and again. So a release

1. lists the new versions beside those that are served, with the labels unmoved,
2. waits until the new ones are AVAILABLE on every server,
3. moves the labels, and waits until every server has followed,
4. drops what nobody asks for any more, after a while,
5. asks every server what it serves, and says so.

Each step replaces the file as a whole, and what is done is seen from the file: a
command that was killed is finished by running it again. Where no server is named, only
the next step is written (`UnfinishedError`), since the one after it rests on what a
server would have said.

A version that does not load leaves the file as it was.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving import labels as file_labels
from serving import publish as copies
from serving import rollbacks
from serving.config import ModelConfig
from serving.labels import STABLE
from serving.release_servers import NotServedError, Servers

DRAIN_SECONDS = 10.0


class UnfinishedError(Exception):
    """A step is written, and the next one is not; the message says what to do.

    Args:
        message: str. What is done, and what is next.
        published: Path. The directory of the version that was published, if one was.
    """

    def __init__(self, message: str, published: Path | None = None):
        super().__init__(message)
        self.published = published


@dataclass(frozen=True)
class Release:
    """What a release changes, and whom it asks.

    Args:
        config_file: Path. TF Serving's `--model_config_file`.
        name: str. The model's name in it.
        servers: Servers. Those that read the file. Defaults to none.
        base_path: Path. The model's versions as seen from here; the file may name
            them as the server sees them. Defaults to the file's.
        drain_seconds: float. How long versions that nobody asks for any more serve
            on, for callers that name them by number. Defaults to 10.
        unchecked: bool. Writes the next step, one a call, without asking a server:
            whoever calls has seen that its versions are AVAILABLE. Defaults to False.
        say: function. Takes a line on each step. Defaults to nothing.
    """

    config_file: Path
    name: str
    servers: Servers | None = None
    base_path: Path | None = None
    drain_seconds: float = DRAIN_SECONDS
    unchecked: bool = False
    say: Callable[[str], None] = lambda line: None


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
    that was killed goes on. The first label of a model leaves the version that is
    served its place: it becomes `stable` and stays loaded. Callers without a label get
    the newest version all the same.

    Args:
        release: Release. Its `base_path` is needed.
        saved_model_dir: path. A directory with saved_model.pb and variables/.
        wanted: collection of str. Labels that the version gets. Defaults to none.
        keep: int. How many of the newest versions stay, beside those that are listed.
        extra: dict. As for `serving.publish.publish`.

    Returns:
        Path, the directory of the published version.

    Raises:
        PublishError: the directory cannot be published.
        ValueError: the config file cannot be read.
        NotServedError: a server does not serve it.
        UnfinishedError: a step is left, for which a server must be asked.
    """
    base = release.base_path
    now = file_labels.find(release.config_file, release.name)
    first = _first_labels(release, now, wanted)
    if now and wanted and not isinstance(now.versions, tuple):
        # A server of the newest version would take the new one as soon as it is there.
        now = _pin(release, now, first)
    folders = copies.versions(base)
    newest = max(folders, default=None)
    if (
        newest is not None
        and copies.same_model(folders[newest], Path(saved_model_dir))
        and not rollbacks.is_rolled_back(saved_model_dir, base)
    ):
        target = folders[newest]
    else:
        # Old versions leave last: until the file is changed, a server may want them.
        target = copies.publish(
            saved_model_dir, base, keep=len(folders) + keep, extra=extra
        )
    version = int(target.name)
    labels = {**first, **dict.fromkeys(wanted, version)}
    then = " ".join(["label", *(f"{label}={version}" for label in wanted)])
    if not wanted:
        then = f"publish {target} --model-base-path {base}"
    try:
        _carry_out(release, now, first, labels, {*labels.values(), version}, then)
    except UnfinishedError as error:
        raise UnfinishedError(str(error), target) from error
    finally:
        after = file_labels.find(release.config_file, release.name)
        if after and isinstance(after.versions, tuple):
            copies.prune(base, keep, [*after.versions, *after.labels.values()])
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
    now = file_labels.known(release.config_file, release.name)
    given = {label: n for label, n in wanted.items() if n is not None}
    first = _first_labels(release, now, given)
    labels = {k: n for k, n in {**first, **wanted}.items() if n is not None}
    versions = {*labels.values()}
    highest = max(_listed(release, now), default=-1)
    if highest > max(versions, default=-1):
        versions.add(highest)
    pairs = [f"{k}={'' if n is None else n}" for k, n in wanted.items()]
    then = " ".join(["label", *pairs])
    _carry_out(release, now, first, labels, versions, then)
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
    now = file_labels.known(file, name)
    note = file.with_name(f".{file.name}.rollback.{name}")
    begun = rollbacks.begun(note)
    if begun and to in (None, begun["to"]) and _is_on_the_way(now, begun):
        to = begun["to"]
    else:
        to = _version_before(release, now, to)
        before = {"versions": now.versions, "labels": now.labels}
        rollbacks.begin(note, {"to": to, "before": before})
    for base in {release.base_path or now.base_path, now.base_path}:
        rollbacks.mark(base, to)
    labels = _rolled_back(now.labels, to)
    then = f"rollback --to {to}"
    at_once = dataclasses.replace(release, drain_seconds=0.0)
    _carry_out(at_once, now, now.labels, labels, {*labels.values()}, then)
    rollbacks.end(note)
    return to


def _carry_out(
    release: Release,
    now: ModelConfig | None,
    first: Mapping[str, int],
    labels: Mapping[str, int],
    versions: set[int],
    then: str,
) -> None:
    """Takes the file from what it says now to these labels and versions, in steps.

    Args:
        release: Release.
        now: ModelConfig. What the file says of the model; None is nothing.
        first: dict. The labels of the first step, to versions that are served.
        labels: dict. The labels at the end.
        versions: set of int. The versions listed at the end.
        then: str. The command that goes on from the first step, but for its flags.
    """
    say, servers = release.say, release.servers
    ended = servers.ended() if servers else ()
    start, moved = now, {k: n for k, n in labels.items() if first.get(k) != n}
    if now is None or not _says(now, versions, first):
        listed = versions | _callable(release, now)
        now = _write(release, now, listed, first)
    if now.labels != labels or {*now.versions} != versions:
        if servers:
            try:
                needed = {*moved.values(), max(versions)}
                servers.wait_for_versions(needed, ended, _still(release, now))
            except NotServedError:
                _undo(release, start, now)
                raise
        elif not release.unchecked or start != now:
            raise UnfinishedError(_unfinished(release, now, then))
    if now.labels != labels:
        now = _write(release, now, now.versions, labels)
        if servers:
            still = _still(release, now)
            servers.wait_for({max(versions)}, moved, exactly=False, still=still)
        elif {*now.versions} != versions:
            raise UnfinishedError(_unfinished(release, now, then))
    if {*now.versions} != versions:
        if servers:
            time.sleep(release.drain_seconds)
        now = _write(release, now, versions, labels)
    if not servers:
        say("no server was asked whether it serves that: --url")
        return
    still = _still(release, now)
    for line in servers.wait_for(versions, labels, exactly=True, still=still):
        say(line)


def _says(now: ModelConfig, versions: set[int], first: Mapping[str, int]) -> bool:
    """Whether the file has got past the first step."""
    return (
        isinstance(now.versions, tuple)
        and versions <= {*now.versions}
        and first.keys() <= now.labels.keys()
    )


def _callable(release: Release, now: ModelConfig | None) -> set[int]:
    """The versions that callers get now, by a label or by none."""
    if now is None:
        return set()
    listed = _listed(release, now)
    return {*now.labels.values(), *([max(listed)] if listed else ())}


def _listed(release: Release, now: ModelConfig) -> tuple[int, ...]:
    """The versions that are served by what the file says."""
    policy = now.versions
    if isinstance(policy, tuple):
        return policy
    base = release.base_path or now.base_path
    found = [*copies.versions(base)]
    if not found and release.servers:
        found = sorted(release.servers.available())
    if not found:
        raise ValueError(
            f"{release.config_file} asks for the newest versions of {now.name!r}, and "
            f"none is at {base}: give --model-base-path or --url"
        )
    return tuple(found if policy == "all" else found[-policy:])


def _first_labels(
    release: Release, now: ModelConfig | None, wanted: Collection[str]
) -> dict[str, int]:
    """The labels before any of those wanted is given.

    A model without any gets `stable` for the version that is served: or it would be
    unloaded, as only versions with a label are listed.
    """
    if now is None:
        return {}
    if now.labels or not wanted or STABLE in wanted:
        return dict(now.labels)
    if not (served := _listed(release, now)):
        return {}
    release.say(
        f"version {max(served)}, which is served, gets the label {STABLE} and stays "
        "loaded; callers without a label get the newest version: let them ask for "
        f"/labels/{STABLE}"
    )
    return {STABLE: max(served)}


def _pin(release: Release, now: ModelConfig, first: Mapping[str, int]) -> ModelConfig:
    """Lists the versions that are served, where the newest ones were asked for."""
    served = _listed(release, now)
    now = _write(release, now, served, first)
    if not release.servers:
        raise UnfinishedError(
            f"{release.config_file} asked for the newest version, and now asks for "
            f"{file_labels.describe(now)}. Nothing is published yet: run the same "
            "command again when the servers have read that, or with --url"
        )
    still = _still(release, now)
    release.servers.wait_for({max(served)}, first, exactly=False, still=still)
    return now


def _write(
    release: Release,
    now: ModelConfig | None,
    versions: Collection[int],
    labels: Mapping[str, int],
) -> ModelConfig:
    base = now.base_path if now else release.base_path.resolve()
    after = ModelConfig(release.name, base, tuple(sorted(versions)), dict(labels))
    file_labels.write(release.config_file, now, after)
    release.say(f"{release.config_file}: {file_labels.describe(after)}")
    if release.servers is not None:
        release.servers.written()
    return after


def _still(release: Release, now: ModelConfig) -> Callable[[], None]:
    return lambda: file_labels.check_unchanged(release.config_file, now)


def _undo(release: Release, start: ModelConfig | None, now: ModelConfig) -> None:
    if start is None or start == now:
        return
    with contextlib.suppress(file_labels.ChangedMeanwhileError):
        file_labels.write(release.config_file, now, start)
        release.say(f"{release.config_file} is as it was")
        release.servers.written()


def _unfinished(release: Release, now: ModelConfig, then: str) -> str:
    return (
        f"{release.config_file} is one step on: {file_labels.describe(now)}. When "
        f"that is served: python -m serving {then} --model-config-file "
        f"{release.config_file} --model-name {release.name} --url URL, of every "
        "server, which waits for it; or with --unchecked, once you have seen it"
    )


def _rolled_back(labels: Mapping[str, int], to: int) -> dict[str, int]:
    """The labels after going back: none leads to a version above."""
    after = {label: min(version, to) for label, version in labels.items()}
    return {**after, STABLE: to}


def _version_before(release: Release, now: ModelConfig, to: int | None) -> int:
    base = release.base_path or now.base_path
    listed, folders = _listed(release, now), copies.versions(base)
    if to is None:
        stable = now.labels.get(STABLE, max(listed, default=0))
        if listed and stable < max(listed):
            return stable
        older = {n for n in listed if n < stable and n not in folders}
        older.add(copies.older_model(base, stable))
        older.discard(None)
        if not older:
            raise ValueError(
                f"There is no older version of {now.name!r} to go back to that was not "
                f"rolled back itself. {release.config_file} lists {[*listed]}. Name "
                "one that is on disk: --to VERSION"
            )
        return max(older)
    if to not in {*listed, *folders}:
        raise ValueError(
            f"There is no version {to} of {now.name!r} to go back to. "
            f"{release.config_file} lists {[*listed]}, and the base path has "
            f"{[*folders]}; another one needs --model-base-path, and to be there"
        )
    return to


def _is_on_the_way(now: ModelConfig, begun: Mapping[str, Any]) -> bool:
    """Whether the file is as a rollback that was begun has left it."""
    before, to = begun["before"], begun["to"]
    labels = _rolled_back(before["labels"], to)
    versions = before["versions"]
    if not isinstance(now.versions, tuple):
        return now.versions == versions and now.labels == before["labels"]
    return now.labels in (before["labels"], labels) and (
        [*now.versions] == versions or to in now.versions
    )
