"""Reading the body of a request, no more of it and no longer than the limits say."""

import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from serving.config.server import Limits
from serving.rest.connections import BODY_IS_LATE

_SMALL_BODY = 2**16  # bytes, of which each connection may hold so many


class TooLarge(Exception):
    """The body is longer than the server reads."""


class Busy(Exception):
    """As many large bodies are on their way as the server holds at once."""


class OutOfTime(Exception):
    """The body did not arrive in time."""


class Disconnected(Exception):
    """The client left before its body was here."""


class BodyReader:
    """Reads the bodies of a server's requests.

    Args:
        limits: Limits. `max_body_bytes` counts, and `max_in_flight` for the number of
            large bodies that are on their way at once.
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._arriving = 0  # large ones

    async def read(
        self,
        receive: Callable[[], Awaitable[Any]],
        state: Mapping[str, Any],
        is_packed: bool,
    ) -> bytes:
        """Reads one body.

        Args:
            receive: function. The request's ASGI events.
            state: dict. Where the connection says that the body is late.
            is_packed: bool. Whether it comes in gzip.

        Returns:
            bytes, unpacked.

        Raises:
            TooLarge: it is, packed or not.
            Busy: too many large ones are on their way.
            OutOfTime: it is late.
            Disconnected: the client is gone.
        """
        chunks, size, limit, is_large = [], 0, self._limits.max_body_bytes, False
        more = True
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                more = message["more_body"]
                if more and state.get(BODY_IS_LATE):
                    raise OutOfTime
                size += len(message["body"])
                if size > _SMALL_BODY and not is_large:
                    if self._arriving >= self._limits.max_in_flight:
                        raise Busy
                    self._arriving, is_large = self._arriving + 1, True
                if size <= limit:
                    chunks.append(message["body"])
                # The rest is read and thrown away: a client that is still sending
                # would see a broken connection instead of the answer.
        finally:
            self._arriving -= is_large
        if size > limit:
            raise TooLarge
        body = b"".join(chunks)
        return _gunzip(body, limit) if is_packed else body


def _gunzip(body: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        text = inflater.decompress(body, limit + 1)
    except zlib.error:
        return b""  # then refused as an empty document, as TF Serving does
    if len(text) > limit:
        raise TooLarge
    return text if inflater.eof else b""
