"""HTTP connections that slow or idle clients cannot hold on to.

uvicorn limits the time between requests; this adds limits on the time for a request's
head and for a client that does not read its answer, and on the number of connections.
The body's time is limited in `rest.py`, where the answer 408 is given.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.config import Limits


class BoundedProtocol(H11Protocol):
    """One HTTP connection within limits.

    Args:
        limits: Limits. `max_connections`, `header_seconds` and `body_seconds` count.
        idle: dict. The server's connections without a request at work, the longest
            idle first; shared by all of them.
        **options: What uvicorn gives a protocol.
    """

    def __init__(
        self, *, limits: Limits, idle: dict["BoundedProtocol", None], **options: Any
    ):
        super().__init__(**options)
        self._limits = limits
        self._idle = idle
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Waits for a request; makes room if there are too many connections."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > self._limits.max_connections:
            next(iter(self._idle))._abort()  # this one, if all others are at work

    def data_received(self, data: bytes) -> None:
        """Reads on; a request's head must be whole in time, however it trickles."""
        before = self.cycle
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.cycle is not before:
            self._at_work()
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_head()

    def on_response_complete(self) -> None:
        """Puts the connection among the idle ones, unless the next request is there."""
        before = self.cycle
        self._idle[self] = None
        super().on_response_complete()
        if self.cycle is not before:
            self._at_work()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        super().connection_lost(exc)
        self._at_work()
        self.resume_writing()

    def pause_writing(self) -> None:
        """Starts the clock: the client reads too slowly."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(
                self._limits.body_seconds, self._abort
            )

    def resume_writing(self) -> None:
        """Stops that clock."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _wait_for_head(self) -> None:
        self._idle[self] = None
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(
                self._limits.header_seconds, self._abort
            )

    def _at_work(self) -> None:
        self._idle.pop(self, None)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _abort(self) -> None:
        self._idle.pop(self, None)  # not chosen again while it closes
        self.transport.abort()
