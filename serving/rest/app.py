"""The HTTP side of the server: bodies in, answers out, probes, metrics."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from serving import metrics
from serving.config.server import Limits
from serving.errors import Code
from serving.models.manager import ServedModels
from serving.rest.request_body import (
    BodyReader,
    Busy,
    Disconnected,
    OutOfTime,
    TooLarge,
)
from serving.rest.routes import answer, count, error_text

_log = logging.getLogger("serving")

# An ASGI application, without the framework: one coroutine a request.
App = Callable[
    [dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]],
    Awaitable[None],
]

_NOT_FOUND = b"<html><head><title>404 Not Found</title></head></html>"
_TIMED_OUT = "Timed out waiting for notification"  # as TF Serving says it
_REFUSALS = {  # {reason, as counted: (HTTP status, status as counted for the model)}
    "in_flight": (503, Code.UNAVAILABLE),
    "body_size": (413, Code.INVALID_ARGUMENT),
    "body_time": (408, Code.DEADLINE_EXCEEDED),
}
_CORS = {
    b"access-control-allow-origin": b"*",
    b"access-control-allow-methods": b"POST, GET",
    b"access-control-allow-headers": b"Content-Type",
}


@dataclass
class _Request:
    """What is asked: method, path as it was sent with its query, and headers."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    receive: Callable[[], Awaitable[Any]]
    state: dict[str, Any]

    def header(self, name: bytes) -> bytes:
        """Gives the value of a header, b"" where there is none."""
        return next((value for key, value in self.headers if key == name), b"")


@dataclass
class _Response:
    """What is answered."""

    status: int
    body: bytes
    media_type: bytes
    headers: dict[bytes, bytes] = field(default_factory=dict)


