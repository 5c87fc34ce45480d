"""How far work has come: a bar on a terminal, a line now and then in a log.

Rows are counted where the work is done, be it in other processes: each appends what it
has done to a file of its own, in a folder that all of them see. Who has started the
work adds up what stands there. Not every runner of Beam tells its counters before a job
has ended, and the local one does not.
"""

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

# Seconds to the first look, and between two.
_ON_A_TERMINAL = (5, 1)
_IN_A_LOG = (30, 30)

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {unit} [{elapsed}<{remaining}]"
_shown: "_Display | None" = None  # what the process shows now


class Done(NamedTuple):
    """Takes what is done; picklable.

    Attributes:
        folder: Where it is counted; None for nowhere.
    """

    folder: Path | None = None

    def add(self, rows: int, size: int | None = None) -> None:
        """Counts rows that are done.

        Args:
            rows: How many.
            size: What part of the whole they are, in the unit of its size. Defaults to
                `rows`.
        """
        if self.folder is None:
            return
        file = self.folder / f"{socket.gethostname()}-{os.getpid()}"
        # No work fails of what is only shown.
        with contextlib.suppress(OSError), file.open("a") as counts:
            counts.write(f"{rows} {rows if size is None else size}\n")


NOWHERE = Done()


@contextlib.contextmanager
def showing(name: str) -> Iterator[None]:
    """Shows how far the work of a block has come, if it takes more than some seconds.

    Args:
        name: What is being done, such as the name of a stage.
    """
    global _shown
    before, over = _shown, threading.Event()
    display = _shown = _Display(name)
    first, pause = _ON_A_TERMINAL if display.is_terminal else _IN_A_LOG

    def look() -> None:
        wait = first
        while not over.wait(wait):
            if _shown is display:  # none within it has taken its place
                display.show()
            wait = pause

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        display.close()
        _shown = before


@contextlib.contextmanager
def counting(
    size: int, folder: Path, what: str = "", unit: str = "rows"
) -> Iterator[Done]:
    """Counts the rows of a block of work, for whoever shows them.

    Args:
        size: Of the whole: rows, or bytes of files whose rows nobody knows.
        folder: A folder that all who do the work see. It is left as it was.
        what: What is done, of all that the work is made of. Defaults to "", the whole.
        unit: What is counted. Defaults to "rows".

    Yields:
        What takes the counts.
    """
    display = _shown
    if display is None:
        yield NOWHERE
        return
    with tempfile.TemporaryDirectory(prefix=".progress-", dir=folder) as counts:
        display.work = _Work(what, unit, max(size, 1), Path(counts), display.clock())
        try:
            yield Done(Path(counts))
        finally:
            display.work = None


def step(what: str) -> None:
    """Names what is done from now on, where nobody counts."""
    if _shown is not None:
        _shown.step = what


def write(line: str) -> None:
    """Prints a line, above a bar if there is one."""
    tqdm.write(line)
    sys.stdout.flush()


class _Work(NamedTuple):
    """Work that is counted; see `counting`."""

    what: str
    unit: str
    size: int
    folder: Path
    started: float

    def done(self) -> tuple[int, int]:
        """Rows that are done, and the size of what is done."""
        rows = size = 0
        for file in self.folder.glob("*"):
            for line in file.read_text().splitlines():
                of_rows, of_size = line.split()
                rows, size = rows + int(of_rows), size + int(of_size)
        return rows, min(size, self.size)  # what is tried twice counts twice


class _Display:
    """Where it is shown."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.step, self.work = name, "", None
        self.clock, self.started = clock, clock()
        self.is_terminal = sys.stderr.isatty()
        self.bar: tqdm | None = None

    def show(self) -> None:
        """Shows what is done by now."""
        with contextlib.suppress(OSError, ValueError):  # half of a line, or just ended
            if not self.is_terminal:
                print(self.line(), file=sys.stderr, flush=True)
            elif self.bar is None:
                self.bar = tqdm(desc=self.text(), bar_format="{desc}", leave=False)
            else:
                self.bar.set_description_str(self.text())

    def close(self) -> None:
        """Removes the bar."""
        if self.bar is not None:
            self.bar.close()

    def text(self) -> str:
        """A bar of rows and the time left; of work that is not counted, the time."""
        work, now = self.work, self.clock()
        if work is None:
            passed = tqdm.format_interval(now - self.started)
            return f"{self._title(self.step)} ... {passed}"
        rows, size = work.done()
        return tqdm.format_meter(
            size,
            work.size,
            now - work.started,
            ncols=shutil.get_terminal_size().columns - 1,
            prefix=self._title(work.what),
            unit=f"{rows:,} {work.unit}",
            bar_format=_FORMAT,
        )

    def line(self) -> str:
        """The same for a log."""
        work, now = self.work, self.clock()
        passed = tqdm.format_interval(now - self.started)
        if work is None:
            return f"{self._title(self.step)}: {passed} so far"
        rows, size = work.done()
        left = ""
        if 0 < size < work.size:
            seconds = (now - work.started) * (work.size - size) / size
            left = f", about {tqdm.format_interval(seconds)} left"
        return (
            f"{self._title(work.what)}: {rows:,} {work.unit}, {size / work.size:.0%}; "
            f"{passed} so far{left}"
        )

    def _title(self, what: str) -> str:
        return f"{self.name}, {what}" if what else self.name
