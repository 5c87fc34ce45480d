"""The one error type of the server: a canonical status code and a message.

`shape_text` words the shapes in messages.
"""

import enum
from collections.abc import Sequence


class Code(enum.IntEnum):
    """Canonical status codes, numbered as in gRPC and TensorFlow."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS = {
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


class ServingError(Exception):
    """A request or a load that failed, with the reason a caller is told.

    Args:
        code: Code. What kind of failure it is; sets the HTTP status.
        message: str. What went wrong, as the caller reads it.
    """

    def __init__(self, code: Code, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple:  # to be sent to another process
        return type(self), (self.code, self.message)

    @property
    def http_status(self) -> int:
        """The HTTP status of an answer that carries this error."""
        return HTTP_STATUS[self.code]


def invalid(message: str) -> ServingError:
    """Makes the error for a request that is wrong in itself."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def not_served(name: str, version: int | None, label: str | None) -> ServingError:
    """Makes the error for a model, version or label that is not being served."""
    if label is not None:
        return invalid(f"Unrecognized servable version label: {label}")
    which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    return ServingError(Code.NOT_FOUND, f"Servable not found for request: {which}")


def shape_text(shape: Sequence[int]) -> str:
    """Writes a shape as TF Serving does: "[3,2]"."""
    return "[" + ",".join(map(str, shape)) + "]"
