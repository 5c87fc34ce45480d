"""Columns of logs take the types that the examples have; misfits are told row by row.

| type in the config | column of the examples                                    |
|--------------------|-----------------------------------------------------------|
| string             | string, as `texts` writes it                              |
| float              | float64: true is 1, a duration seconds; "NA", "?" are null|
| list               | list<string>                                              |
| vector             | list<float32>, of one length; null where there is none    |
| weighted, map      | list<string> of "value:weight"; see `weighted`            |
| any                | its own type, one value a row                             |
| (not named)        | its own type                                              |

Null is missing; so are NaN and an empty string, in every format. Each function works on
a whole column and looks at single values only where that fails.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Config
from pipeline.config.data import MISSING_WORDS
from pipeline.config.features import Feature, column_type
from pipeline.logs.values import (
    column_types,
    numbers,
    texts,
    weighted,
    written_lists,
)
from pipeline.logs.values.scalars import readable

# {row: what is wrong with its value}
Misfits = dict[int, str]


class Column(NamedTuple):
    """A column of the examples.

    Attributes:
        name: Its name in the examples.
        kind: "string", "float", "list", "vector", "weighted", "map", "any", or "own" of
            one that the config does not name.
        type: The Arrow type that it gets.
        separator: Between the values of a list that is written as one string.
        missing: The texts that stand for no value; None where a text counts as it is
            written.
        column: Its name in the logs, where that is another.
        dim: Numbers of each vector.
        weights: The column of the logs with the weights of a list's values.
    """

    name: str
    kind: str
    type: pa.DataType
    separator: str | None = None
    missing: tuple[str, ...] | None = MISSING_WORDS
    column: str | None = None
    dim: int | None = None
    weights: str | None = None

    @property
    def source(self) -> str:
        """Its name in the logs."""
        return self.column or self.name


def column(
    name: str,
    kind: str,
    type_: pa.DataType,
    missing: tuple[str, ...] | None,
    source: str | None = None,
    feature: Feature | None = None,
) -> Column:
    """A column of the examples; `type_` counts where the kind leaves the type open.

    `feature` is that of the column, if there is one: what it says of lists.
    """
    fixed = {
        "string": pa.string(),
        "float": pa.float64(),
        "list": column_types.STRINGS,
        "vector": column_types.FLOATS,
        "weighted": column_types.STRINGS,
        "map": column_types.STRINGS,
    }
    while kind == "any" and column_types.is_list(type_):
        type_ = type_.value_type
    type_ = fixed.get(kind) or column_types.settled_type(type_)
    separator, dim, weights = (
        getattr(feature, key, None) for key in ("separator", "dim", "weights")
    )
    return Column(name, kind, type_, separator, missing, source, dim, weights)


def feature_columns(config: Config, features: Sequence[Feature]) -> list[Column]:
    """The columns of features, such as those that a model takes in.

    Args:
        config: Says which texts are missing, and, of its own features, how lists are
            separated and what they are called in the logs.
        features: The features.
    """
    known = {f.name: f for f in config.features}
    columns = []
    for feature in features:
        own = known.get(feature.name)
        same = own and column_type(own) in (column_type(feature), "weighted", "map")
        columns.append(
            column(
                feature.name,
                column_type(own if same else feature),
                pa.null(),
                config.missing_words(feature.name),
                own and own.column,
                own if same else feature,
            )
        )
    return columns


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
        if column.source not in batch.schema.names:
            arrays.append(pa.nulls(batch.num_rows, column.type))
            continue
        array = column_types.plain(batch.column(column.source))
        if column.weights:
            weights = pa.nulls(len(array))
            if column.weights in batch.schema.names:
                weights = column_types.plain(batch.column(column.weights))
            array, wrong = _with_weights(array, weights, column)
        else:
            array, wrong = _cast(array, column)
        arrays.append(array)
        for row, reason in wrong.items():
            misfits.setdefault(row, f"column {column.source!r}: {reason}")
    schema = pa.schema([(column.name, column.type) for column in columns])
    return pa.RecordBatch.from_arrays(arrays, schema=schema), misfits


def whole_forms(
    batch: pa.RecordBatch, columns: list[Column]
) -> frozenset[tuple[str, str]]:
    """How texts write whole numbers: (column, "5" or "5.0") of what there is.

    Args:
        batch: Rows as a source has them.
        columns: The columns of the result; those that are verbatim are left out.
    """
    found = set()
    for column in columns:
        if column.kind != "string" or column.missing is None:
            continue
        if column.source in batch.schema.names:
            array = batch.column(column.source)
            if column_types.is_text(array.type):
                forms = texts.whole_forms(_utf8(array)[0])
                found |= {(column.name, form) for form in forms}
    return frozenset(found)


def own_type(array: pa.Array, kind: str) -> pa.DataType:
    """The type of an "any" or "own" column, as far as these values tell."""
    if kind == "any":
        array, _ = _single(array)
    if column_types.is_list(array.type):
        return pa.list_(own_type(array.flatten(), "own"))
    if column_types.is_text(array.type):
        return pa.binary() if _utf8(array)[1] else pa.string()
    return array.type


def _cast(array: pa.Array, column: Column) -> tuple[pa.Array, Misfits]:
    if column.kind == "list":
        return _items(array, column)
    if column.kind == "vector":
        return _vectors(array, column)
    if column.kind in ("weighted", "map"):
        return _weighted(array, column)
    if column.kind != "own":
        array, wrong = _single(array)
        if wrong and column.kind == "float":
            hint = ". A vector is a feature of kind: vector"
            wrong = {row: reason + hint for row, reason in wrong.items()}
        cast_, more = _scalar(array, column)
        return cast_, {**more, **wrong}
    if column.type == column_types.STRINGS:
        return _items(array, column._replace(missing=None))
    return _scalar(array, column._replace(missing=None))


def _scalar(array: pa.Array, column: Column) -> tuple[pa.Array, Misfits]:
    if column.kind == "float":
        return _number(array, column.missing or ())
    if column.type in (pa.string(), pa.large_string()):
        strings, wrong = _text(array, column.missing)
        return strings.cast(column.type), wrong
    wrong = _cut(array) if pa.types.is_floating(column.type) else {}
    array = array.cast(column.type, safe=False)
    if pa.types.is_floating(array.type):
        array = texts.null_where(array, pc.is_nan(array))
    return array, wrong


def _cut(array: pa.Array) -> Misfits:
    """Integers that lose digits as float64, which other files make of them."""
    if not pa.types.is_integer(array.type):
        return {}
    large = np.abs(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    return {
        int(row): f"{array[int(row)].as_py()}: other files have floats in this column, "
        "which would lose its digits; write integers or texts there"
        for row in np.flatnonzero(large >= 2.0**53)
    }


def _single(array: pa.Array) -> tuple[pa.Array, Misfits]:
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


def _items(array: pa.Array, column: Column) -> tuple[pa.Array, Misfits]:
    """Any column -> list<string>; a string is split where a separator is given."""
    if not column_types.is_list(array.type):
        array, wrong = _text(array, None)
        written = written_lists.rows(array) if column.missing is not None else ()
        strings = array
        if column.separator is None:
            counts = pc.is_valid(array).to_numpy(zero_copy_only=False)
            offsets = pa.array(np.append(0, np.cumsum(counts)).astype(np.int32))
            array = pa.ListArray.from_arrays(
                offsets, array.drop_null(), mask=pc.is_null(array)
            )
        else:
            array = pc.split_pattern(array, column.separator).cast(column_types.STRINGS)
        if len(written):
            array, more = _read_brackets(array, strings, written, column.separator)
            wrong |= more
    else:
        wrong = {}
    counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    strings, more = _text(array.flatten(), column.missing)
    row = np.repeat(np.arange(len(array)), counts)
    wrong = {**{int(row[item]): reason for item, reason in more.items()}, **wrong}
    return column_types.with_items(array, pc.fill_null(strings, "")), wrong


def _weighted(array: pa.Array, column: Column) -> tuple[pa.Array, Misfits]:
    """Values written with their weights -> list<string> of them."""
    if pa.types.is_map(array.type) or pa.types.is_struct(array.type):
        rows = [weighted.of_mapping(row) for row in array.to_pylist()]
        array = pa.array(rows, column_types.STRINGS)
    lists, wrong = _items(array, column)
    values, weights = weighted.apart(lists.flatten())
    return _joined(lists, values, weights, column, wrong)


def _with_weights(
    array: pa.Array, weights: pa.Array, column: Column
) -> tuple[pa.Array, Misfits]:
    """Values, and their weights in another column -> list<string> of both."""
    lists, wrong = _items(array, column)
    numbers, more = _items(weights, column._replace(missing=()))
    wrong = {**more, **wrong}
    counts, given = (
        pc.fill_null(pc.list_value_length(of), 0).to_numpy() for of in (lists, numbers)
    )
    differ = (counts != given) & (counts > 0)
    for i in np.flatnonzero(differ):
        reason = f"{counts[i]} values, but {given[i]} weights in {column.weights!r}"
        wrong.setdefault(int(i), reason)
    keep = pa.array(np.repeat((counts > 0) & ~differ, given))
    empty = pa.scalar(None, column_types.STRINGS)
    lists = pc.if_else(pa.array(differ), empty, lists)
    texts_ = numbers.flatten().filter(keep)
    return _joined(lists, lists.flatten(), texts_, column, wrong)


def _joined(
    lists: pa.Array,
    values: pa.Array,
    weights: pa.Array,
    column: Column,
    wrong: Misfits,
) -> tuple[pa.Array, Misfits]:
    """Lists of "value:weight" in place of those of as many items."""
    values, more = _text(values, column.missing)
    least = -np.inf if column.kind == "map" else 0.0
    joined, bad = weighted.joined(values, weights, least)
    row = np.repeat(
        np.arange(len(lists)), pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    )
    more = {int(row[item]): reason for item, reason in {**bad, **more}.items()}
    return column_types.with_items(lists, joined), {**more, **wrong}


def _vectors(array: pa.Array, column: Column) -> tuple[pa.Array, Misfits]:
    """Any column -> lists of as many float32 as the column has; null where empty."""
    wrong: Misfits = {}
    if not column_types.is_list(array.type):
        array, wrong = _items(array, column._replace(missing=()))
    counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    values, more = _number(array.flatten(), column.missing or ())
    row = np.repeat(np.arange(len(array)), counts)
    wrong = {**{int(row[item]): reason for item, reason in more.items()}, **wrong}
    for i in np.flatnonzero((counts != 0) & (counts != column.dim)):
        given = f"{counts[i]} numbers where a vector of {column.dim} is expected"
        wrong.setdefault(int(i), given)
    kept = counts == column.dim
    values = pc.fill_null(values, np.nan).filter(pa.array(np.repeat(kept, counts)))
    offsets = np.append(0, np.cumsum(np.where(kept, counts, 0))).astype(np.int32)
    vectors = values.cast(pa.float32(), safe=False)
    return pa.ListArray.from_arrays(
        pa.array(offsets), vectors, mask=pa.array(~kept)
    ), wrong


def _read_brackets(
    lists: pa.Array, strings: pa.Array, rows: np.ndarray, separator: str | None
) -> tuple[pa.Array, Misfits]:
    """Lists, of which those in some rows are what the text in brackets says."""
    values, wrong = lists.to_pylist(), {}
    for row in rows:
        text = strings[int(row)].as_py()
        try:
            values[row] = written_lists.parse(text)
        except ValueError as error:
            example = (separator or "|").join(("i1", "i2"))
            reason = f"{text[:60]!r} is {error}. Write the items as in {example}"
            wrong[int(row)] = reason
    return pa.array(values, column_types.STRINGS), wrong


def _text(array: pa.Array, missing: tuple[str, ...] | None) -> tuple[pa.Array, Misfits]:
    """Any column of single values -> string; an empty one is null."""
    if pa.types.is_nested(array.type):
        values = [readable(array, row) for row in range(len(array))]
        values = [None if v is None else json.dumps(v) for v in values]
        return pa.array(values, pa.string()), {}
    wrong: Misfits = {}
    written = column_types.is_text(array.type)
    if written:
        array, wrong = _utf8(array)
    strings = array if written else texts.of(array)
    if missing is None:
        return texts.null_where(strings, pc.equal(strings, "")), wrong
    lost = texts.lost_digits(array)
    if written:
        strings = texts.canonical(strings, missing)
    reason = "{}: a float of this size has lost digits; write an integer or a text"
    wrong |= {int(row): reason.format(readable(array, int(row))) for row in lost}
    return strings, wrong


def _number(array: pa.Array, missing: tuple[str, ...]) -> tuple[pa.Array, Misfits]:
    """Any column of single values -> float64; NaN is null."""
    wrong: Misfits = {}
    if pa.types.is_duration(array.type):
        array = texts.seconds(array)
    if not column_types.is_numeric(array.type):
        strings, wrong = _text(array, None)
        try:
            array = strings.cast(pa.float64())
        except pa.ArrowInvalid:
            array, more = numbers.read(strings, missing)
            wrong = {**more, **wrong}
    found = array.cast(pa.float64(), safe=False)
    return texts.null_where(found, pc.is_nan(found)), wrong


def _utf8(array: pa.Array) -> tuple[pa.Array, Misfits]:
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
