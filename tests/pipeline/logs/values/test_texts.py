"""One value has one text, in every log, at the client and in the served graph."""

import io
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf
import text_rules
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.components.example_gen import splits
from pipeline.components.transform import text_graph
from pipeline.config.data import MISSING_WORDS
from pipeline.logs import formats
from pipeline.logs.values import casting, column_types, texts
from pipeline.logs.values.casting import Column
from serving.client.encoding import input_columns
from tfmtl.saved_model import example_parsing

ID = Column("id", "string", pa.string())
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
_CODES = pa.dictionary(pa.int8(), pa.string())
EXACT = {"float16": 2**11, "float32": 2**24, "float64": 2**53}


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _graph(raw):
    return text_graph.canonical({"id": raw}, MISSING_WORDS)["id"]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _parsed(examples):
    specs = {"id": tf.TensorSpec([None], tf.string)}
    return example_parsing.parse(examples, specs, {tf.string: ""})["id"]


@pytest.mark.parametrize("number", [0.0, 0.5, 1e-05])
@pytest.mark.parametrize("bits", [0x7C01, 0x7F800001, 0x7FF0000000000001])
def test_a_nan_that_signals_is_missing_without_a_warning(bits, number):
    width = {4: 16, 8: 32, 16: 64}[len(f"{bits:x}")]
    signals = np.array([bits], f"uint{width}").view(f"float{width}")
    values = np.append(np.full(9, number, signals.dtype), signals)
    written = str(int(number)) if number == 0 else str(number)
    assert texts.of(pa.array(values)).to_pylist() == [written] * 9 + [None]


def _logged(array):
    """The texts that ExampleGen makes of a column."""
    batch = pa.RecordBatch.from_arrays([array], ["id"])
    result, misfits = casting.cast(batch, [ID])
    assert not misfits
    return result.column(0).to_pylist()


def _served(raw):
    """The texts that the served graph makes of what is sent."""
    return [text.decode() or None for text in _graph(tf.constant(raw)).numpy()]


def _records(kind, values):
    records = []
    for value in values:
        record = tf.train.Example()
        if value is not None:
            getattr(record.features.feature["id"], kind).value.append(value)
        records.append(record.SerializeToString())
    return records


def _numbers(dtype):
    if dtype in INTEGERS:
        limits = np.iinfo(dtype)
        whole = st.integers(int(limits.min), int(limits.max))
        return whole.map(np.dtype(dtype).type)
    limit, width = EXACT[dtype], int(dtype[5:])
    whole = st.integers(1 - limit, limit - 1).map(float)
    # TensorFlow's kernels take subnormal numbers for zero.
    floats = st.floats(
        -limit,
        limit,
        width=width,
        exclude_min=True,
        exclude_max=True,
        allow_subnormal=False,
    )
    edges = st.sampled_from([0.0, -0.0, 0.2, 1e-4, 9.9e-5, 1e-5, 5.0, float("nan")])
    return (whole | floats | edges).map(np.dtype(dtype).type)


@pytest.mark.parametrize("dtype", [*INTEGERS, *EXACT])
def test_numbers(dtype):
    @settings(max_examples=60)
    @given(st.lists(_numbers(dtype), min_size=1, max_size=20))
    def check(values):
        array = np.array(values, dtype)
        wanted = [_text(value) for value in array]
        # Parquet, the plain type and in a dictionary.
        assert _logged(pa.array(array)) == wanted
        if dtype != "float16":
            assert _logged(pa.array(array).dictionary_encode()) == wanted
        # CSV, and the same texts in Parquet or sent to a server.
        column = pd.DataFrame({"id": array}).to_csv(index=False).split("\n")[1:-1]
        column = ["" if text == '""' else text for text in column]
        assert _logged(pa.array(column)) == wanted
        assert _served(column) == wanted
        plain = [str(value) for value in array]
        assert _logged(pa.array(plain)) == _served(plain) == wanted
        # JSON Lines, whose numbers have as many digits as are written.
        numbers = [None if text is None else json.loads(text) for text in wanted]
        lines = "".join(json.dumps({"id": number}) + "\n" for number in numbers)
        (chunk,) = formats.read_jsonl(io.BufferedReader(io.BytesIO(lines.encode())))
        assert _logged(chunk.rows.column("id")) == wanted
        # The client, with an array, a Series and a list of scalars.
        for data in (array, pd.Series(array), list(array)):
            sent = input_columns({"id": data}, {"id": {"dtype": "DT_STRING"}})["id"]
            assert _served(sent) == wanted

    check()


