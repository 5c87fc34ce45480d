"""A caller's data as the columns of a predict request, and answers as arrays."""

import base64
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

_INTEGERS = {
    "DT_INT8", "DT_INT16", "DT_INT32", "DT_INT64",
    "DT_UINT8", "DT_UINT16", "DT_UINT32", "DT_UINT64",
}  # fmt: skip
_MISSING = {"DT_STRING": "", "DT_FLOAT": float("nan"), "DT_DOUBLE": float("nan")}
_SMALL_FLOATS = {
    "float16": "float16", "halffloat[pyarrow]": "float16",
    "float32": "float32", "float[pyarrow]": "float32",
}  # fmt: skip
# From here on, a float does not tell neighbouring integers apart.
_EXACT = {"float16": 2.0**11, "float32": 2.0**24}
_AS_THEY_ARE = {"f": {"DT_FLOAT", "DT_DOUBLE"}, "i": _INTEGERS, "u": _INTEGERS}
_ARRAY_TYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_BOOL": "bool"}


def input_columns(
    data: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    inputs: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Picks a signature's inputs out of the data, as values JSON can carry.

    Values are made what the model was trained with: numbers and booleans become the
    strings that a string input wants (5 and 5.0 are "5", of any type), None and what
    pandas has for it are a missing value ("" or NaN), and a list for a string input of
    shape (batch, n) keeps its last n items and is padded behind; a missing one is
    padding alone, a dict is a list of "value:weight". For a float input of this shape
    it is a vector of n numbers, or none.

    Args:
        data: list of dict (rows), dict of lists or arrays (columns), or DataFrame.
        inputs: dict. TensorInfo of each input, as the server's metadata has it.

    Returns:
        dict, a nested list for each input.

    Raises:
        ValueError: an input is missing, or a value does not fit its type, or an id is a
            float too large to have kept its digits.

    Example:
        >>> input_columns([{"id": 7}, {"id": 8}], {"id": {"dtype": "DT_STRING"}})
        {'id': ['7', '8']}
    """
    is_columns = isinstance(data, Mapping) or hasattr(data, "columns")
    if not is_columns and not (isinstance(data, Sequence) and data):
        raise ValueError(
            "The data must be a list of at least one row, a dict of columns or a "
            f"DataFrame. Received: {data!r}"
        )
    columns = {}
    for name in sorted(inputs):
        dtype, column = inputs[name]["dtype"], _column(data, name)
        sizes = [
            int(d["size"]) for d in inputs[name].get("tensor_shape", {}).get("dim", ())
        ]
        if len(sizes) == 2 and dtype == "DT_STRING":
            column = _of_dicts(column, name)
        column = _to_json(column, dtype, name)
        if len(sizes) == 2 and sizes[1] > 0 and dtype in _MISSING:
            column = [_fixed(row, sizes[1], _MISSING[dtype], name) for row in column]
        if column == []:
            raise ValueError(
                f"The data must have at least one row. Received: none, for {name!r}"
            )
        columns[name] = column
    return columns


def _of_dicts(column: Any, name: str) -> Any:
    """Writes dicts as lists of "value:weight", as the logs' maps are; None is none."""
    if not any(isinstance(row, Mapping) for row in column):
        return column

    def text(value):
        return _to_json(value, "DT_STRING", name)

    def entries(row):
        given = ((v, w) for v, w in row.items() if not _is_missing(w))
        return [f"{text(value)}:{text(weight)}" for value, weight in given]

    return [entries(row) if isinstance(row, Mapping) else row for row in column]


def _fixed(row: Any, length: int, padding: Any, name: str) -> list[Any]:
    """A list of `length` items: the last ones, as Transform keeps the latest."""
    if not isinstance(row, list):
        if row != padding and row == row:  # NaN is no number's equal
            raise ValueError(
                f"The input {name!r} takes a list of values for each row, the last "
                f"{length} of which count. Received: {row!r}"
            )
        row = []
    if not isinstance(padding, str) and len(row) not in (0, length):
        raise ValueError(
            f"The input {name!r} takes {length} numbers for each row, or none. "
            f"Received: {len(row)}"
        )
    row = row[-length:]
    return row + [padding] * (length - len(row))


def _is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, or NA or NaT, which pandas makes of None."""
    kind = type(value)
    return (
        value is None
        or (kind in (float, Decimal) and value != value)
        or kind.__name__ in ("NAType", "NaTType")
    )


def from_json(value: Any, dtype: str) -> np.ndarray:
    """Makes the array of one output; strings as an object array of str or bytes."""
    if dtype == "DT_STRING":
        return np.array(_decode(value), object)
    known = _ARRAY_TYPES.get(dtype) or dtype.removeprefix("DT_").lower()
    return np.array(value, known)


def _column(data: Any, name: str) -> Any:
    if isinstance(data, Mapping) or hasattr(data, "columns"):  # a DataFrame
        if name not in data:
            raise ValueError(
                f"The data lacks the input {name!r}. It has: {sorted(data)}"
            )
        return data[name]
    for index, row in enumerate(data):
        if name not in row:
            raise ValueError(
                f"Row {index} lacks the input {name!r}. It has: {sorted(row)}"
            )
    return [row[name] for row in data]


def _to_json(value: Any, dtype: str, name: str, exact: float = 2.0**53) -> Any:
    """A value as JSON; of a float, integers below `exact` are told apart."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "m":  # ExampleGen writes durations in seconds
        value = np.asarray(value) / np.timedelta64(1, "s")
    elif kind == "M":  # tolist would give nanoseconds
        raise ValueError(
            f"The input {name!r} is of type {dtype}. Received: times of type "
            f"{value.dtype}; give them as the texts that the training data has"
        )
    if isinstance(value, np.ndarray) and dtype in _AS_THEY_ARE.get(kind, ()):
        return value.tolist()  # without a look at each value
    if hasattr(value, "tolist"):  # an array, a NumPy scalar, a pandas Series
        small = _small_float(value)
        value, exact = value.tolist(), _EXACT.get(small, exact)
        if small and dtype == "DT_STRING":
            # What is written is 0.2, not the float64 next to the float32.
            value = _shortest(value, small)
    if isinstance(value, (list, tuple)):
        return [_to_json(item, dtype, name, exact) for item in value]
    if dtype in _MISSING and _is_missing(value):
        return _MISSING[dtype]
    kind = type(value)
    if dtype == "DT_STRING":
        if kind in (float, Decimal):
            return _number_text(value, name, exact)
        if kind is bool:  # as ExampleGen writes it
            return str(value).lower()
        if kind is int:
            return str(value)
        if kind is bytes:
            return {"b64": base64.b64encode(value).decode()}
        fits = kind is str
    elif dtype in _INTEGERS:
        if kind in (float, Decimal) and _is_whole(value):  # pandas makes floats
            _check_digits(value, name, exact)
            return int(value)
        fits = kind in (int, bool)
        value = int(value) if fits else value
    elif dtype == "DT_BOOL":
        fits = kind is bool
    else:
        fits = kind in (int, float, bool, Decimal)
        value = float(value) if fits else value
    if not fits:
        raise ValueError(
            f"The input {name!r} is of type {dtype}. Received: {value!r} of type "
            f"{kind.__name__}; convert it as the training data was"
        )
    return value


def _number_text(value: float | Decimal, name: str, exact: float) -> str:
    """17.0 -> "17", 0.2 -> "0.2", Decimal("2.50") -> "2.50", as ExampleGen does."""
    if _is_whole(value):
        _check_digits(value, name, exact)
        return str(int(value))
    return repr(value) if isinstance(value, float) else f"{value:f}"


def _is_whole(value: float | Decimal) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite() and value == value.to_integral_value()
    return value.is_integer()


def _check_digits(value: float | Decimal, name: str, exact: float) -> None:
    if isinstance(value, float) and exact <= abs(value):
        raise ValueError(
            f"The input {name!r} takes whole numbers as floats below {exact:.0f} only, "
            f"as digits are lost in larger ones. Received: {value!r}; give an integer "
            "or a text"
        )


def _small_float(value: Any) -> str | None:
    """The type of an array or a pandas Series, if it is of short floats."""
    dtype = getattr(value, "dtype", None)
    dtype = getattr(getattr(dtype, "categories", None), "dtype", dtype)
    # pandas has Float32, and float[pyarrow] for Arrow's.
    return _SMALL_FLOATS.get(str(dtype).lower())


def _shortest(value: Any, dtype: str) -> Any:
    """Floats that are written as short as the type that they came from allows."""
    if isinstance(value, list):
        return [_shortest(item, dtype) for item in value]
    return float(str(np.dtype(dtype).type(value))) if type(value) is float else value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value
