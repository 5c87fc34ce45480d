"""tf.Examples whose values stand in any of the three lists."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import tfmtl
from tfmtl.saved_model import example_parsing

SPECS = {
    "user": tf.TensorSpec([None], tf.string),
    "price": tf.TensorSpec([None], tf.float32),
    "item": tf.TensorSpec([None], tf.int64),
    "seen": tf.TensorSpec([None, 3], tf.string),
    "ids": tf.TensorSpec([None, 2], tf.int64),
}
MISSING = {tf.string: "", tf.float32: float("nan")}


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _parse(examples):
    return example_parsing.parse(examples, SPECS, MISSING)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _decode(examples):
    return example_parsing._decoded(examples, SPECS, MISSING)


def _record(**features):
    record = tf.train.Example()
    for name, values in features.items():
        kinds = {bytes: "bytes_list", float: "float_list", int: "int64_list"}
        feature = record.features.feature[name]
        for value in values:
            getattr(feature, kinds[type(value)]).value.append(value)
    return record.SerializeToString()


def _parsed(*records):
    found = _parse(tf.constant(records, tf.string))
    return {name: array.numpy().tolist() for name, array in found.items()}


def test_every_kind_of_list_is_read():
    found = _parsed(
        _record(user=[b"5"], price=[1.5], item=[3], seen=[b"a", b"b"], ids=[1, 2, 3]),
        _record(user=[5], price=[7], item=[3.0], seen=[1, 2, 3, 4], ids=[1.0]),
        _record(user=[0.2], price=[b"2.5"], item=[b"3"], seen=[0.5], ids=[b"9"]),
        _record(price=[b"true"], user=[16777216.0], seen=[]),
        b"",
    )
    nan = found["price"].pop()
    assert nan != nan
    assert found == {
        "user": [b"5", b"5", b"0.2", b"", b""],  # 2^24 as a float has lost digits
        "price": [1.5, 7.0, 2.5, 1.0],
        "item": [3, 3, 3, 0, 0],
        "seen": [
            [b"a", b"b", b""],
            [b"2", b"3", b"4"],
            [b"0.5", b"", b""],
            [b""] * 3,
            [b""] * 3,
        ],
        "ids": [[2, 3], [1, 0], [9, 0], [0, 0], [0, 0]],
    }


@pytest.mark.parametrize("record", [_record(), _record(user=[5]), _record(other=[1])])
def test_none_and_one(record):
    assert [len(values) for values in _parsed().values()] == [0] * 5
    assert [len(values) for values in _parsed(record).values()] == [1] * 5


_ANY = st.binary(max_size=9) | st.integers(-9, 9) | st.floats(-9, 9, width=32)


@settings(max_examples=150)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "user": st.lists(_ANY, min_size=1, max_size=1),
                "seen": st.lists(st.binary(max_size=40), max_size=9)
                | st.lists(st.integers(0, 2**40), max_size=40)
                | st.lists(st.just(0.5), max_size=40),
                "item": st.lists(st.integers(-9, 9) | st.just(2.0), max_size=1),
                "other": st.lists(st.binary(max_size=40), max_size=3),
            },
        ),
        max_size=4,
    )
)
def test_the_quick_way_is_taken_only_where_it_leads_to_the_same(rows):
    records = tf.constant([_record(**row) for row in rows], tf.string)
    decoded = _decode(records)
    for name, array in _parse(records).items():
        np.testing.assert_array_equal(array, decoded[name])


@pytest.mark.parametrize("length", [1, 15, 16, 17, 61, 62, 63, 126, 127, 128, 5000])
@pytest.mark.parametrize("value", [1, 300, 0.5])
def test_long_lists_of_another_kind_are_noticed(length, value):
    (seen,) = _parsed(_record(seen=[value] * length))["seen"]
    text = str(value).encode()
    assert seen == [text] * min(length, 3) + [b""] * (3 - min(length, 3))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (_record(user=[5])[:-1], "Could not parse example input"),
        (_record(user=[5, 6]), "one value is taken of each of"),
        (_record(price=[b"cheap"]), "could not correctly convert string: cheap"),
        (_record(item=[3.5]), "could not correctly convert string: 3.5"),
        (_record(item=[b"a"]), "could not correctly convert string: a"),
    ],
)
def test_what_does_not_fit_is_the_callers_error(record, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        _parsed(record)


def test_a_model_without_transform_takes_ids_of_every_kind(tmp_path):
    features = [
        tfmtl.Categorical("user", vocabulary_size=9),
        tfmtl.Numeric("price"),
        tfmtl.Sequence("seen", of="user", max_length=3),
    ]
    model = tfmtl.models.get("shared_bottom")(
        features=features, tasks=[tfmtl.Task("click")]
    )
    tfmtl.export(model, tmp_path / "m")
    ask = tf.saved_model.load(str(tmp_path / "m")).signatures["examples"]
    records = [
        _record(user=[5], price=[2.0], seen=[1, 2]),
        _record(user=[5.0], price=[2], seen=[1.0, 2.0]),
        _record(user=[b"5"], price=[b"2"], seen=[b"1", b"2"]),
    ]
    found = ask(examples=tf.constant(records))["click"].numpy()
    inputs = {"user": [5], "price": [2.0], "seen": [[1, 2, 0]]}
    wanted = model({name: np.array(value) for name, value in inputs.items()})
    np.testing.assert_allclose(found, np.repeat(wanted["click"], 3, 0), rtol=1e-5)
