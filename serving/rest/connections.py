"""HTTP connections that slow or idle clients cannot hold on to, and that lose nothing.

uvicorn limits the time between requests; this adds limits on the time and size of a
request's head, on the time of its body and for a client that does not read its answer,
and on the number of connections. A body that is late is told to the application, which
answers 408.

No limit closes a connection on which a request has arrived. A timer may run out while
the event loop is kept from reading, so what the kernel holds is looked at first. And
an answer to a request that is still being sent is not cut off: the connection is closed
in two steps (RFC 9112, 9.6).
"""

import asyncio
import itertools
import select
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving import metrics
from serving.config.server import Limits

BODY_IS_LATE = "body_is_late"  # a key of the request's `scope["state"]`

_MAX_HEAD_BYTES = 2**16
_LINGER_SECONDS = 2.0
_LOOKED_AT = 8


class BoundedProtocol(HttpToolsProtocol):
    """One HTTP connection within limits.

    Args:
        limits: Limits. `max_connections`, `header_seconds` and `body_seconds` count,
            and `idle_seconds`, which uvicorn is told as `timeout_keep_alive`.
        idle: dict. The server's connections without a request at work, the longest
            idle first; shared by all of them.
        **options: What uvicorn gives a protocol.
    """

    def __init__(
        self, *, limits: Limits, idle: dict["BoundedProtocol", None], **options: Any
    ):
        super().__init__(**options)
        self.parser = _Parser(self)
        self._limits = limits
        self._idle = idle
        self._head_bytes: int | None = None  # of a head that is not whole yet
        self._is_sending = False  # the client is not at the end of a request
        self._head_timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Waits for a request; makes room if there are too many connections."""
        super().connection_made(
            _LingeringTransport(transport, lambda: self._is_sending, self.loop)
        )
        self._wait_for_head()
        if len(self.connections) > self._limits.max_connections:
            # This one, if all others are at work. Few are looked at: in a flood, all
            # have bytes that nobody has read.
            oldest = list(itertools.islice(self._idle, _LOOKED_AT))
            spare = (other for other in oldest if not other._is_needed())
            next(spare, oldest[0])._abort("connections")

    def data_received(self, data: bytes) -> None:
        """Reads on; a request's head must be whole in time, however it trickles."""
        if self.transport.is_closing():
            return  # it lingers: nobody answers this any more
        before, scope = self.cycle, self.scope
        super().data_received(data)
        if self._head_bytes is not None and self.scope is scope:  # the same head, on
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("Invalid HTTP request received.")
        if self.transport.is_closing():
            return
        if self.cycle is not before:
            self._at_work()
        if self.cycle is None or self.cycle.response_complete:
            # Also the rest of a body that was answered before it had arrived.
            self._wait_for_head()
        else:
            self._wait_for_body()

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP; what the client goes on sending is thrown away."""
        self._is_sending = True
        super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """Begins to count a request's head."""
        super().on_message_begin()
        self._head_bytes, self._is_sending = 0, True

    def on_headers_complete(self) -> None:
        """Hands the request over, its target as it was sent."""
        self._head_bytes = None
        # Not counted by `data_received` where it has come at once.
        size = len(self.url) + sum(len(n) + len(v) for n, v in self.headers)
        if size > _MAX_HEAD_BYTES:
            raise httptools.HttpParserError("the head is too large")
        if self.parser.should_upgrade():
            return  # it will be read once more, without that
        target, self.url = self.url, b"/"  # not taken apart: fragment, host and all
        super().on_headers_complete()
        path, _, query = target.partition(b"?")
        self.scope["path"] = unquote(path.decode("latin-1"))
        self.scope["raw_path"], self.scope["query_string"] = path, query

    def on_message_complete(self) -> None:
        """Stops the clock of the body."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._is_sending = False
        self._stop_body_timer()

    def on_response_complete(self) -> None:
        """Puts the connection among the idle ones, unless the next request is there."""
        self._stop_body_timer()
        is_next_there = bool(self.pipeline)
        super().on_response_complete()
        if is_next_there:
            self._wait_for_body()
        else:
            self._idle[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        super().connection_lost(exc)
        self._at_work()
        self._stop_body_timer()
        self.resume_writing()
        self.transport.closed()

    def shutdown(self) -> None:
        """Closes the connection; a request that has just arrived is answered first."""
        if self.transport.is_closing():
            return
        if self in self._idle and self._has_unread():
            self._after_reading(self.shutdown)
        else:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection that has been idle for too long."""
        if self.transport.is_closing():
            return
        if self._has_unread():
            self.timeout_keep_alive_task = self._after_reading(
                self.timeout_keep_alive_handler
            )
        else:
            self._abort()  # with the rest of an answer that nobody has read

    def pause_writing(self) -> None:
        """Starts the clock: the client reads too slowly."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(
                self._limits.body_seconds, self._abort, "answer_unread"
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
                self._limits.header_seconds, self._head_is_late
            )

    def _head_is_late(self) -> None:
        if self.transport.is_closing():
            return
        if self._has_unread():
            self._head_timer = self._after_reading(self._head_is_late)
        else:
            self._abort("head_time")

    def _at_work(self) -> None:
        self._idle.pop(self, None)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _wait_for_body(self) -> None:
        # Of a request behind another one nothing is read before its turn.
        if self.cycle.more_body and self._body_timer is None and not self.pipeline:
            self._body_timer = self.loop.call_later(
                self._limits.body_seconds, self._body_is_late
            )

    def _body_is_late(self) -> None:
        if self.transport.is_closing():
            return
        if self._has_unread():
            self._body_timer = self._after_reading(self._body_is_late)
        else:
            self.cycle.scope["state"][BODY_IS_LATE] = True
            self.cycle.message_event.set()

    def _stop_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _after_reading(self, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Calls back once the loop has read; its timers come after its sockets."""
        return self.loop.call_later(0, callback)

    def _has_unread(self) -> bool:
        """Whether bytes have arrived that the loop did not come to read."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket"), select.POLLIN)
        return bool(poll.poll(0))

    def _is_needed(self) -> bool:
        return self.transport.get_write_buffer_size() > 0 or self._has_unread()

    def _abort(self, reason: str = "") -> None:
        if reason:
            metrics.REFUSAL_COUNT.add(reason, "closed")
        self._idle.pop(self, None)  # not chosen again while it closes
        self.transport.abort()


class _Parser:
    """A parser to which a request to upgrade, as to HTTP/2, means nothing.

    As RFC 9110, 7.8, allows. llhttp stops reading there, before the body.

    Args:
        protocol: HttpToolsProtocol. Takes what is read.
    """

    def __init__(self, protocol: HttpToolsProtocol):
        self._protocol = protocol
        self._parser = self._make()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> None:
        """Reads on; a head that asks for an upgrade is read again without it."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            method = self._parser.get_method()
            if method == b"CONNECT":
                raise httptools.HttpParserError("This is no proxy") from upgrade
            lines = [
                b"%s %s HTTP/1.1" % (method, self._protocol.url),
                *(
                    b"%s: %s" % header
                    for header in self._protocol.headers
                    if header[0] != b"upgrade"
                ),
            ]
            self._parser = self._make()
            head = b"\r\n".join(lines) + b"\r\n\r\n"
            self.feed_data(head + data[upgrade.args[0] :])

    def _make(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self._protocol)
        # So that of pipelined requests the last may end the connection.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser


class _LingeringTransport:
    """A transport that closes in two steps where the client is still sending.

    What arrives at a closed socket is answered with a reset, upon which the client's
    system may throw away the answer that it has not read yet. So the own direction is
    closed, and the other one read and thrown away, until the client closes it or its
    time is over.

    Args:
        transport: Transport. What carries the bytes.
        is_sending: function. Whether the client is not at the end of a request.
        loop: AbstractEventLoop. For the clock.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        is_sending: Callable[[], bool],
        loop: asyncio.AbstractEventLoop,
    ):
        self._transport = transport
        self._is_sending = is_sending
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.write = transport.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether it is closed, or lingers."""
        return self._timer is not None or self._transport.is_closing()

    def close(self) -> None:
        """Closes once everything is written; keeps reading if there may be more."""
        if self.is_closing():
            return
        if not self._is_sending():
            self._transport.close()
            return
        self._transport.write_eof()
        self._transport.resume_reading()
        self._timer = self._loop.call_later(_LINGER_SECONDS, self._transport.abort)

    def closed(self) -> None:
        """Forgets the clock."""
        if self._timer is not None:
            self._timer.cancel()
