"""Columns of any Arrow type."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

UNITS = ("s", "ms", "us", "ns")
# Any bits are a value of each.
FIXED = [
    pa.bool_(), pa.int8(), pa.uint8(), pa.int16(), pa.int32(), pa.int64(), pa.uint64(),
    pa.float16(), pa.float32(), pa.float64(), pa.date32(), pa.date64(),
    *map(pa.timestamp, UNITS), pa.timestamp("s", "UTC"),
    pa.timestamp("ns", "Asia/Tokyo"),
    pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"),
    *map(pa.duration, UNITS), pa.binary(3), pa.binary(16),
    pa.month_day_nano_interval(),
]  # fmt: skip
TEXTS = [
    pa.string(), pa.large_string(), pa.string_view(),
    pa.binary(), pa.large_binary(), pa.binary_view(),
]  # fmt: skip
KINDS = [
    "null", "dictionary", "struct", "map", "list", "lists in lists", "fixed list",
    "large list", "list view",
]  # fmt: skip


@st.composite
def _values(draw, length):
    """Arrays of one value a row, of any bits where those are values."""
    type_ = draw(st.sampled_from([*FIXED, *TEXTS, pa.uuid(), pa.decimal128(9, 2)]))
    if type_ in TEXTS:
        each = st.binary(max_size=3) | st.sampled_from([b"1", b"true", b"2024-01-01"])
        array = pa.array(draw(st.lists(each, min_size=length, max_size=length)))
        array = array.cast(pa.binary())
        if "string" in str(type_):
            array = array.view(pa.string())  # which does not look whether they are some
        return array.cast(type_)
    if pa.types.is_decimal(type_):
        return pa.array([Decimal(i) / 4 for i in range(length)], type_)
    size = max(type_.bit_width // 8, 1) * length
    buffer = pa.py_buffer(draw(st.binary(min_size=size, max_size=size)))
    if type_ == pa.uuid():
        storage = pa.Array.from_buffers(pa.binary(16), length, [None, buffer])
        return pa.ExtensionArray.from_storage(type_, storage)
    return pa.Array.from_buffers(type_, length, [None, buffer])


@st.composite
def arrays(draw, rows):
    """Arrays of any type, of which Parquet can hold most; of values of any bits."""
    kind = draw(st.sampled_from([*["value"] * 6, *KINDS]))
    if kind == "null":
        return pa.nulls(rows)
    counts = [1] * rows
    if kind in ("list", "large list", "list view", "lists in lists"):
        counts = draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))
    items = draw(_values(sum(counts)))
    offsets = np.append(0, np.cumsum(counts)).astype(np.int32)
    if kind == "dictionary":
        indices = pa.array([*range(rows - 1), None], pa.int8())
        return pa.DictionaryArray.from_arrays(indices, items)
    if kind == "struct":
        return pa.StructArray.from_arrays([items], ["a"])
    if kind == "map":
        keys = pa.array([f"k{i}" for i in range(rows)])
        return pa.MapArray.from_arrays(offsets, keys, items)
    if kind == "fixed list":
        mask = pa.array([i % 3 == 0 for i in range(rows)])
        return pa.FixedSizeListArray.from_arrays(items, 1, mask=mask)
    if kind == "large list":
        return pa.LargeListArray.from_arrays(offsets.astype(np.int64), items)
    if kind == "list view":
        sizes = pa.array(counts, pa.int32())
        return pa.ListViewArray.from_arrays(pa.array(offsets[:-1]), sizes, items)
    if kind in ("list", "lists in lists"):
        items = pa.ListArray.from_arrays(offsets, items)
    if kind == "lists in lists":
        return pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32), items)
    return items
