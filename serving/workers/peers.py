"""Several processes that serve as one: what each must know of the others.

A client's connection ends at any of the workers behind a port, and what it hears of
versions, configurations and counts is true of all of them: a version is AVAILABLE once
every worker has it, a configuration is taken by all or by none, a metric is the sum.
The workers ask each other over Unix sockets for that. Predictions need no other worker.
"""

import contextlib
import fcntl
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any

from serving import metrics
from serving.config.server import ModelConfig
from serving.errors import Code, ServingError
from serving.models.manager import ServedModels

_log = logging.getLogger("serving")

_State = tuple[int, str, ServingError | None]


class Peers:
    """The way to the other workers of a server, and theirs to this one.

    Args:
        index: int. Which worker this is, from 0.
        folder: Path. Where the workers' sockets are; readable by their user alone.
        count: int. How many workers there are.
        key: bytes. What they know each other by.

    Attributes:
        lock: context manager. Only one worker holds it at a time.
    """

    def __init__(self, index: int, folder: Path, count: int, key: bytes):
        self.index = index
        self._paths = [str(folder / str(other)) for other in range(count)]
        self._key = key
        self.lock = _OneAtATime(folder / "lock")
        self._calls: dict[str, Callable[..., Any]] = {}
        Path(self._paths[index]).unlink(missing_ok=True)  # of one that died
        self._listener = Listener(self._paths[index], "AF_UNIX", authkey=key)
        threading.Thread(target=self._accept, daemon=True, name="peers").start()

    def answer(self, calls: dict[str, Callable[..., Any]]) -> None:
        """Answers these calls of the others from now on, in threads of their own."""
        self._calls = calls

    def ask(self, worker: int, call: str, *arguments: Any) -> Any:
        """Asks one worker.

        Raises:
            OSError: it is not there: it starts, or ends.
            ServingError: what it raised itself.
        """
        with Client(self._paths[worker], "AF_UNIX", authkey=self._key) as connection:
            connection.send((call, arguments))
            try:
                answer = connection.recv()
            except EOFError as error:
                raise ConnectionError(f"Worker {worker} has ended") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def others(self) -> list[int]:
        """Lists the other workers."""
        return [n for n in range(len(self._paths)) if n != self.index]

    def ask_others(self, call: str, *arguments: Any) -> list[Any]:
        """Asks all the others; None for each that is not there."""
        answers = []
        for worker in self.others():
            try:
                answers.append(self.ask(worker, call, *arguments))
            except OSError:
                answers.append(None)
        return answers

    def metrics_page(self) -> str:
        """Writes what all workers have counted."""
        return metrics.page(filter(None, self.ask_others("metrics")))

    def close(self) -> None:
        """Answers no more."""
        self._listener.close()
        self.lock.close()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:  # closed
                return
            except Exception:  # somebody else knocked, or left at once
                continue
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: Any) -> None:
        with connection, contextlib.suppress(OSError, EOFError):
            call, arguments = connection.recv()
            try:
                answer = self._calls[call](*arguments)
            except KeyError:
                answer = ConnectionError("This worker is starting")
            except ServingError as error:
                answer = error
            except Exception as error:
                _log.exception("%s, asked by another worker, failed", call)
                answer = ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")
            connection.send(answer)


class _OneAtATime:
    """A lock for the threads of all workers."""

    def __init__(self, file: Path):
        self._file = open(file, "w")
        self._thread = threading.Lock()

    def __enter__(self) -> None:
        self._thread.acquire()
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._thread.release()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class SharedModels(ServedModels):
    """The models of one worker, told of and changed as those of all.

    Args:
        configs: sequence of ModelConfig. What to serve, unless the others are told to
            serve something else by now.
        make_model: function. Makes the Model of a config, not loaded yet.
        allow_unavailable_labels: bool. As of ServedModels.
        peers: Peers. The other workers.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        make_model: Any,
        allow_unavailable_labels: bool,
        peers: Peers,
    ):
        self._peers = peers
        self._reloading = threading.Lock()
        now = next(filter(None, peers.ask_others("configs")), None)
        # Started anew beside others, it may have the labels that they have.
        allow = allow_unavailable_labels or now is not None
        super().__init__(now or configs, make_model, allow)
        self._allow_unavailable_labels = allow_unavailable_labels
        # One worker at a time loads, so that the others have the cores for answers.
        self._changing = peers.lock
        peers.answer(
            {
                "configs": self._configs,
                "states": self._own_states,
                "accept": self._check_labels,
                "reload_own": super().reload,
                "reload": self.reload,
                "metrics": metrics.snapshot,
            }
        )

    def states(self, name: str, version: int | None = None) -> list[_State]:
        """Lists number, state and load error of a model's versions, in all workers."""
        found = self._peers.ask_others("states", name, version)
        workers = [self._own_states(name, version), *(states or () for states in found)]
        return _common_states(workers) or super().states(name, version)

    def reload(self, configs: Sequence[ModelConfig]) -> None:
        """Has all workers serve these models, or none.

        The first worker sees to it, so that of two that come at once one is second.

        Raises:
            ServingError: a worker refuses, or is not there.
        """
        try:
            if self._peers.index:
                self._peers.ask(0, "reload", list(configs))
                return
            with self._reloading:
                self._reload_all(list(configs))
        except OSError as error:
            raise ServingError(
                Code.UNAVAILABLE, "A worker is being started; try again"
            ) from error

    def _reload_all(self, configs: list[ModelConfig]) -> None:
        before = self._configs()
        others = self._peers.others()
        for worker in others:
            self._peers.ask(worker, "accept", configs)
        super().reload(configs)
        changed = []
        try:
            for worker in others:
                self._peers.ask(worker, "reload_own", configs)
                changed.append(worker)
        except (ServingError, OSError):
            for worker in changed:
                self._peers.ask(worker, "reload_own", before)
            super().reload(before)
            raise

    def _configs(self) -> list[ModelConfig]:
        return [model.config for model in self._models.values()]

    def _own_states(self, name: str, version: int | None) -> list[_State]:
        try:
            return super().states(name, version)
        except ServingError:  # it has seen none
            return []


def _common_states(workers: Sequence[Sequence[_State]]) -> list[_State]:
    """What is true of each version in all workers, newest first."""
    known = [{number: rest for number, *rest in states} for states in workers]
    numbers = sorted({number for states in known for number in states}, reverse=True)
    missing = ["LOADING", None]
    return [
        (number, *_common(states.get(number, missing) for states in known))
        for number in numbers
    ]


def _common(states: Iterable[Sequence[Any]]) -> tuple[str, ServingError | None]:
    names = set()
    for name, error in states:
        if error is not None:  # one worker without it is enough for requests to fail
            return name, error
        names.add(name)
    if len(names) == 1:
        return names.pop(), None
    return ("UNLOADING" if names & {"UNLOADING", "END"} else "LOADING"), None
