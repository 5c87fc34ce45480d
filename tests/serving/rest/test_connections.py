"""No limit closes a connection on which a request has arrived, or cuts off an answer.

The races are forced: the loop is kept from reading until a limit is over, and the
request arrives after the loop has looked at its sockets and before its timers run.
"""

import asyncio
import contextlib
import functools
import socket
import time

import uvicorn
from uvicorn.server import ServerState

from serving.config.server import Limits
from serving.rest.connections import BoundedProtocol

_REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
_LARGE = 2**24


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


class _Peer:
    """A client's sockets, and the protocols that the server has for them."""

    def __init__(self, **limits):
        self.state, idle = ServerState(), {}
        self.protocols = []
        self.on_accept = lambda: None
        self._make = functools.partial(
            BoundedProtocol,
            limits=Limits(**limits),
            idle=idle,
            config=uvicorn.Config(
                _app, timeout_keep_alive=limits.get("idle_seconds", 75), ws="none"
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
        await asyncio.sleep(0.01)

    def _accept(self):
        self.on_accept()
        self.protocols.append(self._make())
        return self.protocols[-1]

    async def connect(self):
        client = self._sockets.enter_context(socket.socket())
        client.setblocking(False)
        await self._loop.sock_connect(client, self._server.sockets[0].getsockname())
        await asyncio.sleep(0.02)
        return client

    async def read(self, client, enough=1):
        """What comes until there is enough, or no more."""
        received = b""
        with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
            while len(received) < enough:
                chunk = await asyncio.wait_for(self._loop.sock_recv(client, 2**20), 5)
                if not chunk:
                    break
                received += chunk
        return received

    async def ask(self, client):
        client.sendall(_REQUEST)
        assert (await self.read(client)).startswith(b"HTTP/1.1 200 ")

    async def run_late(self, timer, client, data):
        """Lets data arrive after the loop has read, just before a timer runs."""
        self._loop.call_at(timer.when() - 1e-4, client.sendall, data)
        time.sleep(max(0.0, timer.when() - self._loop.time()) + 0.02)
        await asyncio.sleep(0)


def _run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_request_that_arrives_as_the_silence_ends_is_answered():
    async def scenario():
        async with _Peer(idle_seconds=0.2) as peer:
            client = await peer.connect()
            await peer.ask(client)
            timer = peer.protocols[0].timeout_keep_alive_task
            await peer.run_late(timer, client, _REQUEST)
            assert (await peer.read(client)).startswith(b"HTTP/1.1 200 ")
            start = time.monotonic()  # and then it is closed all the same
            assert await peer.read(client) == b""
            assert 0.1 < time.monotonic() - start < 2

    _run(scenario)


def test_a_head_that_arrives_as_its_time_ends_is_answered():
    async def scenario():
        async with _Peer(header_seconds=0.2) as peer:
            client = await peer.connect()
            client.sendall(_REQUEST[:20])
            await asyncio.sleep(0.02)
            timer = peer.protocols[0]._head_timer
            await peer.run_late(timer, client, _REQUEST[20:])
            assert (await peer.read(client)).startswith(b"HTTP/1.1 200 ")
            client.sendall(_REQUEST[:20])  # half a head is still too little
            await asyncio.sleep(0.02)
            timer = peer.protocols[0]._head_timer
            await peer.run_late(timer, client, _REQUEST[20:30])
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
            await asyncio.sleep(0.1)
            assert peer.protocols[0].transport.get_write_buffer_size()
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
            for _ in range(20):  # a reset would break this
                await asyncio.sleep(0.01)
                client.sendall(b" " * 1000)
            answer = await peer.read(client, 10_000)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert len(peer.state.connections) == 1  # until the client closes
            client.close()
            await asyncio.sleep(0.05)
            assert not peer.state.connections

    _run(scenario)


def test_a_client_that_never_closes_is_closed(monkeypatch):
    monkeypatch.setattr("serving.rest.connections._LINGER_SECONDS", 0.1)

    async def scenario():
        async with _Peer() as peer:
            client = await peer.connect()
            client.sendall(b"no HTTP\r\n\r\n")
            assert (await peer.read(client, 10_000)).startswith(b"HTTP/1.1 400 ")
            assert len(peer.state.connections) == 1
            await asyncio.sleep(0.2)
            assert not peer.state.connections

    _run(scenario)
