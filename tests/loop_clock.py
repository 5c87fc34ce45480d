"""The clock of the event loops, moved on by a test instead of waited for."""

import asyncio
import contextlib
import time
import weakref
from collections.abc import Callable

from until import until


class LoopClock:
    """The real time, and what a test has added to it.

    Timers of every event loop go by it, those of a server in a thread too. A limit can
    so be as long as no machine is slow, and is over at once where a test says so.
    """

    def __init__(self):
        self._ahead = 0.0
        self._loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()

    def time(self, loop: asyncio.AbstractEventLoop | None = None) -> float:
        """Seconds; takes the place of a loop's own `time`."""
        if loop is not None:
            self._loops.add(loop)
        return time.monotonic() + self._ahead

    def move(self, seconds: float) -> None:
        """Moves the time on, and has the loops look at it."""
        self._ahead += seconds
        for loop in list(self._loops):
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(lambda: None)

    def run_until(self, condition: Callable[[], object], what: str) -> None:
        """Lets time go by a thousand times as fast until a condition holds."""

        def holds() -> bool:
            if condition():
                return True
            self.move(10.0)
            return False

        until(holds, what)