def make_app(
    models: ServedModels,
    executor: Executor,
    limits: Limits,
    *,
    metrics_path: str,
    metrics_page: Callable[[], str],
    cors: bool,
    stopping: Callable[[], bool],
) -> App:
    """Makes the ASGI application of a server.

    Beside the API, `GET /healthz` is 200 while the process answers, `GET /readyz` once
    every model has a version available, and `/v1/...` is TF Serving's REST API.

    Args:
        models: ServedModels. What is served.
        executor: Executor. Runs the requests, so that the probes never wait.
        limits: Limits. On body size, requests at work, and time.
        metrics_path: str. Where Prometheus reads; "" is nowhere.
        metrics_page: function. Gives what is read there.
        cors: bool. Whether answers allow scripts of other origins.
        stopping: function. Whether the server drains: then it is not ready.

    Returns:
        The application.
    """
    in_flight = 0  # requests whose body is here: a slow client takes no one's place
    bodies = BodyReader(limits)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        request = _Request(
            scope["method"], _path(scope), scope["headers"], receive, scope["state"]
        )
        try:
            response = await respond(request)
        except Disconnected:
            return
        headers = response.headers
        if stopping():
            headers[b"connection"] = b"close"
        if cors and request.path not in _PROBES:
            headers.update(_CORS)
        body = response.body
        start = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", response.media_type),
            *headers.items(),
        ]
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": start,
            }
        )
        await send({"type": "http.response.body", "body": body})

    async def respond(request: _Request) -> _Response:
        path = request.path
        if path == metrics_path:
            # Not by `executor`, all of whose threads may be at work.
            loop = asyncio.get_running_loop()
            text = await loop.run_in_executor(None, metrics_page)
            return _Response(200, text.encode(), b"text/plain")
        if path.partition("?")[0] == metrics_path:
            text = f"Unexpected path: {path}. Should be {metrics_path}"
            return _Response(400, text.encode("latin-1"), b"text/plain")
        if path.lower().startswith("/v1/") and "\n" not in path:
            if in_flight >= limits.max_in_flight:
                return busy(request)
            return await bounded(request)
        if path in _PROBES:
            return probe(request)
        return _Response(404, _NOT_FOUND, b"text/html; charset=utf-8")

    def probe(request: _Request) -> _Response:
        if request.method not in ("GET", "HEAD"):
            allow = {b"allow": b"GET, HEAD"}
            return _Response(405, b"Method Not Allowed", _TEXT, allow)
        if request.path == "/healthz":
            return _Response(200, b"ok\n", _TEXT)
        waiting = models.waiting()
        ready = not waiting and not stopping()
        text = json.dumps({"ready": ready, "waiting_for": waiting})
        return _json(200 if ready else 503, text)

    def refused(reason: str, request: _Request, message: str) -> _Response:
        status, code = _REFUSALS[reason]
        metrics.REFUSAL_COUNT.add(reason, str(status))
        count(models, request.method, request.path, code)
        return _json(status, error_text(message))

    def busy(request: _Request) -> _Response:
        message = (
            f"{limits.max_in_flight} requests are at work or wait; try again later or "
            "raise --max-in-flight"
        )
        response = refused("in_flight", request, message)
        response.headers[b"retry-after"] = b"1"
        return response

    async def bounded(request: _Request) -> _Response:
        nonlocal in_flight
        try:
            packing = request.header(b"content-encoding")
            body = await bodies.read(request.receive, request.state, b"gzip" in packing)
        except TooLarge:
            message = (
                f"A request body has at most {limits.max_body_bytes} bytes; send fewer "
                "rows a request or raise --max-body-mb"
            )
            return refused("body_size", request, message)
        except OutOfTime:
            message = f"The body did not arrive within {limits.body_seconds:g} s"
            response = refused("body_time", request, message)
            response.headers[b"connection"] = b"close"  # the rest may still come
            return response
        except Busy:
            response = busy(request)
            response.headers[b"connection"] = b"close"
            return response
        if in_flight >= limits.max_in_flight:  # meanwhile
            return busy(request)
        in_flight += 1
        try:
            return await work(request, body)
        finally:
            in_flight -= 1

    async def work(request: _Request, body: bytes) -> _Response:
        method, path = request.method, request.path
        if method == "OPTIONS":
            origin = request.header(b"origin")
            allowed = b"http://" in origin or b"https://" in origin
            return _Response(
                200 if allowed else 400, b"", b"text/html; charset=ISO-8859-1"
            )
        deadline = time.monotonic() + limits.request_seconds
        work = executor.submit(_answer_in_time, deadline, models, method, path, body)
        try:
            status, text = await _result(work, limits.request_seconds)
        except asyncio.TimeoutError:
            if work.cancel():  # else whoever has begun it counts it for the model
                count(models, method, path, Code.DEADLINE_EXCEEDED)
            status, text = 504, error_text(_TIMED_OUT)
        if status == 504:  # by this clock, the graph's or that of the queue
            metrics.REFUSAL_COUNT.add("request_time", "504")
        if status >= 400:
            _log.info("%s %s -> %d", method, path, status)
        return _json(status, text)

    return app


_PROBES = ("/healthz", "/readyz")
_TEXT = b"text/plain; charset=utf-8"


def _path(scope: dict[str, Any]) -> str:
    """The target as it was sent; of "http://host/path", which is one too, the path."""
    path = scope["raw_path"].decode("latin-1")
    if path[:7].lower() == "http://":
        path = "/" + path[7:].partition("/")[2]
    if query := scope["query_string"]:
        path += "?" + query.decode("latin-1")
    return path


async def _result(work: Future, seconds: float) -> tuple[int, str]:
    """Waits for what a thread does; in one hop, where `wait_for` takes a task more.

    Raises:
        TimeoutError: it takes too long; what the thread does is not stopped.
    """
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    work.add_done_callback(lambda _: loop.call_soon_threadsafe(wake))
    timer = loop.call_later(seconds, wake)
    try:
        await waiter
    finally:
        timer.cancel()
    if not work.done():
        raise asyncio.TimeoutError
    return work.result()


def _answer_in_time(
    deadline: float, models: ServedModels, method: str, path: str, body: bytes
) -> tuple[int, str]:
    """Answers a request, unless it waited for a thread so long that nobody listens."""
    if time.monotonic() >= deadline:
        count(models, method, path, Code.DEADLINE_EXCEEDED)
        return 504, error_text(_TIMED_OUT)
    return answer(models, method, path, body)


def _json(status: int, text: str) -> _Response:
    return _Response(
        status, text.encode("utf-8", "surrogateescape"), b"application/json"
    )