def _text(value):
    number = float(str(value))
    if np.isnan(number):
        return None
    return str(int(value)) if number.is_integer() else repr(number)


@pytest.mark.parametrize("kind", ["int64_list", "float_list", "bytes_list"])
def test_tf_examples(kind):
    values = {
        "int64_list": st.integers(-(2**63), 2**63 - 1),
        "float_list": _numbers("float32").map(float),
        "bytes_list": st.text(max_size=6).map(str.encode)
        | st.sampled_from([b"5.0", b"True", b"NA", b"007", b"1e+06"]),
    }[kind]

    @settings(max_examples=60)
    @given(st.lists(st.none() | values, max_size=12))
    def check(values):
        records = _records(kind, [*values, {"bytes_list": b"x"}.get(kind, 1)])
        chunks = list(formats._from_examples(records, [0] * len(records)))
        logged = _logged(chunks[0].rows.column("id"))
        parsed = _parsed(tf.constant(records)).numpy()
        assert _served(parsed) == logged

    check()


@settings(max_examples=300)
@given(
    st.text(max_size=6)
    | st.from_regex(r"-?[0-9]{1,3}(\.[0-9]{1,3})?(e[+-]?[0-9]{1,3})?", fullmatch=True)
    | st.sampled_from([*MISSING_WORDS, *texts.BOOLEANS, "none", "Na", "-0", "+5"])
)
@example("1.0\n")
@example("007.0")
@example("1.10")
@example("1e5")
@example("1.00000000005e+10")  # as Arrow writes it
@example("1.2345678901234567e+03")
def test_texts(text):
    if texts.lost_digits(pa.array([text])).size:
        return
    assert _logged(pa.array([text])) == _served([text]) == [text_rules.category(text)]


def test_booleans_decimals_and_what_is_missing():
    assert _logged(pa.array([True, False, None])) == ["true", "false", None]
    column = pd.DataFrame({"id": [True, False, None]}).to_csv(index=False).split("\n")
    assert _served(column[1:3]) == ["true", "false"]
    money = [Decimal("2.00"), Decimal("2.50"), Decimal("-0.00")]
    assert _logged(pa.array(money)) == ["2", "2.50", "0"]
    column = pd.DataFrame({"id": money}).to_csv(index=False).split("\n")[1:-1]
    assert _logged(pa.array(column)) == _served(column) == ["2", "2.50", "0"]
    small = pa.array([Decimal("0E-10"), Decimal("1E-7")], pa.decimal128(20, 10))
    assert _logged(small) == ["0", "0.0000001000"]
    assert _served(list(MISSING_WORDS)) == [None] * len(MISSING_WORDS)


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1.58e18]),
        pa.array([2.0**24], pa.float32()),
        pa.array([np.float16(2048)]),
        pa.array(["1.58e+18"]),
        pa.array(["9007199254740993.0"]),
    ],
)
def test_ids_that_have_lost_digits_are_misfits(array):
    batch = pa.RecordBatch.from_arrays([array], ["id"])
    _, misfits = casting.cast(batch, [ID])
    assert list(misfits) == [0] and "has lost digits" in misfits[0]
    # As a number, or where the config says so, it is one like others.
    for column in (Column("id", "float", pa.float64()), ID._replace(missing=None)):
        assert not casting.cast(batch, [column])[1]


