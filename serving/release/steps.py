"""The steps of a release in a model config file, each of which a server takes.

A server gives a label only to a version that it has loaded, and refuses the whole file
otherwise, again and again. So a release

1. lists the new versions beside those that are served, with the labels unmoved,
2. waits until the new ones are AVAILABLE on every server,
3. moves the labels, and waits until every server has followed,
4. drops what nobody asks for any more, after a while,
5. asks every server what it serves, and says so.

Each step replaces the file as a whole, and what is done is seen from the file: a
command that was killed is finished by running it again. Where no server is named, only
the next step is written (`UnfinishedError`), since the one after it rests on what a
server would have said. A version that does not load leaves the file as it was.
"""

import contextlib
import shlex
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from serving.config.server import ModelConfig
from serving.models.version_folders import versions
from serving.release import labels as file_labels
from serving.release.servers import NotServedError, Served, Servers

# A label that shows that a server has read a file in which nothing else has changed.
READ = "read-by-release"


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
        servers: Servers. Those that read the file; may be none.
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
    servers: Servers
    base_path: Path | None = None
    drain_seconds: float = 10.0
    unchecked: bool = False
    say: Callable[[str], None] = lambda line: None

    @property
    def asks(self) -> bool:
        """Whether there are servers to ask."""
        return bool(self.servers.urls)

    def command(self, *words: str, with_base: bool = False) -> str:
        """Spells the command that goes on from here."""
        flags = ["--model-config-file", str(self.config_file)]
        flags += ["--model-name", self.name]
        if with_base and self.base_path:
            flags += ["--model-base-path", str(self.base_path)]
        return shlex.join(["python", "-m", "serving", *words, *flags])


@dataclass(frozen=True)
class Start:
    """What there is before a release.

    Args:
        now: ModelConfig. What the file says of the model; None is nothing.
        served: tuple of int. The versions that are served, the highest last.
        ended: collection. The versions that each server has unloaded, or failed to
            load, before.
    """

    now: ModelConfig | None
    served: tuple[int, ...] = ()
    ended: Collection[tuple[str, int]] = ()


@dataclass(frozen=True)
class Goal:
    """What a release takes the file to.

    Args:
        versions: set of int. The versions listed at the end.
        labels: dict. The labels at the end.
        first: dict. The labels of the first step, to versions that are served.
        then: str. The command that goes on from the first step, but for `--url`.
    """

    versions: set[int]
    labels: Mapping[str, int]
    first: Mapping[str, int]
    then: str


def begin(release: Release) -> Start:
    """Finds out what is served, and mends a file that servers refuse.

    Raises:
        ValueError: the file cannot be read, or it asks for the newest versions and
            none can be found.
    """
    now = file_labels.find(release.config_file, release.name)
    if now is None:
        return Start(None)
    release.servers.written()  # whoever was killed may not have come to it
    seen = release.servers.seen(now.labels) if release.asks else {}
    if seen:
        now = _mended(release, now, list(seen.values()))
        listed = sorted(set.union(*(served.available for served in seen.values())))
        if isinstance(now.versions, tuple):
            listed = [n for n in listed if n in now.versions]
        served = tuple(listed) or _listed(release, now)
    else:
        served = _listed(release, now)
    ended = {
        (url, number)
        for url, one in seen.items()
        for number, state in one.states.items()
        if state == "END"
    }
    return Start(now, served, ended)


def pin(release: Release, start: Start, first: Mapping[str, int]) -> Start:
    """Lists the versions that are served, where the file asks for the newest ones.

    Or a server would take a new one as soon as it is there, and unload those with a
    label.

    Raises:
        NotServedError: a server does not follow.
        UnfinishedError: there is no server to ask whether it has read that.
    """
    before = start.now
    # Where no label is new, nothing would tell whether the file has been read.
    seen = dict(first) if first != before.labels else {READ: max(start.served)}
    now = write(release, before, start.served, {**first, **seen})
    if not release.asks:
        raise UnfinishedError(
            f"{release.config_file} asked for the newest versions, and now asks for "
            f"{file_labels.describe(now)}. Nothing is published yet: run the same "
            "command again when the servers have read that, or with --url"
        )
    with undone(release, before, now):
        release.servers.wait_for((), seen, exactly=False, still=_still(release, now))
    return replace(start, now=now)


def carry_out(release: Release, start: Start, goal: Goal) -> None:
    """Takes the file from what it says now to what it is to say, step by step.

    Raises:
        NotServedError: a server does not serve what it should.
        UnfinishedError: a step is left, for which a server must be asked.
    """
    while True:
        try:
            return _take_steps(release, start, goal)
        except file_labels.ChangedMeanwhileError:
            now = file_labels.find(release.config_file, release.name)
            on_the_way = (goal.first, goal.labels)
            if not _is_past_first_step(now, goal):
                raise
            if without_marker(now.labels) not in on_the_way:
                raise
            start = replace(start, now=now)  # somebody else does the same


