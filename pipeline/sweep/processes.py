"""Trainings as processes: some at a time, each held to its memory."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from pipeline.beam.atomic import atomic_write
from pipeline.errors import PipelineError

_MODULE = "pipeline.sweep.trial"
_POLL = 0.2  # seconds between two looks at the processes
_UNITS = {"": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}


class Job(NamedTuple):
    """A training to run.

    Attributes:
        key: What the answer is told with.
        name: Of its files, of those of this sweep.
        told: What `trial.train` is told.
    """

    key: Any
    name: str
    told: Mapping[str, Any]


class _Running(NamedTuple):
    job: Job
    process: subprocess.Popen
    answer: Path
    log: Path


def run(
    jobs: Iterable[Job], folder: Path, at_once: int, memory: int | None, lock: IO
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yields (key, answer) of each job as it ends; the next one is taken then.

    Args:
        jobs: What to run; taken one by one, when there is room for it.
        folder: For what the processes are told and say.
        at_once: How many run at a time; the CPUs are shared out among them.
        memory: Bytes that one and its own processes may take; None is no limit.
        lock: Of the workspace; each process holds it as long as it lives.

    Returns:
        Answers: what `trial.train` returns, or {"error": why there is nothing}.
    """
    waiting, running = iter(jobs), []
    try:
        while True:
            while len(running) < at_once and (job := next(waiting, None)):
                running.append(_start(job, folder, at_once, lock))
            if not running:
                return
            time.sleep(_POLL)
            for one in list(running):
                answer = _answer(one, memory)
                if answer is not None:
                    running.remove(one)
                    yield one.job.key, answer
    finally:
        for one in running:
            _kill(one.process)


def _start(job: Job, folder: Path, at_once: int, lock: IO) -> _Running:
    told, answer, log = (
        folder / f"{job.name}.{end}" for end in ("job.json", "answer.json", "log")
    )
    with atomic_write(told) as part:
        part.write_text(json.dumps(job.told))
    answer.unlink(missing_ok=True)
    threads = str(max(1, len(os.sched_getaffinity(0)) // at_once))
    shares = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(told), str(answer)],
            stdin=subprocess.PIPE,  # which ends when this process does
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that it can be ended with all it has started
            pass_fds=(lock.fileno(),),
            env={**dict.fromkeys(shares, threads), **os.environ},
        )
    return _Running(job, process, answer, log)


def _answer(one: _Running, memory: int | None) -> dict[str, Any] | None:
    """What a process has answered; None as long as it runs."""
    status = one.process.poll()
    if status is None:
        if memory is None or resident(one.process.pid) <= memory:
            return None
        _kill(one.process)
        return {"error": f"took more than the {memory / 1e9:g} GB of --memory"}
    one.process.stdin.close()
    if one.answer.is_file():
        return json.loads(one.answer.read_text())
    said = one.log.read_text(errors="replace").strip().splitlines()
    last = f": {said[-1]}" if said else ""
    return {"error": f"ended with status {status}{last}. See {one.log}"}


def _kill(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()


def resident(pid: int) -> int:
    """Bytes of memory that a process and those it has started take."""
    try:
        proc = Path("/proc") / str(pid)
        pages = int((proc / "statm").read_text().split()[1])
        children = [
            int(child)
            for task in (proc / "task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:  # it has ended meanwhile
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(resident, children))


def size(text: str) -> int:
    """Reads a size, such as 4GB or 512MB.

    Raises:
        PipelineError: It is none.

    Example:
        >>> size("1.5GB")
        1500000000
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(KB|MB|GB|)", text.strip().upper())
    if not match or not float(match[1]):
        raise PipelineError(
            f"--memory: a size above 0 is needed, such as 4GB. Received: {text!r}"
        )
    return int(float(match[1]) * _UNITS[match[2]])
