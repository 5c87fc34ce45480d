"""The processes that a cluster consists of."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from paths import ROOT

_LONGEST_START = 240  # seconds
_LONGEST_END = 60


class Cluster(NamedTuple):
    """A cluster that is up.

    Attributes:
        runner: Beam's name of its runner.
        flags: Of a job that is to run there.
        head: What jobs are handed to.
        workers: What does it.
        cpu: Filled when all have ended: the CPU seconds of each process.
    """

    runner: str
    flags: list[str]
    head: subprocess.Popen
    workers: list[subprocess.Popen]
    cpu: list[float]


class Processes:
    """Starts processes, each with a log NAME.log in a folder."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._started: list[subprocess.Popen] = []
        self.cpu: list[float] = []

    def start(self, name: str, line: list, **env: str) -> subprocess.Popen:
        """Starts one; environment variables of its own can be given.

        `python` and `import pipeline` are this environment's there.
        """
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        modules = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        env |= {"PYTHONPATH": os.pathsep.join(modules), "PATH": path}
        env |= {"TF_CPP_MIN_LOG_LEVEL": "3"}
        with (self._folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [str(word) for word in line],
                cwd=self._folder,
                env=os.environ | env,
                stdout=log,
                stderr=log,
            )
        self._started.append(process)
        return process

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits until all are up.

        Raises:
            RuntimeError: One has ended, or it takes minutes.
        """
        end = time.monotonic() + _LONGEST_START
        while not condition():
            ended = [p.args[0] for p in self._started if p.poll() is not None]
            if ended or time.monotonic() > end:
                raise RuntimeError(f"{what} did not start; see {self._folder}/*.log")
            time.sleep(0.1)

    def end(self) -> None:
        """Ends all, the last one first, and notes their CPU seconds."""
        for process in reversed(self._started):
            if process.returncode is not None:  # a test has killed and reaped it
                continue
            process.terminate()
            with contextlib.suppress(ChildProcessError):
                self.cpu.append(_reap(process))


def _reap(process: subprocess.Popen) -> float:
    """Waits for the end, kills what does not end; returns the CPU seconds."""
    end = time.monotonic() + _LONGEST_END
    options = os.WNOHANG
    while True:
        pid, status, usage = os.wait4(process.pid, options)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime
        if time.monotonic() > end:
            process.kill()
            options = 0
        time.sleep(0.05)


@contextlib.contextmanager
def processes(folder: Path) -> Iterator[Processes]:
    """Yields what starts processes, and ends them."""
    all_ = Processes(folder)
    try:
        yield all_
    finally:
        all_.end()


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def listens(port: int) -> bool:
    """Whether something does."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