def _take_steps(release: Release, start: Start, goal: Goal) -> None:
    now, servers = start.now, release.servers
    labels, wanted = goal.labels, goal.versions
    moved = {label: n for label, n in labels.items() if goal.first.get(label) != n}
    if not _is_past_first_step(now, goal):
        now = write(release, now, wanted | _asked_for(release, start), goal.first)
    is_done = now.labels == labels and {*now.versions} == wanted
    if not is_done and release.asks:
        with undone(release, start.now, now):
            needed = {*moved.values(), max(wanted)}
            servers.wait_for_versions(needed, start.ended, _still(release, now))
    elif not is_done and (not release.unchecked or now != start.now):
        raise UnfinishedError(_next(release, now, goal))
    if now.labels != labels:
        now = write(release, now, now.versions, labels)
        if release.asks:
            still = _still(release, now)
            servers.wait_for({max(wanted)}, moved, exactly=False, still=still)
        elif {*now.versions} != wanted:
            raise UnfinishedError(_next(release, now, goal))
    if {*now.versions} != wanted:
        if release.asks:
            time.sleep(release.drain_seconds)
        now = write(release, now, wanted, labels)
    if not release.asks:
        release.say("no server was asked whether it serves that: --url")
        return
    still = _still(release, now)
    for line in servers.wait_for(wanted, labels, exactly=True, still=still):
        release.say(line)


def write(
    release: Release,
    now: ModelConfig | None,
    listed: Collection[int],
    labels: Mapping[str, int],
) -> ModelConfig:
    """Writes a step, says so, and has it taken to the servers."""
    base = now.base_path if now else release.base_path.resolve()
    after = ModelConfig(release.name, base, tuple(sorted(listed)), dict(labels))
    file_labels.write(release.config_file, now, after)
    release.say(f"{release.config_file}: {file_labels.describe(after)}")
    release.servers.written()
    return after


@contextlib.contextmanager
def undone(
    release: Release, before: ModelConfig | None, now: ModelConfig
) -> Iterator[None]:
    """Has the file as it was before, if a server does not serve what it says now."""
    try:
        yield
    except NotServedError:
        with contextlib.suppress(file_labels.ChangedMeanwhileError):
            if before != now:
                file_labels.write(release.config_file, now, before)
            release.say(
                f"{release.config_file}: {file_labels.describe(before)} as before; "
                "nothing has changed"
            )
            release.servers.written()
        raise


def without_marker(labels: Mapping[str, int]) -> dict[str, int]:
    """The labels of a file, but for that of a release which did not come to its end."""
    return {label: n for label, n in labels.items() if label != READ}


def _mended(release: Release, now: ModelConfig, seen: Sequence[Served]) -> ModelConfig:
    """Takes out of the file what every server refuses it for.

    A label may lead to a version that no server has, by an edit by hand or as the
    version is gone: then the file changes nothing more until that is mended.
    """
    alive = set.union(*(served.alive for served in seen))
    if len(seen) < len(release.servers.urls) or not all(s.states for s in seen):
        return now  # a server that was not reached, or has just started, may have it
    labels = {}
    for label, version in now.labels.items():
        leads = {served.labels.get(label) for served in seen} - {None}
        if version in alive:
            labels[label] = version
        elif len(leads) == 1 and leads <= alive:
            labels[label] = leads.pop()
            release.say(
                f"label {label}={version}: no server has that version, and all serve "
                f"{labels[label]}"
            )
        else:
            release.say(
                f"label {label}={version} leads nowhere, as no server has that "
                "version, and is taken away"
            )
    if labels == now.labels:
        return now
    listed = set.union(*(served.available for served in seen))
    if isinstance(now.versions, tuple):
        listed |= ({*now.versions} & alive) | {*labels.values()}
    return write(release, now, listed, labels)


def _is_past_first_step(now: ModelConfig | None, goal: Goal) -> bool:
    return (
        now is not None
        and isinstance(now.versions, tuple)
        and goal.versions <= {*now.versions}
        and goal.first.keys() <= now.labels.keys()
    )


def _asked_for(release: Release, start: Start) -> set[int]:
    """The old versions that a first step lists."""
    now = start.now
    if now is None:
        return set()
    labelled = {*now.labels.values()}
    if release.asks:
        listed = now.versions if isinstance(now.versions, tuple) else start.served
        return {*listed} | labelled
    # Where no server is asked, a last step may never come. So what nobody gets, by a
    # label or by none, leaves here, or each publication would list one version more.
    return labelled | {*start.served[-1:]}


def _listed(release: Release, now: ModelConfig) -> tuple[int, ...]:
    """The versions that are served by what the file says."""
    policy = now.versions
    if isinstance(policy, tuple):
        return tuple(sorted(policy))
    base = release.base_path or now.base_path
    found = [*versions(base)]
    if not found:
        raise ValueError(
            f"{release.config_file} asks for the newest versions of {now.name!r}, and "
            f"none is at {base}: give --model-base-path or --url"
        )
    return tuple(found if policy == "all" else found[-policy:])


def _still(release: Release, now: ModelConfig) -> Callable[[], None]:
    return lambda: file_labels.check_unchanged(release.config_file, now)


def _next(release: Release, now: ModelConfig, goal: Goal) -> str:
    return (
        f"{release.config_file} is one step on: {file_labels.describe(now)}. When "
        f"that is served: {goal.then} --url URL, of every server, which waits for it; "
        "or with --unchecked, once you have seen it"
    )
