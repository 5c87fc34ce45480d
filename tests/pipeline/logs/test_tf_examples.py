"""Whatever tf.Examples hold, their columns hold the same."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.logs import tf_examples

_KIND = st.sampled_from(["bytes_list", "float_list", "int64_list"])
_VALUES = {
    "bytes_list": st.binary(max_size=4),
    "float_list": st.floats(width=32, allow_nan=False),
    "int64_list": st.integers(-(2**63), 2**63 - 1),
}
# None: a feature without a list.
_FEATURE = st.none() | _KIND.flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(_VALUES[kind], max_size=3))
)
_ROW = st.dictionaries(st.sampled_from(["a", "b", "ü"]), _FEATURE)
_DAMAGED = st.just(b"damaged")


def _serialized(row):
    record = tf.train.Example()
    for name, value in row.items():
        feature = record.features.feature[name]
        if value is not None:
            kind, values = value
            getattr(feature, kind).SetInParent()
            getattr(feature, kind).value.extend(values)
    return record.SerializeToString()


@settings(max_examples=150)
@given(st.lists(_ROW | _DAMAGED, min_size=1, max_size=12))
@example([{"a": ("int64_list", [1])}, {"a": ("bytes_list", [b"\xff"])}] * 2)
@example([{"a": ("int64_list", [])}, {"a": None}, {}, {"a": ("int64_list", [5])}])
@example([{}, b"damaged", {}])
def test_decode(rows):
    records = [row if isinstance(row, bytes) else _serialized(row) for row in rows]
    batches, errors = tf_examples.decode(records)
    assert set(errors) == {i for i, row in enumerate(rows) if row == b"damaged"}
    places = [place for of_batch, _ in batches for place in of_batch]
    assert places == [i for i in range(len(rows)) if i not in errors]
    found = [row for _, batch in batches for row in batch.to_pylist()]
    for place, row in zip(places, found, strict=True):
        lists = {name: value[1] for name, value in rows[place].items() if value}
        assert {name: v for name, v in row.items() if v is not None} == lists


def test_records_of_one_kind_each_are_one_batch():
    rows = [{"b": ("bytes_list", [b"x"])}, {"a": ("float_list", [1.0]), "c": None}]
    ((places, batch),), _ = tf_examples.decode([_serialized(row) for row in rows])
    np.testing.assert_array_equal(places, [0, 1])
    assert batch.schema.names == ["a", "b", "c"]
    types = ["large_list<item: float>", "large_list<item: large_binary>", "null"]
    assert [str(type_) for type_ in batch.schema.types] == types


@pytest.mark.parametrize("kinds", [2, 3])
def test_runs_of_other_kinds_are_a_batch_each(kinds):
    row = [("int64_list", [7]), ("float_list", [0.5]), ("bytes_list", [b"x"])]
    records = [_serialized({"a": value}) for value in row[:kinds] for _ in range(5)]
    batches, _ = tf_examples.decode(records)
    assert [len(places) for places, _ in batches] == [5] * kinds
