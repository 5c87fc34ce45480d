"""Columns of single values: one of a list, as a text, or as a number.

Each function works on a whole column, and tells {row: what is wrong with its value}.
"""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.logs.values import column_types, numbers, texts
from pipeline.logs.values.scalars import readable

# {row: what is wrong with its value}
Misfits = dict[int, str]


def one_value(array: pa.Array) -> tuple[pa.Array, Misfits]:
    """Lists of at most one item become that item, which may be a list again."""
    wrong: Misfits = {}
    while column_types.is_list(array.type):
        counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        first = np.cumsum(counts) - counts
        where = pa.array(first, mask=counts == 0)
        reason = "{} values where one is expected"
        more = {int(i): reason.format(counts[i]) for i in np.flatnonzero(counts > 1)}
        array, wrong = array.flatten().take(where), {**more, **wrong}
    return array, wrong


def text(array: pa.Array, missing: tuple[str, ...] | None) -> tuple[pa.Array, Misfits]:
    """Any column of single values -> string; an empty one is null."""
    if pa.types.is_nested(array.type):
        values = [readable(array, row) for row in range(len(array))]
        values = [None if v is None else json.dumps(v) for v in values]
        return pa.array(values, pa.string()), {}
    wrong: Misfits = {}
    written = column_types.is_text(array.type)
    if written:
        array, wrong = utf8(array)
    strings = array if written else texts.of(array)
    if missing is None:
        return texts.null_where(strings, pc.equal(strings, "")), wrong
    lost = texts.lost_digits(array)
    if written:
        strings = texts.canonical(strings, missing)
    reason = "{}: a float of this size has lost digits; write an integer or a text"
    wrong |= {int(row): reason.format(readable(array, int(row))) for row in lost}
    return strings, wrong


def number(array: pa.Array, missing: tuple[str, ...]) -> tuple[pa.Array, Misfits]:
    """Any column of single values -> float64; NaN is null."""
    wrong: Misfits = {}
    if pa.types.is_duration(array.type):
        array = texts.seconds(array)
    if not column_types.is_numeric(array.type):
        strings, wrong = text(array, None)
        try:
            array = strings.cast(pa.float64())
        except pa.ArrowInvalid:
            array, more = numbers.read(strings, missing)
            wrong = {**more, **wrong}
    found = array.cast(pa.float64(), safe=False)
    return texts.null_where(found, pc.is_nan(found)), wrong


def utf8(array: pa.Array) -> tuple[pa.Array, Misfits]:
    """Bytes or strings -> string; null where the bytes are not UTF-8.

    What a file calls strings may be any bytes, which Arrow does not look at.
    """
    array = column_types.as_bytes(array)
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
