"""Trying again: only what did not reach a server, or what it was too busy for."""

from collections.abc import Callable
from typing import Any

from urllib3.exceptions import ProtocolError, ReadTimeoutError
from urllib3.util.retry import Retry

# Seconds: the second retry, then twice as long; each longer by up to the jitter, so
# clients that failed together do not come back together. The first is at once.
_BACKOFF = 0.2
_JITTER = 0.2
_LONGEST = 60  # seconds that a server may have a client wait by Retry-After


class RequestError(RuntimeError):
    """A request that the server refused, or that did not reach it.

    Args:
        message: str. The server's own message where there is one.
        status: int. The HTTP status, or None if there was no answer.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class HttpRetry(Retry):
    """Tries again after a failure to connect and after a 503, as its Retry-After says.

    Args:
        is_reused: function. Told of a connection that was closed before an answer,
            says whether the server had closed it as idle. Then the request is sent
            once more at once, which is none of the retries.
        retries: as of urllib3's `Retry`, `total` above all.
    """

    def __init__(self, *retries: Any, is_reused: Callable[[], bool], **options: Any):
        super().__init__(*retries, **options)
        self._is_reused = is_reused

    @classmethod
    def of(cls, retries: int, is_reused: Callable[[], bool]) -> "HttpRetry":
        """The policy of a client with so many retries."""
        return cls(
            retries,
            is_reused=is_reused,
            allowed_methods=None,  # A prediction changes nothing: POST too.
            status_forcelist=[503],
            raise_on_status=False,
            backoff_factor=_BACKOFF,
            backoff_jitter=_JITTER,
            retry_after_max=_LONGEST,
        )

    def new(self, **options: Any) -> "HttpRetry":
        """As `Retry.new`, which knows of its own arguments only."""
        return super().new(is_reused=self._is_reused, **options)

    def increment(
        self, *request: Any, error: Exception | None = None, **options: Any
    ) -> "HttpRetry":
        """As `Retry.increment`, but an answer that took too long is not asked again."""
        if isinstance(error, ReadTimeoutError):
            raise error
        if isinstance(error, ProtocolError) and self._is_reused():
            return self.new(history=())
        return super().increment(*request, error=error, **options)


def grpc_service_config(retries: int) -> dict[str, Any]:
    """The service config by which calls are tried again while a server is UNAVAILABLE.

    gRPC itself allows at most 4 retries.
    """
    if not retries:
        return {}
    policy = {
        "maxAttempts": retries + 1,
        "initialBackoff": f"{_BACKOFF}s",
        "maxBackoff": "10s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}
