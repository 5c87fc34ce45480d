"""Reading and writing JSON as TF Serving does, without a server."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import ServingError
from serving.rest.json_reader import parse
from serving.rest.json_tensor import to_tensor
from serving.rest.json_writer import decimals, tensor_texts, value_text

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.integers(-(10**15), 10**15).map(lambda number: number / 1000)
    | st.sampled_from([math.inf, -math.inf])
    | _TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
    max_leaves=8,
)
_MARK = b"\xef\xbb\xbf"  # a byte order mark, which orjson refuses


@settings(max_examples=100)
@given(_JSON, st.booleans())
def test_what_orjson_refuses_is_read_as_python_reads_it(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=1)
    assert parse(_MARK + text.encode()) == value


@settings(max_examples=300, deadline=None)
@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)
def test_what_orjson_refuses_has_all_digits_but_the_last(double, single):
    found = parse(_MARK + f"[{double!r}, {single!r}]".encode())
    assert abs(found[0] - double) <= 3 * math.ulp(double)
    assert np.float32(found[1]) == single


@pytest.mark.parametrize("beside", ["1", "NaN", "Inf"])  # for each of the parsers
@pytest.mark.parametrize("row", ['{"a": 3, "a": 4}', '{"b": ":", "a": 3, "a": 4}'])
def test_of_a_key_that_comes_twice_the_first_counts(beside, row):
    found = parse(f'{{"instances": [{row}], "c": {beside}, "c": 0}}'.encode())
    assert found["instances"][0]["a"] == 3 and found["c"] != 0


def test_what_strict_parsers_refuse_is_read():
    value = parse(b'{"a": [NaN, Inf, -Infinity, -NaN], "b": 1} ignored')
    assert math.isnan(value["a"][0]) and math.isnan(value["a"][3])
    assert value["a"][1:3] == [math.inf, -math.inf]
    assert value["b"] == 1
    assert parse(b'[1, "]", ' + b"[" * 5000 + b"]" * 5000 + b", 2]")[3] == 2
    assert parse(b'\xef\xbb\xbf{"a": Inf}') == {"a": math.inf}
    assert parse(b' "\xff" ]').encode("utf-8", "surrogateescape") == b"\xff"


@pytest.mark.parametrize(
    "body, fault, offset",
    [
        (b"  ", "The document is empty.", 2),
        (b'{"a": [1,]}', "Invalid value.", 9),
        (b'{"a": nan}', "Invalid value.", 7),
        (b'{"a" 1}', "Missing a colon after a name of object member.", 5),
        (b'{"a": 1 "b"}', "Missing a comma or '}' after an object member.", 8),
        (b"[1 2]", "Missing a comma or ']' after an array element.", 3),
        (b"{1: 2}", "Missing a name for object member.", 1),
        (b"[1.]", "Miss fraction part in number.", 3),
        (b"[1e]", "Miss exponent in number.", 3),
        (b"[1e-]", "Miss exponent in number.", 4),
        (b"[1e999, nan]", "Number too big to be stored in double.", 1),
        (b'{"a": [1, 1E+400]}', "Number too big to be stored in double.", 10),
        (b"[-Nan]", "Invalid value.", 4),
        (b"[Infinit]", "Invalid value.", 8),
        (b"[In]", "Invalid value.", 3),
        (b"\0", "The document is empty.", 0),
        (b'["ab', "Missing a closing quotation mark in string.", 4),
        (b'["a\\x"]', "Invalid escape character in string.", 3),
        (b'["\\u12"]', "Incorrect hex digit after \\u escape in string.", 2),
        (b'["\\ud800", nan]', "The surrogate pair in string is invalid.", 2),
        (b'["a\nb"]', "Invalid encoding in string.", 3),
        (b"1. 2", "Miss fraction part in number.", 2),
        (b'["\xff\xc3\xa9" 1]', "Missing a comma or ']' after an array element.", 7),
        (_MARK + b"[1 2]", "Missing a comma or ']' after an array element.", 6),
        (b"[" + b"[" * 2000 + b"]" * 2000 + b", nan]", "Invalid value.", 4004),
        (
            b"[" * 2000 + b'"' + b'\\"' * 10**5,
            "Missing a comma or ']' after an array element.",
            202001,
        ),
        (b"[" * 2000, "Missing a comma or ']' after an array element.", 2000),
    ],
)
def test_faults_name_their_offset(body, fault, offset):
    with pytest.raises(ServingError) as caught:
        parse(body)
    assert caught.value.message == f"JSON Parse error: {fault} at offset: {offset}"


@settings(max_examples=300)
@given(st.floats(width=32) | st.sampled_from([0.1, 1e20, -0.0]))
def test_float32_survives_the_text_and_looks_like_a_float(value):
    value = np.float32(value)
    (text,) = decimals(np.array([value]))
    assert not text.lstrip("-").isdigit()
    np.testing.assert_equal(np.float32(json.loads(text)), value)


@settings(max_examples=300)
@given(st.floats(allow_nan=False))
def test_float64_survives_the_text(value):
    assert json.loads(decimals(np.array([value]))[0]) == value


@pytest.mark.parametrize("before, after", [(b"", b""), (_MARK, b""), (b"", b"\xff")])
def test_integers_beyond_64_bits_become_doubles(before, after):
    def quoted(text):
        return value_text(parse(before + text + after))

    assert quoted(b"%d" % (2**64 - 1)) == "18446744073709551615"
    assert quoted(b"%d" % 10**20) == "1e+20"
    assert quoted(b"[%d, %d]" % (2**64, -(2**63) - 1)) == (
        "[18446744073709552000.0, -9223372036854776000.0]"
    )


def test_integers_beyond_any_double_are_refused():
    with pytest.raises(ServingError, match="Number too big"):
        parse(b"%d" % 10**400)


def test_numbers_that_look_large_and_are_not_are_read():
    assert parse(b'{"id": "e123", "x": 1e-400, "y": 1E+100}') == {
        "id": "e123", "x": 0.0, "y": 1e100,
    }  # fmt: skip


def test_layout_on_one_line_and_on_many():
    matrix = np.array([[1, 2], [3, 4]])
    assert tensor_texts(matrix, 1) == ["[[1, 2], [3, 4]]"]
    assert tensor_texts(matrix, 1, keep=1) == ["[1, 2]", "[3, 4]"]
    (text,) = tensor_texts(np.array([7]), 1, one_line=False)
    assert text == "[\n        7\n    ]"
    assert tensor_texts(np.zeros((2, 0, 3)), 1) == ["[[], []]"]
    assert value_text(3.4028235677973366e38) == "3.4028235677973366e+38"
    assert value_text({"a": [1, {}]}) == '{\n    "a": [1, {}]\n}'


def _naive(value, digits):
    text = f"{float(value):.6g}"
    if type(value)(float(text)) != value:
        text = f"{float(value):.{digits}g}"
    return text if "." in text or "e" in text else text + ".0"


@pytest.mark.parametrize("dtype, digits", [(np.float32, 9), (np.float64, 17)])
def test_as_few_digits_as_read_back_the_same_but_six(dtype, digits):
    random = np.random.default_rng(0)
    long = random.lognormal(0, 18, 3000) * random.choice([-1, 1], 3000)
    short = [float(f"{value:.{n}g}") for value in long[:1000] for n in (1, 5, 6, 7)]
    edges = [10.0**n for n in range(-37, 38)] + [0.0, -0.0, 1e-40, 999999.5, 3e38]
    values = np.array([*long, *short, *edges]).astype(dtype)
    values = values[np.isfinite(values)]
    near = np.nextafter(values, dtype(0))
    values = np.concatenate([values, near])
    assert decimals(values) == [_naive(value, digits) for value in values]


def test_strings_that_hold_what_is_put_between_them():
    texts = ["a", "", "b\0c", "é", "\udcff"]
    expected = [b"a", b"", b"b\0c", "é".encode(), b"\xff"]
    assert to_tensor(texts, "string").tolist() == expected
    assert to_tensor(texts[:2] + texts[3:], "string").tolist() == [
        *expected[:2],
        *expected[3:],
    ]
