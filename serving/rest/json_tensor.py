"""One JSON value, a number, text, or nested lists of them, as a tensor.

Values are converted a column at a time. One that does not fit is looked through, leaf
by leaf in the order of TF Serving, to say what is wrong with it.
"""

import base64
import binascii
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np

from serving.errors import Code, ServingError, invalid
from serving.rest.json_writer import dtype_name, value_text

_MAX_RANK = 32  # NumPy's limit before 2.0
_INT32 = (-(2**31), 2**31 - 1)
_INT_RANGES = {  # the small types are read as int32 and then cut down
    "int8": _INT32, "uint8": _INT32, "int16": _INT32, "int32": _INT32,
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1), "uint64": (0, 2**64 - 1),
}  # fmt: skip
_TINY = {name: np.finfo(name).tiny for name in ("float32", "float64")}
_JSON_TYPES = {
    type(None): "Null", dict: "Object", list: "Array", str: "String",
    int: "Number", float: "Number",
}  # fmt: skip


def to_tensors(
    columns: Mapping[str, Any], dtypes: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Converts the values of inputs; leaves out what is missing or does not fit.

    Plain lists of one type are converted together: a request for one row has dozens of
    them, and each conversion costs as much as that of hundreds of numbers.
    """
    plain: dict[str, list[str]] = {}  # {dtype: names}
    tensors = {}
    for name, dtype in dtypes.items():
        column = columns.get(name)
        if type(column) is list and column and type(column[0]) is not list:
            plain.setdefault(dtype, []).append(name)
        else:
            tensors[name] = _fit(column, dtype)
    for dtype, names in plain.items():
        found = _fit(list(chain.from_iterable(columns[n] for n in names)), dtype)
        end = 0
        for name in names if found is not None else ():
            start, end = end, end + len(columns[name])
            tensors[name] = found[start:end]
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def to_tensor(value: Any, dtype: str) -> np.ndarray:
    """Converts nested lists to an array.

    Raises:
        ServingError: they are ragged or ill-typed; says what is wrong with the first
            leaf, in the order of TF Serving, that does not fit.
    """
    array = _fit(value, dtype)
    if array is None:
        _check_value(value, 0, _leading_shape(value), dtype)
        raise invalid(f"Cannot make a tensor of type {dtype} from {value_text(value)}")
    return array


def _fit(value: Any, dtype: str) -> np.ndarray | None:
    """Converts nested lists to an array; None if they do not fit."""
    try:
        shape = _leading_shape(value)
        flat = value if shape else [value]
        for size in shape[1:]:
            if any(type(item) is not list or len(item) != size for item in flat):
                return None
            flat = [leaf for item in flat for leaf in item]
        array = _convert(flat, dtype)
    except ServingError:
        return None
    return None if array is None else array.reshape(shape)


def _convert(flat: list[Any], dtype: str) -> np.ndarray | None:
    """Converts a list of plain values to an array; None if one is ill-typed."""
    types = set(map(type, flat))
    if dtype in _INT_RANGES:
        if types - {int}:
            return None
        try:
            wide = np.array(flat, np.uint64 if dtype == "uint64" else np.int64)
        except OverflowError:
            return None
        low, high = _INT_RANGES[dtype]
        if flat and (wide.min() < low or wide.max() > high):
            return None
        return wide.astype(dtype)
    if dtype in ("float32", "float64"):
        if types - {int, float}:
            return None
        wide = np.array(flat, np.float64)
        with np.errstate(over="ignore", under="ignore"):
            array = wide.astype(dtype)  # beyond float32 is infinite, as upstream
        # Upstream's threads flush values too small for full precision to zero.
        array[np.abs(array) < _TINY[dtype]] *= 0
        return array
    if dtype == "bool":
        return None if types - {bool} else np.array(flat, np.bool_)
    if dtype == "string":
        if types - {str} and not all(type(v) is str or is_base64(v) for v in flat):
            return None
        array = np.empty(len(flat), object)
        array[:] = (
            _encode_all(flat)
            if types == {str}
            else [encode_text(v) if type(v) is str else decode_base64(v) for v in flat]
        )
        return array
    return None


def _check_value(value: Any, level: int, shape: list[int], dtype: str) -> None:
    """Raises on the first value below `value` that does not fit."""
    if not isinstance(value, list):
        if level != len(shape):
            raise format_error(
                value,
                f"found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}",
            )
        _check_leaf(value, dtype)
        return
    if level >= len(shape):
        raise invalid(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for item in value:
        _check_value(item, level + 1, shape, dtype)


def _check_leaf(value: Any, dtype: str) -> None:
    if _convert([value], dtype) is not None:
        return
    name = dtype_name(dtype)
    if dtype == "string" and isinstance(value, dict):
        raise format_error(value, "not formatted correctly for base64 data")
    if dtype in _INT_RANGES or dtype in ("float32", "float64", "bool", "string"):
        raise format_error(
            value, f"Type: {json_type(value)} is not of expected type: {name}"
        )
    raise ServingError(
        Code.UNIMPLEMENTED,
        f"Conversion of JSON Value: {value_text(value)} to type: {name}",
    )


def _leading_shape(value: Any) -> list[int]:
    """Gives the shape a value claims: the lengths on the way to its first leaf."""
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    if len(shape) > _MAX_RANK:
        raise invalid(
            f"A tensor has at most {_MAX_RANK} dimensions. Received: {len(shape)}"
        )
    return shape


def format_error(value: Any, what: str) -> ServingError:
    """Makes the error that quotes a JSON value and says what is wrong with it."""
    return invalid(f"JSON Value: {value_text(value)} {what}")


def json_type(value: Any) -> str:
    """Names the JSON type of a value: "Number", "True", "Object" ..."""
    return str(value) if isinstance(value, bool) else _JSON_TYPES[type(value)]


def is_base64(value: Any) -> bool:
    """Tells whether a value is `{"b64": "..."}`, the JSON form of bytes."""
    return type(value) is dict and len(value) == 1 and type(value.get("b64")) is str


def decode_base64(value: Mapping[str, str]) -> bytes:
    """Decodes `{"b64": "..."}`; blanks are skipped and padding may be missing."""
    text = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def _encode_all(texts: list[str]) -> list[bytes]:
    """Encodes strings, all at once where none holds what is put between them."""
    joined = "\0".join(texts)
    if joined.count("\0") != len(texts) - 1:
        return [encode_text(text) for text in texts]
    return encode_text(joined).split(b"\0")


def encode_text(value: str) -> bytes:
    """Encodes a JSON string; bytes that were not UTF-8 come out as they came in."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise invalid(
            "JSON Parse error: The surrogate pair in string is invalid."
        ) from error
