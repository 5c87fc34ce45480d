"""Columns of logs take the types that the examples have; misfits are told row by row.

| type in the config | column of the examples                              |
|--------------------|-----------------------------------------------------|
| string             | string: 17 and 17.0 are "17", true is "true"        |
| float              | float64: true is 1; NaN, "NA", "null", "?" are null |
| list               | list<string>                                        |
| any                | its own type, one value a row                       |
| (not named)        | its own type                                        |

Null is missing; so is an empty string, in every format. Each function works on a whole
column and looks at single values only where that fails.
"""

import json
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# {row: what is wrong with its value}
Misfits = dict[int, str]
_NOT_NUMBERS = {"", "?", "na", "n/a", "#n/a", "nan", "null", "none", "\\n"}
_BOOLEANS = {"true": 1.0, "false": 0.0}
STRINGS = pa.list_(pa.string())


class Column(NamedTuple):
    """A column of the examples.

    Attributes:
        name: Its name in the logs and in the examples.
        kind: "string", "float", "list", "any" or "own" (the config does not name it).
        type: The Arrow type that it gets.
        separator: Between the values of a list that is written as one string.
    """

    name: str
    kind: str
    type: pa.DataType
    separator: str | None = None


def cast(
    batch: pa.RecordBatch, columns: list[Column]
) -> tuple[pa.RecordBatch, Misfits]:
    """Gives the columns their types; a misfit is null in the result.

    Args:
        batch: Rows as a source has them; a column that it lacks is all null.
        columns: The columns of the result.
    """
    arrays, misfits = [], {}
    for column in columns:
        if column.name not in batch.schema.names:
            arrays.append(pa.nulls(batch.num_rows, column.type))
            continue
        array, wrong = _cast(batch.column(column.name), column)
        arrays.append(array)
        for row, reason in wrong.items():
            misfits.setdefault(row, f"column {column.name!r}: {reason}")
    schema = pa.schema([(column.name, column.type) for column in columns])
    return pa.RecordBatch.from_arrays(arrays, schema=schema), misfits


def own_type(array: pa.Array, kind: str) -> pa.DataType:
    """The type of an "any" or "own" column, as far as these values tell."""
    if kind == "any":
        array, _ = _single(array)
    if _is_list(array.type):
        return pa.list_(own_type(array.flatten(), "own"))
    if pa.types.is_dictionary(array.type):
        return own_type(array.dictionary_decode(), kind)
    if _is_text(array.type):
        return pa.binary() if _utf8(array)[1] else pa.string()
    return array.type


