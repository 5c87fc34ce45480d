"""Columns of logs take the types that the examples have; misfits are told row by row.

| type in the config | column of the examples                                    |
|--------------------|-----------------------------------------------------------|
| string             | string, as `texts` writes it                              |
| float              | float64: true is 1, a duration seconds; "NA", "?" are null|
| list               | list<string>                                              |
| numbers            | list<string> of numbers, "" where one is missing          |
| vector             | list<float32>, of one length; null where there is none    |
| weighted, map      | list<string> of "value:weight"; see `weighted`            |
| any                | its own type, one value a row                             |
| (not named)        | its own type                                              |

Null is missing; so are NaN and an empty string, in every format. Each function works on
a whole column and looks at single values only where that fails.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Config
from pipeline.config.data import MISSING_WORDS
from pipeline.config.features import Feature, column_type
from pipeline.logs.values import column_types, lists, single, texts
from pipeline.logs.values.single import Misfits as Misfits

# Types whose columns are lists of texts, as a model that is served takes them.
_AS_TEXTS = ("numbers", "weighted", "map")


class Column(NamedTuple):
    """A column of the examples.

    Attributes:
        name: Its name in the examples.
        kind: "string", "float", "list", "numbers", "vector", "weighted", "map", "any",
            or "own" of one that the config does not name.
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
        "numbers": column_types.STRINGS,
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
        same = own and column_type(own) in (column_type(feature), *_AS_TEXTS)
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
            how = column.separator, column.missing
            array, wrong = lists.with_weights(array, weights, column.weights, *how)
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
                forms = texts.whole_forms(single.utf8(array)[0])
                found |= {(column.name, form) for form in forms}
    return frozenset(found)


def own_type(array: pa.Array, kind: str) -> pa.DataType:
    """The type of an "any" or "own" column, as far as these values tell."""
    if kind == "any":
        array, _ = single.one_value(array)
    if column_types.is_list(array.type):
        return pa.list_(own_type(array.flatten(), "own"))
    if column_types.is_text(array.type):
        return pa.binary() if single.utf8(array)[1] else pa.string()
    return array.type


def _cast(array: pa.Array, column: Column) -> tuple[pa.Array, Misfits]:
    how = column.separator, column.missing
    if column.kind == "list":
        return lists.items(array, *how)
    if column.kind == "numbers":
        return lists.numbers(array, *how)
    if column.kind == "vector":
        return lists.vectors(array, column.dim, *how)
    if column.kind in ("weighted", "map"):
        return lists.weighted_items(array, *how, of_map=column.kind == "map")
    if column.kind != "own":
        array, wrong = single.one_value(array)
        if wrong and column.kind == "float":
            hint = ". A vector is a feature of kind: vector"
            wrong = {row: reason + hint for row, reason in wrong.items()}
        cast_, more = _scalar(array, column)
        return cast_, {**more, **wrong}
    if column.type == column_types.STRINGS:
        return lists.items(array, column.separator, None)
    return _scalar(array, column._replace(missing=None))


def _scalar(array: pa.Array, column: Column) -> tuple[pa.Array, Misfits]:
    if column.kind == "float":
        return single.number(array, column.missing or ())
    if column.type in (pa.string(), pa.large_string()):
        strings, wrong = single.text(array, column.missing)
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
