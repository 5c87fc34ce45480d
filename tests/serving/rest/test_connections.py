"""No limit closes a connection on which a request has arrived, or cuts off an answer.

The races are forced: the clock is moved past a limit, and the request arrives after the
loop has looked at its sockets and before its timers run.
"""

import asyncio
import contextlib
import functools
import socket
import time

import uvicorn
from until import LONGEST
from uvicorn.server import ServerState

from serving.config.server import Limits
from serving.rest.connections import BoundedProtocol

_REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
_LARGE = 2**24
_LIMITS = Limits()


async def _app(scope, receive, send):
    """Answers with the body, with much to `/large`, and at once to `/early`."""
    body = b""
    if scope["path"] != "/early":
        body = (await receive())["body"]
    if scope["path"] == "/large":
        body = b"x" * _LARGE
    headers = [(b"content-length", b"%d" % len(body))]
    if scope["path"] == "/early":
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Protocol(BoundedProtocol):
    """Counts what the server has read."""

    received = 0

    def data_received(self, data):
        super().data_received(data)
        self.received += len(data)


async def _until(condition):
    """Has the loop run until a condition holds."""
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0)


class _Peer:
    """A client's sockets, and the protocols that the server has for them."""

    def __init__(self, **limits):
        self.state = ServerState()
        self.protocols = []
        self.on_accept = lambda: None
        self._make = functools.partial(
            _Protocol,
            limits=Limits(**limits),
            idle={},
            config=uvicorn.Config(
                _app, timeout_keep_alive=_LIMITS.idle_seconds, ws="none"
            ),
            server_state=self.state,
            app_state={},
        )

    async def __aenter__(self):
        self._loop = asyncio.get_running_loop()
        self._server = await self._loop.create_server(self._accept, "127.0.0.1", 0)
        self._sockets = contextlib.ExitStack()
        return self

    async def __aexit__(self, *_):
        self._sockets.close()
        self._server.close()
        for protocol in self.protocols:
            protocol.transport.abort()
        await _until(lambda: not self.state.connections)

    def _accept(self):
        self.on_accept()
        self.protocols.append(self._make())
        return self.protocols[-1]

    async def connect(self):
        client = self._sockets.enter_context(socket.socket())
        client.setblocking(False)
        known = len(self.protocols)
        await self._loop.sock_connect(client, self._server.sockets[0].getsockname())
        await _until(lambda: self.protocols[known:] and self.protocols[-1].transport)
        return client

    async def read(self, client, enough=1):
        """What comes until there is enough, or no more."""
        received = b""
        with contextlib.suppress(ConnectionError):
            while len(received) < enough:
                chunk = await self._loop.sock_recv(client, 2**20)
                if not chunk:
                    break
                received += chunk
        return received

    async def ask(self, client):
        client.sendall(_REQUEST)
        assert (await self.read(client)).startswith(b"HTTP/1.1 200 ")

    async def run_late(self, clock, timer, client, data):
        """Lets data arrive after the loop has read, just before a timer runs."""
        self._loop.call_at(timer.when() - 1e-4, client.sendall, data)
        clock.move(timer.when() - clock.time())
        await asyncio.sleep(0)


def _run(scenario):
    asyncio.run(scenario())


def test_a_request_that_arrives_as_the_silence_ends_is_answered(clock):
    async def scenario():
        async with _Peer() as peer:
            client = await peer.connect()
            await peer.ask(client)
            timer = peer.protocols[0].timeout_keep_alive_task
            assert timer.when() <= clock.time() + _LIMITS.idle_seconds
            await peer.run_late(clock, timer, client, _REQUEST)
            assert (await peer.read(client)).startswith(b"HTTP/1.1 200 ")
            clock.move(_LIMITS.idle_seconds - 30)  # the silence begins anew
            await peer.ask(client)
            clock.move(_LIMITS.idle_seconds)  # and then it is closed all the same
            assert await peer.read(client) == b""

    _run(scenario)


def test_a_head_that_arrives_as_its_time_ends_is_answered(clock):
    async def scenario():
        async with _Peer() as peer:
            client = await peer.connect()
            client.sendall(_REQUEST[:20])
            await _until(lambda: peer.protocols[0].received == 20)
            timer = peer.protocols[0]._head_timer
            assert timer.when() <= clock.time() + _LIMITS.header_seconds
            await peer.run_late(clock, timer, client, _REQUEST[20:])
            assert (await peer.read(client)).startswith(b"HTTP/1.1 200 ")
            client.sendall(_REQUEST[:20])  # half a head is still too little
            await _until(lambda: peer.protocols[0].received == len(_REQUEST) + 20)
            timer = peer.protocols[0]._head_timer
            await peer.run_late(clock, timer, client, _REQUEST[20:30])
            assert await peer.read(client) == b""

    _run(scenario)


def test_a_server_that_stops_answers_what_has_arrived():
    async def scenario():
        async with _Peer() as peer:
            asking, silent = await peer.connect(), await peer.connect()
            for client in (asking, silent):
                await peer.ask(client)
            asking.sendall(_REQUEST)
            for protocol in peer.protocols:
                protocol.shutdown()
            assert (await peer.read(asking)).startswith(b"HTTP/1.1 200 ")
            assert await peer.read(asking) == await peer.read(silent) == b""

    _run(scenario)


def test_room_is_made_by_a_connection_without_a_request():
    async def scenario():
        async with _Peer(max_connections=2) as peer:
            asking, silent = await peer.connect(), await peer.connect()
            for client in (asking, silent):
                await peer.ask(client)
            peer.on_accept = functools.partial(asking.sendall, _REQUEST)
            third = await peer.connect()
            assert await peer.read(silent) == b""
            assert (await peer.read(asking)).startswith(b"HTTP/1.1 200 ")
            await peer.ask(third)

    _run(scenario)


def test_room_is_not_made_by_an_answer_on_its_way():
    async def scenario():
        async with _Peer(max_connections=2) as peer:
            slow, silent = await peer.connect(), await peer.connect()
            slow.sendall(_REQUEST.replace(b"/", b"/large", 1))
            await peer.ask(silent)
            await _until(peer.protocols[0].transport.get_write_buffer_size)
            await peer.ask(await peer.connect())
            assert await peer.read(silent) == b""
            assert len(await peer.read(slow, _LARGE)) > _LARGE

    _run(scenario)


def test_an_answer_before_the_whole_body_is_not_cut_off():
    async def scenario():
        async with _Peer() as peer:
            client = await peer.connect()
            head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n"
            client.sendall(head)
            for number in range(20):  # a reset would break this
                sent = len(head) + 1000 * number
                await _until(lambda sent=sent: peer.protocols[0].received == sent)
                client.sendall(b" " * 1000)
            answer = await peer.read(client, 10_000)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert len(peer.state.connections) == 1  # until the client closes
            client.close()
            await _until(lambda: not peer.state.connections)

    _run(scenario)


def test_a_client_that_never_closes_is_closed(clock):
    async def scenario():
        async with _Peer() as peer:
            client = await peer.connect()
            client.sendall(b"no HTTP\r\n\r\n")
            assert (await peer.read(client, 10_000)).startswith(b"HTTP/1.1 400 ")
            assert len(peer.state.connections) == 1
            clock.move(60)
            await _until(lambda: not peer.state.connections)

    _run(scenario)
