"""Reading a JSON request body the way TF Serving reads it.

TF Serving parses with RapidJSON: `NaN`, `Inf` and `Infinity` are numbers, nesting
may be of any depth, of a key that comes twice the first counts, and text after the
first value is ignored. orjson is many times faster than anything written in Python, so
it goes first; Python's own parser takes what it refuses or reads otherwise; and the
reader below steps in for what both refuse, to accept it after all or to name the fault
and its offset.
"""

import json
import math
import re
from typing import Any

import orjson

from serving.errors import ServingError, invalid

_SPACE = re.compile(rb"[ \t\n\r]*")
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# Perhaps more than a double holds. One pattern for both cases is four times as slow.
_LARGE = re.compile(rb"e\+?[0-9]{3}"), re.compile(rb"E\+?[0-9]{3}")
_PLAIN_TEXT = re.compile(rb'[^"\\\x00-\x1f]*')
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_HEX = re.compile(rb"[0-9a-fA-F]{4}")
_ESCAPES = {
    ord('"'): '"', ord("\\"): "\\", ord("/"): "/", ord("b"): "\b",
    ord("f"): "\f", ord("n"): "\n", ord("r"): "\r", ord("t"): "\t",
}  # fmt: skip
_LITERALS = {b"true": True, b"false": False, b"null": None}


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))


_FAST = json.JSONDecoder(object_pairs_hook=_first_of_each)
_CAREFUL = json.JSONDecoder(object_pairs_hook=_first_of_each, parse_float=_finite)


def parse(body: bytes) -> Any:
    """Parses the first JSON value of a body.

    Bytes that are not UTF-8 survive as lone surrogates (`surrogateescape`), so that
    they reach a string tensor unchanged.

    Args:
        body: bytes. The request body.

    Returns:
        The value as Python objects.

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
    try:
        text = body.decode("utf-8", "surrogateescape").lstrip(" \t\n\r")
        large = any(pattern.search(body) for pattern in _LARGE)
        value = (_CAREFUL if large else _FAST).raw_decode(text)[0]
        if _SURROGATE.search(body):  # Python reads half a pair, which is no text
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError):
        return _Reader(body).value()


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


class _Reader:
    """An iterative parser over bytes; `pos` is the offset that errors name."""

    def __init__(self, data: bytes):
        self.data = data
        self.pos = 3 if data.startswith(b"\xef\xbb\xbf") else 0

    def value(self) -> Any:
        self._space()
        if self.data[self.pos : self.pos + 1] in (b"", b"\0"):
            raise self._error("The document is empty.")
        open_containers: list[tuple[Any, str]] = []  # (container, key it waits for)
        while True:
            value, key = self._scalar_or_container()
            if key is not None:
                open_containers.append((value, key))
                continue
            while True:  # the value is whole: hang it on what holds it
                if not open_containers:
                    return value
                parent, key = open_containers.pop()
                is_list = isinstance(parent, list)
                if is_list:
                    parent.append(value)
                else:
                    parent.setdefault(key, value)
                self._space()
                if self._take(b","):
                    self._space()
                    open_containers.append((parent, "" if is_list else self._key()))
                    break
                if not self._take(b"]" if is_list else b"}"):
                    missing = "']' after an array element"
                    if not is_list:
                        missing = "'}' after an object member"
                    raise self._error(f"Missing a comma or {missing}.")
                value = parent

    def _scalar_or_container(self) -> tuple[Any, str | None]:
        """Reads up to the first value inside: (value, key), key None when whole."""
        self._space()
        if self._take(b"["):
            self._space()
            return [], None if self._take(b"]") else ""
        if self._take(b"{"):
            self._space()
            return {}, None if self._take(b"}") else self._key()
        if self.data.startswith(b'"', self.pos):
            return self._string(), None
        for literal, value in _LITERALS.items():
            if self.data.startswith(literal[:1], self.pos):
                if not self._spell(literal):
                    raise self._error("Invalid value.")
                return value, None
        return self._number(), None

    def _key(self) -> str:
        if not self.data.startswith(b'"', self.pos):
            raise self._error("Missing a name for object member.")
        key = self._string()
        self._space()
        if not self._take(b":"):
            raise self._error("Missing a colon after a name of object member.")
        return key

    def _number(self) -> int | float:
        start, match = self.pos, _NUMBER.match(self.data, self.pos)
        if not match:
            minus = self._take(b"-")
            size = self._non_finite()
            return -size if minus else size
        self.pos = match.end()
        fraction, exponent = match.groups()
        if not (fraction or exponent) and self._take(b"."):
            raise self._error("Miss fraction part in number.")
        if not exponent and (self._take(b"e") or self._take(b"E")):
            self.pos += self.data[self.pos : self.pos + 1] in (b"+", b"-")
            raise self._error("Miss exponent in number.")
        if fraction or exponent or len(match[0]) > 20:  # longer than any uint64
            number = float(match[0])
            if math.isinf(number):
                self.pos = start
                raise self._error("Number too big to be stored in double.")
            return number
        return int(match[0])

    def _non_finite(self) -> float:
        if self.data.startswith(b"N", self.pos):
            if self._spell(b"NaN"):
                return math.nan
        elif self._spell(b"Inf"):
            if not self.data.startswith(b"i", self.pos) or self._spell(b"inity"):
                return math.inf
        raise self._error("Invalid value.")

    def _string(self) -> str:
        self.pos += 1
        parts: list[str] = []
        while True:
            plain = _PLAIN_TEXT.match(self.data, self.pos)
            parts.append(plain[0].decode("utf-8", "surrogateescape"))
            self.pos = plain.end()
            if self._take(b'"'):
                return "".join(parts)
            if self._take(b"\\"):
                parts.append(self._escape(self.pos - 1))
            elif self.data[self.pos : self.pos + 1] in (b"", b"\0"):
                raise self._error("Missing a closing quotation mark in string.")
            else:
                raise self._error("Invalid encoding in string.")

    def _escape(self, start: int) -> str:
        char = self.data[self.pos : self.pos + 1]
        self.pos += 1
        if char != b"u":
            if not char or char[0] not in _ESCAPES:
                raise self._error("Invalid escape character in string.", start)
            return _ESCAPES[char[0]]
        code = self._hex4(start)
        if 0xD800 <= code <= 0xDFFF:
            low = 0
            if code <= 0xDBFF and self._take(b"\\") and self._take(b"u"):
                low = self._hex4(start)
            if not 0xDC00 <= low <= 0xDFFF:
                raise self._error("The surrogate pair in string is invalid.", start)
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        return chr(code)

    def _hex4(self, start: int) -> int:
        match = _HEX.match(self.data, self.pos)
        if not match:
            raise self._error("Incorrect hex digit after \\u escape in string.", start)
        self.pos = match.end()
        return int(match[0], 16)

    def _space(self) -> None:
        self.pos = _SPACE.match(self.data, self.pos).end()

    def _take(self, token: bytes) -> bool:
        found = self.data.startswith(token, self.pos)
        self.pos += len(token) * found
        return found

    def _spell(self, word: bytes) -> bool:
        """Takes a word letter by letter, as far as it is there."""
        return all(self._take(bytes([letter])) for letter in word)

    def _error(self, what: str, offset: int | None = None) -> ServingError:
        offset = self.pos if offset is None else offset
        return invalid(f"JSON Parse error: {what} at offset: {offset}")
