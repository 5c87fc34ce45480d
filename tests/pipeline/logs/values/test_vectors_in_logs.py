"""Vectors as logs of every format write them: lists, or texts."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.artifacts import examples
from pipeline.config.features import VectorFeature
from pipeline.logs.values import casting
from pipeline.statistics.columns import norms

FEATURE = VectorFeature(kind="vector", name="v", dim=2)
COLUMN = casting.column("v", "vector", pa.null(), ("NA",), None, FEATURE)


def _cast(values, type_=None):
    batch = pa.RecordBatch.from_arrays([pa.array(values, type_)], ["v"])
    rows, wrong = casting.cast(batch, [COLUMN])
    return rows.column(0), wrong


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([[1, 2], [], None, [3, 4]], None),
        ([[1.0, 2.0], [], None, [3.0, 4.0]], pa.large_list(pa.float16())),
        ([[1.0, 2.0], None, None, [3.0, 4.0]], pa.list_(pa.float64(), 2)),
        ([["1", "2.0"], [], None, ["3", "4"]], None),
        (["[1, 2.0]", "[]", "", "[3.0, 4]"], None),
        (["1|2", None, "", "3.0|4.0"], None),
    ],
)
def test_a_vector_is_a_list_or_a_text(values, type_):
    found, wrong = _cast(values, type_)
    assert not wrong and found.type == pa.list_(pa.float32())
    assert found.to_pylist() == [[1, 2], None, None, [3, 4]]


def test_what_is_no_vector_is_told():
    found, wrong = _cast([[1, 2, 3], [4], [5, 6], [7, None]])
    assert found.to_pylist()[:3] == [None, None, [5, 6]]
    assert [*wrong.items()] == [
        (0, "column 'v': 3 numbers where a vector of 2 is expected"),
        (1, "column 'v': 1 numbers where a vector of 2 is expected"),
    ]
    # Partly known: the model takes it for missing.
    np.testing.assert_array_equal(examples.vectors(found, 2)[2:], [[5, 6], [7, np.nan]])
    _, wrong = _cast(["1|x", "1,2", "[1 2 ...]", "[1 2]"])
    assert [*wrong] == [0, 1, 2] and "'x' is not a number" in wrong[0]
    assert "not a list as Python or JSON" in wrong[2]


def test_lengths_of_vectors_are_what_is_known_of_them():
    found, _ = _cast([[3, 4], None, [0, 0]])
    assert norms(found).to_pylist() == [5, 0]
    assert norms(_cast([None, None])[0]).to_pylist() == []