def common_type(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """The type for a column that is of type `a` here and of type `b` there."""
    if a == b:
        return a
    try:
        schemas = [pa.schema([("", a)]), pa.schema([("", b)])]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        either = _is_list(a) or _is_list(b)
        return STRINGS if either else pa.string()


def settled_type(type_: pa.DataType) -> pa.DataType:
    """The type for the examples, when all values are known: all null is string."""
    if _is_list(type_):
        return pa.list_(settled_type(type_.value_type))
    return pa.string() if pa.types.is_null(type_) else type_


def _cast(array: pa.Array, column: Column) -> tuple[pa.Array, Misfits]:
    if column.kind == "list":
        return _items(array, column.separator)
    if column.kind != "own":
        array, wrong = _single(array)
        cast_, more = _scalar(array, column)
        return cast_, {**more, **wrong}
    if column.type == STRINGS:
        return _items(array, None)
    return _scalar(array, column)


def _scalar(array: pa.Array, column: Column) -> tuple[pa.Array, Misfits]:
    if column.kind == "float":
        return _number(array)
    if column.type == pa.string():
        return _text(array)
    return array.cast(column.type, safe=False), {}


def _single(array: pa.Array) -> tuple[pa.Array, Misfits]:
    """Lists of at most one item become that item."""
    if not _is_list(array.type):
        return array, {}
    counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    first = np.cumsum(counts) - counts
    where = pa.array(first, mask=counts == 0)
    reason = "{} values where one is expected"
    wrong = {int(i): reason.format(counts[i]) for i in np.flatnonzero(counts > 1)}
    return array.flatten().take(where), wrong


def _items(array: pa.Array, separator: str | None) -> tuple[pa.Array, Misfits]:
    """Any column -> list<string>; a string is split where a separator is given."""
    if _is_list(array.type):
        counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        strings, wrong = _text(array.flatten())
        row = np.repeat(np.arange(len(array)), counts)
        wrong = {int(row[item]): reason for item, reason in wrong.items()}
    else:
        strings, wrong = _text(array)
        array = strings
        if separator is not None:
            return pc.split_pattern(strings, separator).cast(STRINGS), wrong
        counts = pc.is_valid(strings).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    items = pc.fill_null(strings, "")
    return pa.ListArray.from_arrays(offsets, items, mask=pc.is_null(array)), wrong


def _text(array: pa.Array) -> tuple[pa.Array, Misfits]:
    """Any column of single values -> string; an empty one is null."""
    wrong: Misfits = {}
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if _is_text(array.type):
        strings, wrong = _utf8(array)
    elif pa.types.is_floating(array.type):
        strings = _float_text(array.cast(pa.float64()))
    elif pa.types.is_nested(array.type):
        values = [None if v is None else json.dumps(v) for v in array.to_pylist()]
        strings = pa.array(values, pa.string())
    else:
        strings = array.cast(pa.string())
    empty = pc.equal(strings, "")
    if pc.any(empty).as_py():
        strings = pc.if_else(empty, pa.scalar(None, pa.string()), strings)
    return strings, wrong


def _float_text(array: pa.Array) -> pa.Array:
    """17.0 -> "17", which is how the integer 17 reads; NaN -> null."""
    values = array.to_numpy(zero_copy_only=False)
    whole = (values == np.floor(values)) & (np.abs(values) < 2**53)
    integers = pa.array(np.where(whole, values, 0).astype(np.int64))
    strings = pc.if_else(
        pa.array(whole), integers.cast(pa.string()), array.cast(pa.string())
    )
    return pc.if_else(pc.is_nan(array), pa.scalar(None, pa.string()), strings)


def _number(array: pa.Array) -> tuple[pa.Array, Misfits]:
    """Any column of single values -> float64; NaN is null."""
    wrong: Misfits = {}
    if not _is_numeric(array.type):
        strings, wrong = _text(array)
        try:
            array = strings.cast(pa.float64())
        except pa.ArrowInvalid:
            array, more = _parsed(strings)
            wrong = {**more, **wrong}
    numbers = array.cast(pa.float64(), safe=False)
    if pc.any(pc.is_nan(numbers)).as_py():
        nan = pc.is_nan(numbers)
        numbers = pc.if_else(nan, pa.scalar(None, pa.float64()), numbers)
    return numbers, wrong


def _parsed(strings: pa.Array) -> tuple[pa.Array, Misfits]:
    """Numbers from strings of which some are none; each distinct one is read once."""
    encoded = strings.dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    numbers = [_parse(value) for value in distinct]
    bad = [number is False for number in numbers]
    values = pa.array([None if b else n for n, b in zip(numbers, bad, strict=True)])
    is_bad = pc.fill_null(pa.array(bad, pa.bool_()).take(encoded.indices), False)
    rows = np.flatnonzero(is_bad.to_numpy(zero_copy_only=False))
    wrong = {int(i): f"{strings[i].as_py()!r} is not a number" for i in rows}
    return values.cast(pa.float64()).take(encoded.indices), wrong


def _parse(value: str) -> float | bool | None:
    """The number; None where the word stands for a missing one; False for no number."""
    word = value.strip().lower()
    if word in _NOT_NUMBERS:
        return None
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    try:
        # Python reads 1_000, which no other tool does.
        return False if "_" in word else float(word)
    except ValueError:
        return False


def _utf8(array: pa.Array) -> tuple[pa.Array, Misfits]:
    """Bytes or strings -> string; null where the bytes are not UTF-8."""
    try:
        return array.cast(pa.string()), {}
    except pa.ArrowInvalid:
        values = array.to_pylist()
    wrong = {}
    for row, value in enumerate(values):
        try:
            values[row] = None if value is None else value.decode()
        except UnicodeDecodeError:
            values[row], wrong[row] = None, f"{value!r} is not UTF-8"
    return pa.array(values, pa.string()), wrong


def _is_list(type_: pa.DataType) -> bool:
    return (
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
    )


def _is_text(type_: pa.DataType) -> bool:
    return type_ in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def _is_numeric(type_: pa.DataType) -> bool:
    return (
        pa.types.is_floating(type_)
        or pa.types.is_integer(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_decimal(type_)
    )
