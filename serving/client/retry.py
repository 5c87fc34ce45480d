"""Trying again: only what did not reach a server, or what it was too busy for."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

_BACKOFF_SECONDS = 0.1

_T = TypeVar("_T")


class RequestError(RuntimeError):
    """A request that the server refused, or that did not reach it.

    Args:
        message: str. The server's own message where there is one.
        status: int. The HTTP status, or None if there was no answer.
        is_passing: bool. Whether another try may succeed. Defaults to False.
    """

    def __init__(
        self, message: str, status: int | None = None, is_passing: bool = False
    ):
        super().__init__(message)
        self.status = status
        self.is_passing = is_passing


def retry(attempt: Callable[[], _T], retries: int) -> _T:
    """Calls a function until it succeeds or fails for good.

    The pauses double from 0.1 s on, each drawn out by up to as much again: clients
    that failed together do not come back together.

    Args:
        attempt: function. One try.
        retries: int. How often to try again after a RequestError that may pass.

    Returns:
        What the function gives.

    Raises:
        RequestError: the last one.
    """
    for number in range(retries):
        try:
            return attempt()
        except RequestError as error:
            if not error.is_passing:
                raise
        time.sleep(_BACKOFF_SECONDS * 2**number * (1 + random.random()))
    return attempt()
