"""Columns of several values a row: lists, values with weights, and vectors.

Each function works on a whole column, and tells {row: what is wrong with its values}.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.logs.values import column_types, single, texts, weighted, written_lists
from pipeline.logs.values.single import Misfits

Missing = tuple[str, ...] | None


def items(
    array: pa.Array, separator: str | None, missing: Missing
) -> tuple[pa.Array, Misfits]:
    """Any column -> list<string>; a string is split where a separator is given.

    Args:
        array: The column.
        separator: Between the items of a list that is written as one text.
        missing: The texts that stand for no item; None where texts count as written,
            and not as lists in brackets either.
    """
    if not column_types.is_list(array.type):
        array, wrong = single.text(array, None)
        written = written_lists.rows(array) if missing is not None else ()
        strings = array
        if separator is None:
            counts = pc.is_valid(array).to_numpy(zero_copy_only=False)
            offsets = pa.array(np.append(0, np.cumsum(counts)).astype(np.int32))
            array = pa.ListArray.from_arrays(
                offsets, array.drop_null(), mask=pc.is_null(array)
            )
        else:
            array = pc.split_pattern(array, separator).cast(column_types.STRINGS)
        if len(written):
            array, more = _read_brackets(array, strings, written, separator)
            wrong |= more
    else:
        wrong = {}
    strings, more = single.text(array.flatten(), missing)
    wrong = {**_by_row(more, _counts(array)), **wrong}
    return column_types.with_items(array, pc.fill_null(strings, "")), wrong


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


def weighted_items(
    array: pa.Array, separator: str | None, missing: Missing, of_map: bool = False
) -> tuple[pa.Array, Misfits]:
    """Values with weights, texts or maps -> list<string> of "value:weight".

    With `of_map` they are the entries of a map: each has a number, of any sign. A map
    may be a text, too, as JSON or Python writes it.
    """
    maps: dict[int, list] = {}
    if pa.types.is_map(array.type) or pa.types.is_struct(array.type):
        rows = [weighted.of_mapping(row) for row in array.to_pylist()]
        array = pa.array(rows, column_types.STRINGS)
    elif column_types.is_text(array.type) and missing is not None:
        maps = weighted.written_maps(single.utf8(array)[0])
    lists, wrong = items(array, separator, missing)
    if maps:
        rows = [maps.get(i, row) for i, row in enumerate(lists.to_pylist())]
        lists = pa.array(rows, column_types.STRINGS)
        wrong = {row: reason for row, reason in wrong.items() if row not in maps}
    values, weights = weighted.apart(lists.flatten(), "" if of_map else "1")
    lists, more = _joined(lists, values, weights, missing, of_map)
    return lists, {**more, **wrong}


def with_weights(
    array: pa.Array,
    weights: pa.Array,
    name: str,
    separator: str | None,
    missing: Missing,
) -> tuple[pa.Array, Misfits]:
    """Values, and their weights in the column `name` -> list<string> of both."""
    lists, wrong = items(array, separator, missing)
    numbers, more = items(weights, separator, ())
    wrong = {**more, **wrong}
    counts, given = _counts(lists), _counts(numbers)
    differ = (counts != given) & (counts > 0)
    for i in np.flatnonzero(differ):
        wrong.setdefault(
            int(i), f"{counts[i]} values, but {given[i]} weights in {name!r}"
        )
    keep = pa.array(np.repeat((counts > 0) & ~differ, given))
    nothing = pa.scalar(None, column_types.STRINGS)
    lists = pc.if_else(pa.array(differ), nothing, lists)
    written = numbers.flatten().filter(keep)
    lists, more = _joined(lists, lists.flatten(), written, missing)
    return lists, {**more, **wrong}


def numbers(
    array: pa.Array, separator: str | None, missing: Missing
) -> tuple[pa.Array, Misfits]:
    """Any column -> list<string> of numbers, "" where one is missing."""
    wrong: Misfits = {}
    if not column_types.is_list(array.type):
        array, wrong = items(array, separator, ())
    values, more = single.number(array.flatten(), missing or ())
    wrong = {**_by_row(more, _counts(array)), **wrong}
    written = pc.fill_null(texts.of(values), "")
    return column_types.with_items(array, written), wrong


def vectors(
    array: pa.Array, dim: int, separator: str | None, missing: Missing
) -> tuple[pa.Array, Misfits]:
    """Any column -> lists of `dim` float32; null where empty."""
    wrong: Misfits = {}
    if not column_types.is_list(array.type):
        array, wrong = items(array, separator, ())
    counts = _counts(array)
    values, more = single.number(array.flatten(), missing or ())
    wrong = {**_by_row(more, counts), **wrong}
    for i in np.flatnonzero((counts != 0) & (counts != dim)):
        given = f"{counts[i]} numbers where a vector of {dim} is expected"
        wrong.setdefault(int(i), given)
    kept = counts == dim
    values = pc.fill_null(values, np.nan).filter(pa.array(np.repeat(kept, counts)))
    offsets = np.append(0, np.cumsum(np.where(kept, counts, 0))).astype(np.int32)
    numbers = values.cast(pa.float32(), safe=False)
    mask = pa.array(~kept)
    return pa.ListArray.from_arrays(pa.array(offsets), numbers, mask=mask), wrong


def unequal(batch: pa.RecordBatch, side_fields: Mapping[str, str]) -> Misfits:
    """Rows whose lists of the same events have different lengths.

    Args:
        batch: The rows.
        side_fields: {column of lists: the one whose events it lists, too}.
    """
    misfits = {}
    for field, events in side_fields.items():
        counts, wanted = (
            pc.fill_null(pc.list_value_length(batch.column(name)), 0).to_numpy()
            for name in (field, events)
        )
        for row in np.flatnonzero((counts != wanted) & (counts > 0) & (wanted > 0)):
            misfits[int(row)] = (
                f"column {field!r}: {counts[row]} values, but {wanted[row]} in "
                f"{events!r}, whose side field it is"
            )
    return misfits


def _joined(
    lists: pa.Array,
    values: pa.Array,
    weights: pa.Array,
    missing: Missing,
    of_map: bool = False,
) -> tuple[pa.Array, Misfits]:
    """Lists of "value:weight" in place of those of as many items."""
    values, more = single.text(values, missing)
    joined, wrong = weighted.joined(values, weights, of_map)
    wrong = _by_row({**wrong, **more}, _counts(lists))
    return column_types.with_items(lists, joined), wrong


def _counts(lists: pa.Array) -> np.ndarray:
    """How many items each list has, int (rows,)."""
    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy()


def _by_row(of_items: Misfits, counts: np.ndarray) -> Misfits:
    """What is wrong with items, by the rows of the lists that they are in."""
    row = np.repeat(np.arange(len(counts)), counts)
    return {int(row[item]): reason for item, reason in of_items.items()}
