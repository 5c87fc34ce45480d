"""Several workers behind one port: started, watched and stopped by one process.

Each worker is a whole server, which loads the models itself. All of them listen on the
same port, and the system spreads new connections over them. A worker that dies is
started again while the others serve on; if one cannot even start at first, all end.
"""

import argparse
import contextlib
import logging
import multiprocessing
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from serving.listeners import reserve

_log = logging.getLogger("serving")

_TICK_SECONDS = 0.2
_PAUSES = (1.0, 30.0)  # seconds before a dead worker is started anew: first, longest

_Serve = Callable[[argparse.Namespace, "Worker"], int]


@dataclass(frozen=True)
class Worker:
    """What a worker is told by the process that watches it.

    Args:
        index: int. Which one it is, from 0.
        count: int. How many there are.
        folder: str. Where they find each other.
        key: bytes. What they know each other by.
        parent: Connection. Takes "ready", and ends with the parent.
    """

    index: int
    count: int
    folder: str
    key: bytes
    parent: Connection

    def end_with_parent(self, stop: threading.Event) -> None:
        """Sets `stop` when the parent is gone, however it went."""

        def watch() -> None:
            with contextlib.suppress(EOFError, OSError):
                self.parent.recv()
            stop.set()

        threading.Thread(target=watch, daemon=True).start()


class _Watched:
    """One worker as its parent sees it; started again at `start_at`."""

    def __init__(self):
        self.process: SpawnProcess | None = None
        self.pipe: Connection | None = None
        self.is_ready = False
        self.start_at = 0.0
        self.pause = _PAUSES[0]


def stop_on_signals(stop: threading.Event) -> list[int]:
    """Has SIGTERM and SIGINT set `stop`; returns the list of those that have come."""
    come: list[int] = []

    def take(number: int, _: object) -> None:
        come.append(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, take)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # see `run_workers`
    return come


def run_workers(args: argparse.Namespace, serve: _Serve) -> int:
    """Runs `args.workers` workers until SIGTERM or SIGINT.

    Args:
        args: Namespace. The flags of `serve`.
        serve: function. What a worker runs; gives its exit status.

    Returns:
        int, the exit status: 0 after SIGTERM, 2 if a worker cannot start.

    Raises:
        OSError: a port is taken.
        KeyboardInterrupt: SIGINT has come.
    """
    stop = threading.Event()
    come = stop_on_signals(stop)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(reserve(args.host, args.rest_port))
        args.rest_port = listener.getsockname()[1]
        if args.port is not None:
            grpc_listener = stack.enter_context(reserve(args.host, args.port))
            args.port = grpc_listener.getsockname()[1]
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="serving-"))
        key = secrets.token_bytes()
        workers = [_Watched() for _ in range(args.workers)]

        def start(index: int) -> None:
            worker = workers[index]
            context = multiprocessing.get_context("spawn")
            worker.pipe, theirs = context.Pipe()
            told = Worker(index, len(workers), folder, key, theirs)
            worker.process = context.Process(target=_work, args=(serve, args, told))
            # A Ctrl-C goes to all processes of a terminal. It has to wait until a
            # worker takes signals, or there would be a traceback.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            worker.process.start()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            theirs.close()

        stack.callback(_stop, workers)
        for index in range(len(workers)):
            start(index)
        status = _watch(args, workers, start, stop)
    if signal.SIGINT in come:
        raise KeyboardInterrupt
    return status


def _watch(
    args: argparse.Namespace,
    workers: list[_Watched],
    start: Callable[[int], None],
    stop: threading.Event,
) -> int:
    has_started = False
    while not stop.is_set():
        running = [w for w in workers if w.process is not None]
        _await([w.process.sentinel for w in running])
        for index, worker in enumerate(workers):
            if worker.process is None:
                if time.monotonic() >= worker.start_at:
                    start(index)
                continue
            with contextlib.suppress(EOFError, OSError):
                if not worker.is_ready and worker.pipe.poll() and worker.pipe.recv():
                    worker.is_ready, worker.pause = True, _PAUSES[0]
            if worker.process.exitcode is None or stop.is_set():
                continue
            if not has_started:
                return 2  # it has said why
            _log.error(
                "worker %d ended with %d; it is started again in %g s",
                index, worker.process.exitcode, worker.pause,
            )  # fmt: skip
            worker.pipe.close()
            worker.process, worker.is_ready = None, False
            worker.start_at = time.monotonic() + worker.pause
            worker.pause = min(2 * worker.pause, _PAUSES[1])
        if not has_started and all(worker.is_ready for worker in workers):
            has_started = True
            shown = f"[{args.host}]" if ":" in args.host else args.host
            url = f"http://{shown}:{args.rest_port}"
            _log.info("%d workers listening on %s", len(workers), url)
    return 0


def _await(sentinels: list[int]) -> None:
    """Waits until a process has ended, but no longer than a tick."""
    if sentinels:
        wait(sentinels, _TICK_SECONDS)
    else:
        time.sleep(_TICK_SECONDS)


def _stop(workers: list[_Watched]) -> None:
    """Has all workers answer what is in flight and end."""
    running = [w.process for w in workers if w.process is not None]
    for process in running:
        process.terminate()
    for process in running:
        process.join()


def _work(serve: _Serve, args: argparse.Namespace, worker: Worker) -> None:
    sys.exit(serve(args, worker))
