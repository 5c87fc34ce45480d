"""The HTTP side of the server: bodies in, answers out, probes."""

import asyncio
import logging
import zlib
from collections.abc import Mapping
from concurrent.futures import Executor

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api import answer, error_text
from serving.model import Model

_log = logging.getLogger("serving")

_NOT_FOUND = "<html><head><title>404 Not Found</title></head></html>"


class _TooLarge(Exception):
    """The body is longer than the server reads."""


def make_app(
    models: Mapping[str, Model], executor: Executor, max_body_bytes: int
) -> ASGIApp:
    """Builds the ASGI application.

    `/healthz` answers while the process lives, `/readyz` with 200 once every model
    has a version available, and `/v1/...` is TF Serving's REST API.

    Args:
        models: dict. The served models by name.
        executor: Executor. Runs the requests, so that the probes never wait.
        max_body_bytes: int. Longest body accepted, before and after decompression.

    Returns:
        The application.
    """

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        waiting = sorted(n for n, model in models.items() if not model.available())
        return JSONResponse(
            {"ready": not waiting, "waiting_for": waiting}, 503 if waiting else 200
        )

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await _answer(request)
        except _TooLarge:
            message = (
                f"A request body has at most {max_body_bytes} bytes; send fewer rows "
                "a request or raise --max-body-mb"
            )
            response = _json(413, error_text(message))
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(request: Request) -> Response:
        path = request.scope["raw_path"].decode("latin-1")
        if not path.lower().startswith("/v1/"):
            return Response(_NOT_FOUND, 404, media_type="text/html")
        if request.method == "OPTIONS":
            return Response(
                status_code=400,
                headers={"content-type": "text/html; charset=ISO-8859-1"},
            )
        if query := request.scope["query_string"]:
            path += "?" + query.decode("latin-1")
        body = await _read(request, max_body_bytes)
        status, text = await asyncio.get_running_loop().run_in_executor(
            executor, answer, models, request.method, path, body
        )
        if status >= 400:
            _log.info("%s %s -> %d", request.method, path, status)
        return _json(status, text)

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Mount("/", app=api),
        ]
    )


def _json(status: int, text: str) -> Response:
    return Response(
        text.encode("utf-8", "surrogateescape"), status, media_type="application/json"
    )


async def _read(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        # The rest is read and thrown away: a client that is still sending would see
        # a broken connection instead of the answer.
    if size > limit:
        raise _TooLarge
    body = b"".join(chunks)
    if request.headers.get("content-encoding", "").lower() == "gzip":
        return _gunzip(body, limit)
    return body


def _gunzip(body: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        text = inflater.decompress(body, limit + 1)
    except zlib.error:
        return b""  # then refused as an empty document, as TF Serving does
    if len(text) > limit:
        raise _TooLarge
    return text
