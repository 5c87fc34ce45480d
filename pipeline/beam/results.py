"""The one way in which a Beam job hands back results to the process that started it.

Results go through files, by key: only the local runner shares memory with its caller,
and not every runner has Beam's sinks. A bundle that is tried twice writes its results
twice, under the same keys.
"""

import pickle
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import grpc

from pipeline.beam.atomic import atomic_write
from pipeline.beam.runner import LOCAL, pipeline
from pipeline.beam.work import Work
from pipeline.config.sections import Beam
from pipeline.errors import PipelineError
from pipeline.storage import away

_SUFFIX = ".results"


class Workers(NamedTuple):
    """Who does the work of a job.

    Attributes:
        beam: The section of the config that says which runner, and how.
        folder: A folder that all workers see, be it by way of a store, with all that
            is in it. Jobs leave it as it was.
        reads: What else the workers read, of what is not yet a whole artifact.
    """

    beam: Beam
    folder: Path
    reads: Sequence[Path] = ()


def run(
    workers: Workers, items: Iterable[Any], transform: beam.PTransform
) -> dict[Any, Any]:
    """Runs a Beam job and returns its results.

    Args:
        workers: Who does it.
        items: What the job begins with; picklable.
        transform: From the items to pairs (key, result). Keys can be sorted. A
            `PipelineError` as a result is raised here; raised by a worker, its runner
            would try again and wrap it.

    Returns:
        {key: result}, sorted by key.

    Raises:
        PipelineError: If any result is one, with the messages of all; if the runner
            cannot be started or reached, or gives up.
        KeyboardInterrupt: A worker in this process was interrupted.
    """
    with tempfile.TemporaryDirectory(prefix=".results-", dir=workers.folder) as name:
        folder = Path(name)
        if workers.beam.runner == LOCAL:
            _run(workers, items, transform, folder)
        else:
            there = [path for path in workers.folder.iterdir() if path != folder]
            with away.starting(folder, [*there, *workers.reads]):
                _run(workers, items, transform, folder)
        return read(folder)


def _run(
    workers: Workers, items: Iterable[Any], transform: beam.PTransform, folder: Path
) -> None:
    """Runs a job whose results go into a folder."""
    try:
        with pipeline(workers.beam) as job:
            _ = (
                job
                | "Items" >> beam.Create(items)
                | transform
                | "Results" >> beam.ParDo(_Write(folder))
            )
    except Exception as error:
        # How Beam wraps what a worker raises.
        if str(error).startswith(KeyboardInterrupt.__name__):
            raise KeyboardInterrupt from error
        # In this process it is a fault of ours, and worth its traceback.
        if isinstance(error, PipelineError) or workers.beam.runner == LOCAL:
            raise
        raise PipelineError(
            f"beam.runner: {workers.beam.runner} could not run the job: "
            f"{_last_line(error)}. Are its job server and its workers up, and do "
            "they reach each other? The same command goes on after the last "
            "complete stage"
        ) from error


def _last_line(error: Exception) -> str:
    """What an error says, without the traceback of the worker that raised it."""
    text = error.details() if isinstance(error, grpc.Call) else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return repr(error)
    return f"{type(error).__name__}: {lines[-1][:500].rstrip('.')}"


def parallel_map(
    workers: Workers, function: Callable[[int, Any], Any], items: Sequence[Any]
) -> list[Any]:
    """Returns [function(i, item), ...], computed by Beam workers.

    Args:
        workers: Who computes.
        function: Picklable; as a worker may die and its item be tried again, what it
            writes must be the same the second time.
        items: Picklable.

    Raises:
        PipelineError: If any call raised one, with the messages of all.
    """
    call = beam.ParDo(_Call(function))
    found = run(workers, enumerate(items), "Call" >> call)
    check_all(workers, len(found), len(items), "results")
    return list(found.values())


def check_all(workers: Workers, found: int, wanted: int, what: str) -> None:
    """Raises a PipelineError if a job ended with fewer than all of its results."""
    if found < wanted:
        raise PipelineError(
            f"the Beam job ended with {found:,} of {wanted:,} {what}. Do its workers "
            f"reach {workers.folder}?"
        )


def write(folder: Path, results: Sequence[tuple[Any, Any]]) -> None:
    """Writes pairs (key, result), for `read`; called by a worker."""
    with atomic_write(folder / f"{uuid.uuid4().hex}{_SUFFIX}") as part:
        part.write_bytes(pickle.dumps(results))


def read(folder: Path) -> dict[Any, Any]:
    """Returns what was written to a folder: {key: result}, sorted by key.

    Raises:
        PipelineError: If any result is one, with the messages of all.
    """
    found: dict[Any, Any] = {}
    for file in folder.glob(f"*{_SUFFIX}"):
        found.update(pickle.loads(file.read_bytes()))
    found = dict(sorted(found.items(), key=lambda pair: pair[0]))
    errors = [str(r) for r in found.values() if isinstance(r, PipelineError)]
    if errors:
        raise PipelineError("\n".join(dict.fromkeys(errors)))
    return found


class _Call(Work):
    """(index, item) -> (index, what the function returns)."""

    def __init__(self, function: Callable[[int, Any], Any]):
        self._function = function

    def process(self, numbered: tuple[int, Any]) -> Iterator[tuple[int, Any]]:
        index, item = numbered
        try:
            result = self._function(index, item)
        except PipelineError as error:
            result = error
        yield index, result


class _Write(Work):
    """Writes the pairs (key, result) of a bundle."""

    def __init__(self, folder: Path):
        self._folder = folder

    def start_bundle(self) -> None:
        self._results: list[tuple[Any, Any]] = []

    def process(self, result: tuple[Any, Any]) -> None:
        self._results.append(result)

    def finish_bundle(self) -> None:
        if self._results:
            write(self._folder, self._results)
