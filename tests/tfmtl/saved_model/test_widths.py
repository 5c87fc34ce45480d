"""Lists of a request that are wider than the model's."""

import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl.saved_model import widths

FEATURES = [
    tfmtl.Categorical("item", vocabulary_size=9),
    tfmtl.Sequence("seen", of="item", max_length=3),
    tfmtl.NumericSequence("seconds", side_of="seen", max_length=3),
    tfmtl.Multivalued("tags", num_buckets=9, max_length=3, weights="tag_weights"),
]
SPECS = {
    "item": tf.TensorSpec((None,), tf.int64),
    "seen": tf.TensorSpec((None, 3), tf.int64),
    "seconds": tf.TensorSpec((None, 3), tf.float32),
    "tags": tf.TensorSpec((None, 3), tf.string),
    "tag_weights": tf.TensorSpec((None, 3), tf.float32),
}
NAN = np.nan


def _fit(**lists):
    given = {
        "item": [1, 1],
        "seen": np.zeros((2, 3), np.int64),
        "seconds": np.full((2, 3), NAN, np.float32),
        "tags": np.full((2, 3), ""),
        "tag_weights": np.full((2, 3), NAN, np.float32),
    } | lists
    given = {n: tf.constant(v, SPECS[n].dtype) for n, v in given.items()}

    @tf.function  # as it is exported
    def fit(inputs):
        missing = {tf.string: "", tf.float32: NAN}
        return widths.fit(inputs, SPECS, missing, FEATURES)

    return fit(given)


def test_a_side_field_is_cut_where_its_sequence_is():
    fitted = _fit(
        seen=[[1, 2, 3, 4, 0], [5, 0, 0, 0, 0]],
        seconds=[[1, 2, 3, NAN, NAN], [5, NAN, NAN, NAN, NAN]],
        tags=[["a", "b", "", ""], ["", "a", "b", "c"]],
        tag_weights=[[1, 2, 3, 4], [1, 2, NAN, NAN]],
    )
    np.testing.assert_array_equal(fitted["seen"], [[2, 3, 4], [5, 0, 0]])
    np.testing.assert_array_equal(fitted["seconds"], [[2, 3, NAN], [5, NAN, NAN]])
    texts = fitted["tags"].numpy().astype("U").tolist()
    assert texts == [["b", "", ""], ["a", "b", "c"]]
    np.testing.assert_array_equal(fitted["tag_weights"], [[2, 3, 4], [2, NAN, NAN]])


@pytest.mark.parametrize("width", [0, 1, 2, 3, 4, 9])
def test_padding_behind_does_not_matter(width):
    values = np.array([[1, 2, 3], [4, 0, 0]])
    wide = np.pad(values, [(0, 0), (0, max(width - 3, 0))])[:, :width]
    narrow = np.where(np.arange(3) < width, values, 0)
    np.testing.assert_array_equal(_fit(seen=wide)["seen"], narrow)


def test_lists_that_come_once_and_for_each_candidate():
    seconds = np.full((3, 4), 7.0)
    fitted = _fit(seen=[[1, 2, 3, 4]], seconds=seconds)
    np.testing.assert_array_equal(fitted["seen"], [[2, 3, 4]])
    np.testing.assert_array_equal(fitted["seconds"], seconds[:, 1:])


def test_no_rows():
    given = {name: np.zeros((0, 5)) for name in ("seen", "seconds", "tag_weights")}
    given["tags"] = np.zeros((0, 5), "U")
    fitted = _fit(**given, item=[])
    assert {n: tuple(rows.shape) for n, rows in fitted.items() if n != "item"} == (
        dict.fromkeys(given, (0, 3))
    )
