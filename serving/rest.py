"""The HTTP side of the server: bodies in, answers out, probes, metrics."""

import asyncio
import logging
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Executor
from urllib.parse import unquote_to_bytes

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from serving import metrics
from serving.api import answer, count, error_text
from serving.config import METRICS_PATH, Limits
from serving.errors import Code
from serving.served_models import ServedModels

_log = logging.getLogger("serving")

_SMALL_BODY = 2**16  # bytes, of which each connection may hold so many
_NOT_FOUND = "<html><head><title>404 Not Found</title></head></html>"
_TIMED_OUT = "Timed out waiting for notification"  # as TF Serving says it
_REFUSALS = {  # {reason, as counted: (HTTP status, status as counted for the model)}
    "in_flight": (503, Code.UNAVAILABLE),
    "body_size": (413, Code.INVALID_ARGUMENT),
    "body_time": (408, Code.DEADLINE_EXCEEDED),
}
_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type",
}


class _TooLarge(Exception):
    """The body is longer than the server reads."""


class _Busy(Exception):
    """As many large bodies are on their way as the server holds at once."""


class _OutOfTime(Exception):
    """The body did not arrive in time."""


def make_app(
    models: ServedModels,
    executor: Executor,
    limits: Limits,
    *,
    metrics_path: str = METRICS_PATH,
    cors: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> ASGIApp:
    """Builds the ASGI application.

    `/healthz` answers while the process lives, `/readyz` with 200 once every model
    has a version available, and `/v1/...` is TF Serving's REST API.

    Args:
        models: ServedModels. What is served.
        executor: Executor. Runs the requests, so that the probes never wait.
        limits: Limits. On body size, requests at work, and time.
        metrics_path: str. Where Prometheus reads; "" is nowhere. Defaults to TF
            Serving's path.
        cors: bool. Whether answers allow scripts of other origins. Defaults to no.
        stopping: function. Whether the server drains: then it is not ready.

    Returns:
        The application.
    """
    in_flight = 0  # requests whose body is here: a slow client takes no one's place
    arriving: set[Request] = set()  # those of large bodies that are not

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        waiting = models.waiting()
        ready = not waiting and not stopping()
        return JSONResponse(
            {"ready": ready, "waiting_for": waiting}, 200 if ready else 503
        )

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = _path(scope)
        if path.partition("?")[0] == metrics_path:
            response = _metrics(path, metrics_path)
        elif not path.lower().startswith("/v1/") or "\n" in path:
            response = Response(_NOT_FOUND, 404, media_type="text/html")
        elif in_flight >= limits.max_in_flight:
            response = busy(request, path)
        else:
            try:
                response = await _bounded(request, path)
            except ClientDisconnect:
                return
        if stopping():
            response.headers["connection"] = "close"
        if cors:
            response.headers.update(_CORS)
        await response(scope, receive, send)

    def refused(reason: str, request: Request, path: str, message: str) -> Response:
        status, code = _REFUSALS[reason]
        metrics.REFUSAL_COUNT.add(reason, str(status))
        count(models, request.method, path, code)
        return _json(status, error_text(message))

    def busy(request: Request, path: str) -> Response:
        message = (
            f"{limits.max_in_flight} requests are at work or wait; try again later or "
            "raise --max-in-flight"
        )
        response = refused("in_flight", request, path, message)
        response.headers["retry-after"] = "1"
        return response

    async def _bounded(request: Request, path: str) -> Response:
        nonlocal in_flight
        try:
            body = await _read(request, limits, arriving)
        except _TooLarge:
            message = (
                f"A request body has at most {limits.max_body_bytes} bytes; send fewer "
                "rows a request or raise --max-body-mb"
            )
            return refused("body_size", request, path, message)
        except _OutOfTime:
            message = f"The body did not arrive within {limits.body_seconds:g} s"
            response = refused("body_time", request, path, message)
            response.headers["connection"] = "close"  # the rest of it may still come
            return response
        except _Busy:
            response = busy(request, path)
            response.headers["connection"] = "close"
            return response
        if in_flight >= limits.max_in_flight:  # meanwhile
            return busy(request, path)
        in_flight += 1
        try:
            return await _work(request, path, body)
        finally:
            in_flight -= 1

    async def _work(request: Request, path: str, body: bytes) -> Response:
        if request.method == "OPTIONS":
            origin = request.headers.get("origin", "")
            allowed = "http://" in origin or "https://" in origin
            return Response(
                status_code=200 if allowed else 400,
                headers={"content-type": "text/html; charset=ISO-8859-1"},
            )
        deadline = time.monotonic() + limits.request_seconds
        work = executor.submit(
            _answer_in_time, deadline, models, request.method, path, body
        )
        try:
            status, text = await asyncio.wait_for(
                asyncio.wrap_future(work), limits.request_seconds
            )
        except asyncio.TimeoutError:
            if work.cancel():  # else whoever has begun it counts it for the model
                count(models, request.method, path, Code.DEADLINE_EXCEEDED)
            status, text = 504, error_text(_TIMED_OUT)
        if status == 504:  # by this clock, the graph's or that of the queue
            metrics.REFUSAL_COUNT.add("request_time", "504")
        if status >= 400:
            _log.info("%s %s -> %d", request.method, path, status)
        return _json(status, text)

    routes = [
        Route("/healthz", healthz), Route("/readyz", readyz), Mount("/", app=api),
    ]  # fmt: skip
    return _in_origin_form(Starlette(routes=routes))


def _in_origin_form(app: ASGIApp) -> ASGIApp:
    """Takes "http://host/path" for a path too, as HTTP/1.1 wants it of a server."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        target = scope["raw_path"]
        if target[:7].lower() == b"http://":
            target = b"/" + target[7:].partition(b"/")[2]
            path = unquote_to_bytes(target).decode("utf-8", "replace")
            scope = {**scope, "raw_path": target, "path": path}
        await app(scope, receive, send)

    return call


def _path(scope: Scope) -> str:
    path = scope["raw_path"].decode("latin-1")
    if query := scope["query_string"]:
        path += "?" + query.decode("latin-1")
    return path


def _metrics(path: str, metrics_path: str) -> Response:
    if path != metrics_path:
        text = f"Unexpected path: {path}. Should be {metrics_path}"
        return Response(text, 400, {"content-type": "text/plain"})
    return Response(metrics.page(), headers={"content-type": "text/plain"})


def _answer_in_time(
    deadline: float, models: ServedModels, method: str, path: str, body: bytes
) -> tuple[int, str]:
    """Answers a request, unless it waited for a thread so long that nobody listens."""
    if time.monotonic() >= deadline:
        count(models, method, path, Code.DEADLINE_EXCEEDED)
        return 504, error_text(_TIMED_OUT)
    return answer(models, method, path, body)


def _json(status: int, text: str) -> Response:
    return Response(
        text.encode("utf-8", "surrogateescape"), status, media_type="application/json"
    )


async def _read(request: Request, limits: Limits, arriving: set[Request]) -> bytes:
    reading = asyncio.ensure_future(_join(request, limits, arriving))
    try:
        # Not `wait_for`: it gives up a body that arrived while the process slept.
        await asyncio.wait({reading}, timeout=limits.body_seconds)
        if not reading.done():
            raise _OutOfTime
        body = reading.result()
    finally:
        reading.cancel()
        arriving.discard(request)
    if "gzip" in request.headers.get("content-encoding", ""):
        return _gunzip(body, limits.max_body_bytes)
    return body


async def _join(request: Request, limits: Limits, arriving: set[Request]) -> bytes:
    chunks, size, limit = [], 0, limits.max_body_bytes
    async for chunk in request.stream():
        size += len(chunk)
        if size > _SMALL_BODY and request not in arriving:
            if len(arriving) >= limits.max_in_flight:
                raise _Busy
            arriving.add(request)
        if size <= limit:
            chunks.append(chunk)
        # The rest is read and thrown away: a client that is still sending would see
        # a broken connection instead of the answer.
    if size > limit:
        raise _TooLarge
    return b"".join(chunks)


def _gunzip(body: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        text = inflater.decompress(body, limit + 1)
    except zlib.error:
        return b""  # then refused as an empty document, as TF Serving does
    if len(text) > limit:
        raise _TooLarge
    return text if inflater.eof else b""
