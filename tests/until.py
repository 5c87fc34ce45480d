"""Waiting for a state, never for a time."""

import time
from collections.abc import Callable

LONGEST = 240  # seconds; so much only where something hangs


def until(condition: Callable[[], object], what: str) -> None:
    """Waits until a condition holds; fails with `what` if it never does."""
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)