def test_long_ids_in_other_types_keep_their_digits():
    large = 2**63 + 1
    assert _logged(pa.array([large], pa.uint64())) == [str(large)]
    assert _logged(pa.array([Decimal(f"{large}.00")])) == [str(large)]
    assert _logged(pa.array([f"{large}", f"{large}.00"])) == [str(large)] * 2


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_time_has_one_text_in_every_unit(unit):
    seconds = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    assert _logged(pa.array([7 * seconds], pa.duration(unit))) == ["7"]
    day = pa.array([27000 * seconds], pa.timestamp(unit))
    assert _logged(day) == ["1970-01-01 07:30:00"]
    for zone in ("UTC", "Asia/Tokyo"):
        there = day.cast(pa.timestamp(unit, zone))
        assert _logged(there) == ["1970-01-01 07:30:00Z"]
    if unit != "s":
        half = pa.array([27000 * seconds + seconds // 4], pa.timestamp(unit))
        assert _logged(half) == ["1970-01-01 07:30:00.25"]
    time = (pa.time32 if unit in ("s", "ms") else pa.time64)(unit)
    assert _logged(pa.array([27000 * seconds], time)) == ["07:30:00"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_duration_is_a_number_of_seconds(unit):
    array = pa.array([7, None], pa.duration("s")).cast(pa.duration(unit))
    batch = pa.RecordBatch.from_arrays([array], ["id"])
    cast, misfits = casting.cast(batch, [Column("id", "float", pa.float64())])
    assert cast.column(0).to_pylist() == [7.0, None] and not misfits


@pytest.mark.parametrize(
    "array",
    [
        pa.array([["a", "5.0"], None, []]),
        pa.array([["a", "5.0"], None, []], pa.large_list(pa.large_string())),
        pa.array([["a", "5.0"], None, []], pa.list_view(pa.string_view())),
        pa.array([["a", "5.0"], None, []], pa.list_(_CODES)),
        pa.array([["a", "5.0"], None, []], pa.list_(pa.binary())),
        pa.array([b"a|5.0", None, b""], pa.large_binary()),
    ],
)
def test_lists_of_every_kind_are_sequences(array):
    batch = pa.RecordBatch.from_arrays([array], ["id"])
    cast, misfits = casting.cast(
        batch, [Column("id", "list", column_types.STRINGS, "|")]
    )
    empty = None if array.type == pa.large_binary() else []
    assert cast.column(0).to_pylist() == [["a", "5"], None, empty] and not misfits


@pytest.mark.parametrize(
    ("kind", "nothing"),
    [("string", None), ("float", None), ("any", None), ("list", [""])],
)
def test_a_word_of_the_config_is_missing_in_columns_of_every_kind(kind, nothing):
    array = pa.array([["-"], ["5"]]) if kind == "list" else pa.array(["-", "5"])
    batch = pa.RecordBatch.from_arrays([array], ["id"])
    column = casting.column("id", kind, pa.string(), missing=("-",))
    cast, misfits = casting.cast(batch, [column])
    assert cast.column(0)[0].as_py() == nothing and not misfits
    assert cast.column(0)[1].as_py() is not None


def test_lists_of_a_fixed_size_with_missing_rows():
    array = pa.array([[1.0, 2.5], None, [3.0, None]], pa.list_(pa.float32(), 2))
    batch = pa.RecordBatch.from_arrays([array], ["id"])
    for kind in ("list", "own"):
        cast, _ = casting.cast(batch, [Column("id", kind, column_types.STRINGS)])
        assert cast.column(0).to_pylist() == [["1", "2.5"], None, ["3", ""]]


def test_equal_values_are_on_one_side_of_a_split_whatever_their_type():
    numbers = np.arange(200)
    of_integers = splits.by_share(splits.hashed([pa.array(numbers)]), 0.5, 0.2)
    for column in (
        pa.array(numbers.astype(float)),
        pa.array(numbers.astype(np.float32)),
        pa.array(numbers.astype(str)),
        pa.array(numbers.astype(str)).cast(pa.binary()),
    ):
        np.testing.assert_array_equal(
            splits.by_share(splits.hashed([column]), 0.5, 0.2), of_integers
        )
    for type_ in (pa.binary(), pa.large_binary()):
        no_text = pa.array([b"\xff", b"\xfe", None], type_)
        known = splits.by_share(splits.hashed([no_text]), 0.5, 0.2) >= 0
        assert known.tolist() == [True, True, False]


def test_integers_that_another_file_makes_floats_lose_no_digits_in_silence():
    column = Column("user", "any", pa.float64())
    batch = pa.RecordBatch.from_pydict({"user": [1, 2**53 + 1]})
    found, wrong = casting.cast(batch, [column])
    assert found.column(0)[0].as_py() == 1.0
    assert [*wrong] == [1] and "would lose its digits" in wrong[1]
