"""Writing JSON as TF Serving writes it: floats with a point, NaN bare, its layout.

The server's writer (RapidJSON's pretty writer) indents by four spaces and has a mode
in which arrays stay on one line; rows and error texts use that mode.
"""

import base64
import json
from decimal import Decimal
from typing import Any

import numpy as np

from serving.errors import invalid

_INDENT = "    "
_encode = json.JSONEncoder(ensure_ascii=False).encode
_FEW = 64
_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity", "-nan": "NaN"}
_SERVER_NAMES = {"float16": "half", "float32": "float", "float64": "double"}


def dtype_name(name: str) -> str:
    """Gives TF Serving's name of a TensorFlow dtype, "half" for "float16"."""
    return _SERVER_NAMES.get(name, name)


def quote(text: str) -> str:
    """Writes a string with its quotation marks, leaving non-ASCII as it is."""
    return _encode(text)


def decimals(values: np.ndarray) -> list[str]:
    """Writes floats: six digits if these read back the same, else all that count.

    Args:
        values: array of float32 or float64, of any shape.

    Returns:
        list of str, one for each value in row-major order.

    Example:
        >>> decimals(np.array([1, 0.2, 9e6, 1 / 3, np.nan, -np.inf], np.float32))
        ['1.0', '0.2', '9e+06', '0.333333343', 'NaN', '-Infinity']
    """
    flat = values.ravel()
    texts = _format(flat.tolist(), 9 if flat.dtype == np.float32 else 17)
    # Predictions seldom have so few digits: of many, only those that may are written
    # twice. Of a few, to find out would take longer.
    few = len(flat) <= _FEW
    short = np.arange(len(flat)) if few else np.flatnonzero(_may_be_short(flat))
    shorter = _format(flat[short].tolist(), 6)
    read_back = np.array(list(map(float, shorter)), flat.dtype)
    same = (read_back == flat[short]).tolist()
    for index, text, is_same in zip(short.tolist(), shorter, same, strict=True):
        if is_same:
            texts[index] = text
    for index, text in enumerate(texts):
        if "." not in text and "e" not in text:
            texts[index] = _SPECIAL.get(text) or text + ".0"
    return texts


def _may_be_short(flat: np.ndarray) -> np.ndarray:
    """Which values may have at most six digits; of the others none has."""
    wide = np.abs(flat.astype(np.float64))
    # What reads back the same is within half a step; the way here errs in float64.
    steps = 1 if flat.dtype == np.float32 else 8
    with np.errstate(all="ignore"):
        scale = 10.0 ** (5 - np.floor(np.log10(wide)))
        rounded = np.rint(wide * scale) / scale
        # Not "<=": what has no logarithm, or overflows, is NaN and may be short.
        return ~(np.abs(rounded - wide) > steps * np.spacing(np.abs(flat)))


def _format(numbers: list[float], digits: int) -> list[str]:
    """Writes all numbers in one call, three times as fast as one by one."""
    return (f"%.{digits}g " * len(numbers) % tuple(numbers)).split()


def value_text(value: Any) -> str:
    """Writes a parsed JSON value, arrays on one line; errors quote it so.

    A number that is the whole value is written as an output would be, in float32 if it
    fits; one inside an array or object with as few digits as tell it apart.

    Example:
        >>> value_text(0.123456789), value_text([0.123456789, 1e20, 1e-7])
        ('0.123456791', '[0.123456789, 100000000000000000000.0, 1e-7]')
    """
    if isinstance(value, float):
        fits = abs(value) <= float(np.finfo(np.float32).max)
        return decimals(np.array([value], np.float32 if fits else np.float64))[0]
    try:
        return _value_text(value, 0)
    except RecursionError:
        return "(nested too deeply to show)"


def _value_text(value: Any, level: int) -> str:
    if isinstance(value, dict):
        pairs = ((key, _value_text(item, level + 1)) for key, item in value.items())
        return object_text(pairs, level)
    if isinstance(value, list):
        return "[" + ", ".join(_value_text(v, level + 1) for v in value) + "]"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, float):
        return _shortest(value)
    return json.dumps(value)


def _shortest(value: float) -> str:
    text = repr(value)
    if text in _SPECIAL:
        return _SPECIAL[text]
    if "e" not in text:
        return text
    if 1e-6 <= abs(value) < 1e21:
        text = format(Decimal(text), "f")
        return text if "." in text else text + ".0"
    mantissa, exponent = text.split("e")
    return f"{mantissa}e{int(exponent)}"


def object_text(pairs: Any, level: int = 0) -> str:
    """Writes an object from (key, written value) pairs; `level` counts its parents."""
    pad = _INDENT * (level + 1)
    lines = ",\n".join(f"{pad}{quote(key)}: {text}" for key, text in pairs)
    return "{\n" + lines + "\n" + _INDENT * level + "}" if lines else "{}"


def array_text(items: list[str], level: int, one_line: bool) -> str:
    """Writes an array of written values; `level` counts its parents."""
    if not items:
        return "[]"
    if one_line:
        return "[" + ", ".join(items) + "]"
    pad = "\n" + _INDENT * (level + 1)
    return "[" + pad + ("," + pad).join(items) + "\n" + _INDENT * level + "]"


def tensor_texts(
    array: np.ndarray, level: int, *, keep: int = 0, one_line: bool = True,
    as_bytes: bool = False, numbers: list[str] | None = None,
) -> list[str]:  # fmt: skip
    """Writes a tensor, or each of its slices along the leading axes.

    Args:
        array: array of shape (d0, ..., dn); strings as an object array of bytes.
        level: int. How many JSON containers hold the text.
        keep: int. Number of leading axes that stay separate texts. 0 writes one
            text for the whole tensor, 1 one for each row.
        one_line: bool. Whether arrays stay on one line.
        as_bytes: bool. Whether strings are written as {"b64": ...}.
        numbers: list of str. The values, where they are written already. Defaults to
            None.

    Returns:
        list of str, d0 * ... texts for the kept axes.

    Raises:
        ServingError: JSON has no form for this dtype.
    """
    inner = array.ndim - keep
    texts = numbers or _leaves(array, level + inner, as_bytes)
    for depth in range(inner - 1, -1, -1):  # from the innermost axis outwards
        size = array.shape[keep + depth]
        count = int(np.prod(array.shape[: keep + depth], dtype=np.int64))
        if size == 1:  # (batch, 1), as a model's outputs are: worth being fast
            before, after = array_text(["\0"], level + depth, one_line).split("\0")
            texts = [f"{before}{text}{after}" for text in texts]
            continue
        texts = [
            array_text(texts[i * size : (i + 1) * size], level + depth, one_line)
            for i in range(count)
        ]
    return texts


def _leaves(array: np.ndarray, level: int, as_bytes: bool) -> list[str]:
    kind = array.dtype
    if kind in (np.float32, np.float64):
        return decimals(array)
    if kind == np.bool_:
        return ["true" if value else "false" for value in array.ravel().tolist()]
    if kind.kind in "iu":
        return [str(value) for value in array.ravel().tolist()]
    if kind.kind == "O":
        values = array.ravel().tolist()
        if as_bytes:
            encoded = (base64.b64encode(value).decode() for value in values)
            return [object_text([("b64", quote(text))], level) for text in encoded]
        return [quote(value.decode("utf-8", "surrogateescape")) for value in values]
    name = dtype_name(kind.name)
    raise invalid(f"Failed to write JSON value for tensor type: {name}")
