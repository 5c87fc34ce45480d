"""What the servers of a model serve, and waiting until they serve what they should."""

import contextlib
import shlex
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from serving.client import Client, RequestError
from serving.release.labels import labels_text, versions_text

_PAUSE_SECONDS = 0.2


class NotServedError(ValueError):
    """A server does not serve what was asked; the message says which and why."""


@dataclass(frozen=True)
class Served:
    """What one server serves of a model.

    Args:
        states: dict. The state of each version that it has seen.
        errors: dict. Why a version could not be loaded.
        labels: dict. The version that a label leads to; None if it leads nowhere.
        newest: int. The version that callers without a label get, or None.
    """

    states: Mapping[int, str] = field(default_factory=dict)
    errors: Mapping[int, str] = field(default_factory=dict)
    labels: Mapping[str, int | None] = field(default_factory=dict)
    newest: int | None = None

    @property
    def alive(self) -> set[int]:
        """The versions that answer, or are about to, or are about to leave."""
        return {n for n, state in self.states.items() if state != "END"}

    @property
    def available(self) -> set[int]:
        """The versions that answer."""
        return {n for n, state in self.states.items() if state == "AVAILABLE"}

    def __str__(self) -> str:
        known = {label: n for label, n in self.labels.items() if n is not None}
        newest = f"without a label {self.newest}" if self.newest is not None else ""
        parts = [versions_text(self.available), *labels_text(known), newest]
        return "; ".join(part for part in parts if part)


@dataclass(frozen=True)
class Servers:
    """The servers that read one model config file.

    Args:
        urls: collection of str. All of them, as for `Client`.
        name: str. The model's name.
        wait_seconds: float. How long they have to load a version or to follow the
            file. Defaults to 120.
        after_write: str. A command that takes a changed file to them, such as
            `kubectl apply -k FOLDER`, run after every change and at the start.
            Defaults to none.
        answer_seconds: float. How long a server may take to answer. Defaults to 10.
    """

    urls: Collection[str]
    name: str
    wait_seconds: float = 120.0
    after_write: str = ""
    answer_seconds: float = 10.0

    def written(self) -> None:
        """Has the file as it is taken to the servers.

        Raises:
            ValueError: the command failed.
        """
        if not self.after_write:
            return
        try:
            done = subprocess.run(shlex.split(self.after_write), check=False)
            reason = f"status {done.returncode}" if done.returncode else ""
        except (OSError, ValueError) as error:
            reason = str(error)
        if reason:
            raise ValueError(
                f"The servers do not have the file as it is now: --after-write failed "
                f"with {reason}: {self.after_write}. Run the same command again"
            )

    def seen(self, labels: Iterable[str] = ()) -> dict[str, Served]:
        """What each server serves that can be reached."""
        found = {}
        for url in self.urls:
            with contextlib.suppress(RequestError):
                found[url] = self.look(url, labels)
        return found

    def look(self, url: str, labels: Iterable[str] = ()) -> Served:
        """Asks one server what it serves.

        Args:
            url: str. The server.
            labels: iterable of str. The labels to look up. Defaults to none.

        Raises:
            RequestError: it cannot be reached, or is no server of models.
        """
        try:
            with self._client(url) as client:
                states = client.states()
        except RequestError as error:
            if error.status == 404:  # it does not know the model yet
                return Served(labels=dict.fromkeys(labels))
            raise
        except (LookupError, TypeError, ValueError) as error:
            raise RequestError("it does not answer as TF Serving does", 200) from error
        return Served(
            {version: state for version, (state, _) in states.items()},
            {version: error for version, (_, error) in states.items() if error},
            {label: self._version(url, label) for label in labels},
            self._version(url, None),
        )

    def wait_for_versions(
        self,
        versions: Collection[int],
        ended: Collection[tuple[str, int]] = (),
        still: Callable[[], None] = lambda: None,
    ) -> None:
        """Waits until all servers have loaded some versions.

        Args:
            versions: collection of int. The versions.
            ended: collection. Server and version of those in state END before they
                were to be loaded: it may still be that.
            still: function. Called while it waits; raises if that is in vain.

        Raises:
            NotServedError: one of them failed to, or took too long.
        """
        earlier = {*ended}

        def lacking(url: str, served: Served) -> str:
            for number in sorted(versions):
                state = served.states.get(number)
                if state == "AVAILABLE":
                    continue
                why = served.errors.get(number, "")
                reason = f"version {number} is in state {state or 'unknown'}"
                reason += f": {why}" if why else ""
                if state == "END" and (url, number) not in earlier:
                    raise NotServedError(f"{url}: {reason}")
                if state != "END":
                    earlier.discard((url, number))
                return reason
            return ""

        self._wait(lacking, (), still)

    def wait_for(
        self,
        versions: Collection[int],
        labels: Mapping[str, int],
        exactly: bool,
        still: Callable[[], None] = lambda: None,
    ) -> list[str]:
        """Waits until all servers follow a file.

        Args:
            versions: collection of int. What the file lists.
            labels: dict. Its labels.
            exactly: bool. Whether other versions have to be unloaded.
            still: function. Called while it waits; raises if that is in vain.

        Returns:
            list of str, what each server serves.

        Raises:
            NotServedError: one of them does not, in time.
        """

        def lacking(url: str, served: Served) -> str:
            missing = {*versions} - served.available
            extra = served.alive - {*versions} if exactly else set()
            wrong = {k: v for k, v in served.labels.items() if v != labels[k]}
            if not (missing or extra or wrong):
                return ""
            wanted = "; ".join([versions_text(versions), *labels_text(labels)])
            errors = [
                f"; {n}: {why}" for n, why in served.errors.items() if n in missing
            ]
            return f"it serves {served}{''.join(errors)}; asked for are {wanted}"

        found = self._wait(lacking, labels, still)
        return [f"{url} serves {served}" for url, served in found.items()]

    def _wait(
        self,
        lacking: Callable[[str, Served], str],
        labels: Iterable[str],
        still: Callable[[], None],
    ) -> dict[str, Served]:
        end = time.monotonic() + self.wait_seconds
        found = {}
        for url in self.urls:
            while True:
                still()
                try:
                    found[url] = self.look(url, labels)
                    reason = lacking(url, found[url])
                except RequestError as error:
                    reason = str(error)
                    if error.status is None:
                        reason = "it cannot be reached; is it gone, omit its --url"
                if not reason:
                    break
                if time.monotonic() > end:
                    after = f"after {self.wait_seconds:g} s, " * (self.wait_seconds > 0)
                    raise NotServedError(
                        f"{url}: {after}{reason.rstrip('.')}. See the server's log, "
                        "and that it reads this file"
                    )
                time.sleep(_PAUSE_SECONDS)
        return found

    def _client(self, url: str, label: str | None = None) -> Client:
        return Client(
            url, self.name, version=label, timeout=self.answer_seconds, retries=0
        )

    def _version(self, url: str, label: str | None) -> int | None:
        """The version that a label, or none, leads to."""
        try:
            with self._client(url, label) as client:
                return int(client.metadata()["model_spec"]["version"])
        except RequestError as error:
            if error.status in (400, 404):  # no such label; its version is not there
                return None
            raise
