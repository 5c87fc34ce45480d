"""One served model: the versions on disk, in memory, and the swap between them.

A version that is wanted and not yet there is loaded, warmed up and only then made
available; the versions it replaces are unloaded afterwards, each once its last
request is answered. A version that fails to load or to warm up changes nothing: the
next older one that works is served, or goes on being served.
"""

import contextlib
import ctypes
import gc
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serving import metrics
from serving.config.server import ModelConfig
from serving.errors import Code, ServingError, not_served
from serving.models.batching import Batcher
from serving.models.servable import Servable
from serving.models.version_folders import all_folders
from serving.models.warmup import replay_warmup

_log = logging.getLogger("serving")


@dataclass
class _Version:
    """What became of one version; states are named as in TF Serving."""

    fingerprint: frozenset[tuple[str, int, int]]
    state: str = "LOADING"
    error: ServingError | None = None
    servable: Servable | None = None
    in_flight: int = 0


class Model:
    """The versions of one model. `poll` and `close` are never called at once.

    Args:
        config: ModelConfig. What to serve. May be replaced by another one with the
            same name and base path; the next poll follows it.
        batcher: Batcher. Runs requests together. Defaults to None, each alone.
        timeout_ms: int. After how long a run of the graph is given up. Defaults to 0,
            never.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        batcher: Batcher | None = None,
        timeout_ms: int = 0,
    ):
        self.config = config
        self._batcher = batcher
        self._timeout_ms = timeout_ms
        self._versions: dict[int, _Version] = {}
        self._changed = threading.Condition()
        self._poll_error = ""
        self._has_garbage = False

    def poll(self) -> None:
        """Brings memory in line with the base path, once."""
        try:
            on_disk = dict(all_folders(self.config.base_path))
        except OSError as error:  # what is loaded serves on until the path is back
            if str(error) != self._poll_error:
                _log.warning("%s: cannot list versions: %s", self.config.name, error)
            self._poll_error = str(error)
            return
        self._poll_error = ""
        self._forgive(on_disk)
        wanted = self._wanted(on_disk)
        while missing := [n for n in wanted if n not in self.available()]:
            self._load(missing[-1], on_disk[missing[-1]])
            wanted = self._wanted(on_disk)  # a failure makes room for an older one
        # Where none of those asked for loads, the old ones serve on; where none of them
        # is there, they leave, as in TF Serving.
        if wanted or not self._asked(on_disk):
            for number in self.available():
                if number not in wanted:
                    self._unload(number)
        if self._has_garbage:
            self._has_garbage = False
            return_memory()

    def available(self) -> list[int]:
        """Lists the versions that answer requests, newest first."""
        with self._changed:
            return sorted(
                (n for n, v in self._versions.items() if v.state == "AVAILABLE"),
                reverse=True,
            )

    @contextlib.contextmanager
    def acquire(
        self, version: int | None = None, label: str | None = None
    ) -> Iterator[tuple[int, Servable]]:
        """Holds a version for the length of one request.

        Args:
            version: int. Which one; None is the newest available.
            label: str. Its label, instead of `version`.

        Yields:
            The version number and its servable, which stays loaded meanwhile.

        Raises:
            ServingError: no such version is available, or the label is unknown.
        """
        if label is not None:
            version = self.config.labels.get(label)
            if version is None:
                raise not_served(self.config.name, None, label)
        with self._changed:
            if version is None:
                number = max(self.available(), default=None)
            else:
                number = version if version in self.available() else None
            if number is None:
                raise not_served(self.config.name, version, None)
            held = self._versions[number]
            held.in_flight += 1
        try:
            yield number, held.servable
        finally:
            with self._changed:
                held.in_flight -= 1
                self._changed.notify_all()

    def states(self) -> list[tuple[int, str, ServingError | None]]:
        """Lists version, state and load error of every version seen, newest first."""
        with self._changed:
            return [
                (number, version.state, version.error)
                for number, version in sorted(self._versions.items(), reverse=True)
            ]

    def close(self) -> None:
        """Unloads every version, each after its last request."""
        for number in self.available():
            self._unload(number)

    def _wanted(self, on_disk: dict[int, Path]) -> list[int]:
        """The versions to have in memory, newest first, without those that failed."""
        fit = [n for n in self._asked(on_disk) if not self._has_failed(n, on_disk[n])]
        policy = self.config.versions
        return fit[:policy] if isinstance(policy, int) else fit

    def _asked(self, on_disk: dict[int, Path]) -> list[int]:
        """The versions on disk that the policy may choose, newest first."""
        policy = self.config.versions
        found = sorted(on_disk, reverse=True)
        return [n for n in found if n in policy] if isinstance(policy, tuple) else found

    def _forgive(self, on_disk: dict[int, Path]) -> None:
        """Has versions that failed tried again once they were not asked for."""
        for number in self._versions.keys() - {*self._asked(on_disk)}:
            self._versions[number].fingerprint = frozenset()

    def _has_failed(self, number: int, path: Path) -> bool:
        version = self._versions.get(number)
        return (
            version is not None
            and version.error is not None
            and version.fingerprint == _fingerprint(path)  # else it was repaired
        )

    def _load(self, number: int, path: Path) -> None:
        label = f"{self.config.name} version {number}"
        version = _Version(_fingerprint(path))
        with self._changed:
            self._versions[number] = version
        start = time.monotonic()
        servable = None
        try:
            servable = Servable(
                path, model_name=self.config.name, timeout_ms=self._timeout_ms
            )
            loaded = time.monotonic()
            warmed = replay_warmup(servable, path)
            servable.batcher = self._batcher  # warm-up requests run alone
        except Exception as error:  # whatever is wrong with it, the others serve on
            if servable is not None:
                servable.close()
            if not isinstance(error, ServingError):
                error = ServingError(Code.UNKNOWN, f"{type(error).__name__}: {error}")
            # The traceback would hold what was loaded for as long as the error is told.
            error = ServingError(error.code, error.message)
            metrics.LOAD_ATTEMPT_COUNT.add(str(path), "fail")
            with self._changed:
                version.state, version.error = "END", error
            _log.error("%s failed to load: %s", label, error.message)
            self._has_garbage = True
            return
        with self._changed:
            version.state, version.servable = "AVAILABLE", servable
        seconds = time.monotonic() - start
        metrics.LOAD_ATTEMPT_COUNT.add(str(path), "success")
        metrics.LOAD_LATENCY.add(str(path), by=int((loaded - start) * 1e6))
        if warmed:
            warmup_micros = (time.monotonic() - loaded) * 1e6
            metrics.WARMUP_LATENCY.observe(warmup_micros, str(path), "OK")
        _log.info("%s available (%.1f s, %d warm-up requests)", label, seconds, warmed)

    def _unload(self, number: int) -> None:
        version = self._versions[number]
        with self._changed:
            version.state = "UNLOADING"
            self._changed.wait_for(lambda: version.in_flight == 0)
            servable, version.servable = version.servable, None
            version.state = "END"
        servable.close()
        self._has_garbage = True
        _log.info("%s version %d unloaded", self.config.name, number)


def return_memory() -> None:
    """Gives the memory of unloaded versions back to the system.

    A graph is full of reference cycles, and malloc keeps what was freed in the arenas
    of many threads: without this, memory grows with every version for dozens of them.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # a libc other than glibc
        ctypes.CDLL(None).malloc_trim(0)


def _fingerprint(path: Path) -> frozenset[tuple[str, int, int]]:
    """Changes with any file below, as when a copy that was loaded half goes on."""
    found = set()
    for file in path.rglob("*"):
        with contextlib.suppress(OSError):  # gone since it was listed
            stat = file.stat()
            found.add((str(file), stat.st_mtime_ns, stat.st_size))
    return frozenset(found)
