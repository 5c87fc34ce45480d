"""Reading a JSON request body the way TF Serving reads it.

TF Serving parses with RapidJSON: `NaN`, `Inf` and `Infinity` are numbers, nesting
may be of any depth, of a key that comes twice the first counts, and text after the
first value is ignored. orjson is several times faster, so it goes first; RapidJSON
takes what orjson refuses or reads otherwise, and names the fault and its offset.
"""

import json
import re
import sys
from typing import Any

import orjson
import rapidjson

from serving.errors import invalid

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FAULT = re.compile(r"Parse error at offset (\d+): (.*)")
# One without an end goes to the end, or it would be looked for from each quote in it.
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_ASCII = bytes(range(128)).ljust(256, b"?")


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))


def _integer(text: str) -> int | float:
    number = int(text)
    return number if -(2**63) <= number < 2**64 else float(text)


class _Decoder(rapidjson.Decoder):
    def start_object(self) -> list[tuple[str, Any]]:
        return []

    def end_object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return _first_of_each(pairs)


# Native numbers are TF Serving's own: doubles where they have a point or are beyond 64
# bits, which may differ from the nearest one in the last of 17 digits.
_decode = _Decoder(number_mode=rapidjson.NM_NAN | rapidjson.NM_NATIVE)
_any_bytes = json.JSONDecoder(object_pairs_hook=_first_of_each, parse_int=_integer)


def parse(body: bytes) -> Any:
    """Parses the first JSON value of a body.

    Bytes that are not UTF-8 survive as lone surrogates (`surrogateescape`), so that
    they reach a string tensor unchanged.

    Args:
        body: bytes. The request body.

    Returns:
        The value as Python objects; what is nested deeper than any tensor is 0.

    Raises:
        ServingError: the body is not JSON; the message has the byte offset.

    Example:
        >>> parse(b'{"instances": [1, NaN, Inf]} ignored')
        {'instances': [1, nan, inf]}
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        value = orjson.loads(body)
        # A colon for each key that was kept: then none came twice.
        if body.count(b":") == _count_keys(value):
            return value
    except ValueError:
        pass
    if body.startswith(_BYTE_ORDER_MARK):
        body = b"   " + body[3:]
    try:
        return _decode(body)
    except UnicodeDecodeError:
        return _parse_any_bytes(body)
    except RecursionError:
        return parse(_shallow(body))
    except rapidjson.JSONDecodeError as error:
        offset, what = _FAULT.match(str(error)).groups()
        if what.startswith("The document root must not be followed"):
            return parse(body[: int(offset)])
        raise invalid(f"JSON Parse error: {what} at offset: {offset}") from error


def _count_keys(document: Any) -> int:
    """Counts the keys where a request has them: in itself, its inputs or its rows."""
    if type(document) is not dict:
        return 0
    count = len(document)
    for value in document.values():
        if type(value) is dict:
            count += len(value)
        elif type(value) is list and value and type(value[0]) is dict:
            count += sum(len(row) for row in value if type(row) is dict)
    return count


def _parse_any_bytes(body: bytes) -> Any:
    """Parses what is not UTF-8, which Python's parser lets pass as it is."""
    text = body.decode("utf-8", "surrogateescape").lstrip(" \t\n\r")
    try:
        return _any_bytes.raw_decode(text)[0]
    except (ValueError, RecursionError):
        parse(body.translate(_ASCII))  # names the fault
        raise invalid("JSON Parse error: Invalid encoding in string.") from None


def _shallow(body: bytes) -> bytes:
    """Puts 0, and blanks, so that offsets stay, where nesting is too deep to parse."""
    deepest = sys.getrecursionlimit() // 2  # up to which RapidJSON goes here
    parts, level, end = [], 0, 0
    for token in _STRING_OR_BRACKET.finditer(body):
        if token[0] in (b"[", b"{"):
            level += 1
            if level == deepest:
                parts.append(body[end : token.start()])
                end = token.start()
        elif token[0] in (b"]", b"}"):
            if level == deepest:
                parts.append(b"0".ljust(token.end() - end))
                end = token.end()
            level -= 1
    rest = body[end:]
    return b"".join([*parts, b"0".ljust(len(rest)) if level >= deepest else rest])
