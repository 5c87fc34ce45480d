"""Requests in row and column form, and what the caller is told of their faults."""

import numpy as np
import pytest

from serving.errors import ServingError
from serving.rest.predict_request import read_predict
from serving.rest.predict_response import write_predict

_TWO = {"age": "int64", "tags": "string"}
_ROW = {"age": 3, "tags": ["a", "b"]}


def test_rows_and_columns_give_the_same_tensors():
    rows, is_rows = read_predict({"instances": [_ROW, _ROW, _ROW]}, _TWO)
    columns, is_columns = read_predict(
        {"inputs": {"age": [3] * 3, "tags": [["a", "b"]] * 3, "unused": 1}}, _TWO
    )
    assert is_rows and not is_columns
    for name in _TWO:
        np.testing.assert_array_equal(rows[name], columns[name])
        assert rows[name].dtype == columns[name].dtype
    assert rows["age"].dtype == np.int64 and rows["tags"].shape == (3, 2)


@pytest.mark.parametrize(
    "value, dtype, expected",
    [
        ([1, 2.5], "float32", np.array([1, 2.5], np.float32)),
        ([1e300, 2**70], "float32", np.array([np.inf, 2.0**70], np.float32)),
        (7.5, "float64", np.array(7.5)),
        ([300, -1], "uint8", np.array([44, 255], np.uint8)),
        ([2**64 - 1], "uint64", np.array([2**64 - 1], np.uint64)),
        ([True, False], "bool", np.array([True, False])),
        ([], "int32", np.zeros(0, np.int32)),
        ([[], []], "float32", np.zeros((2, 0), np.float32)),
        (["é", {"b64": "AP8"}], "string", np.array(["é".encode(), b"\0\xff"], object)),
        (["\udcff"], "string", np.array([b"\xff"], object)),
    ],
)
def test_values_become_tensors_of_the_input_type(value, dtype, expected):
    tensors, _ = read_predict({"inputs": {"x": value}}, {"x": dtype})
    np.testing.assert_array_equal(tensors["x"], expected, strict=True)


@pytest.mark.parametrize(
    "value, dtype, message",
    [
        ([1, 2.0], "int32", "JSON Value: 2.0 Type: Number is not of expected type: "),
        ([2**31], "int32", "JSON Value: 2147483648 Type: Number is not of expected"),
        ([True], "int64", "JSON Value: true Type: True is not of expected type: int64"),
        (["1"], "float64", 'JSON Value: "1" Type: String is not of expected type: dou'),
        ([1], "string", "JSON Value: 1 Type: Number is not of expected type: string"),
        ([{"b64": 1}], "string", "not formatted correctly for base64 data"),
        ([{"b64": "*"}], "string", "Unable to base64 decode"),
        ([[1, 2], [3]], "int32", "unexpected size: 1 at level: 1 expected size: 2"),
        ([[1], 2], "int32", "JSON Value: 2 found at incorrect level: 2 in the JSON"),
        ([1, [2]], "int32", "Encountered list at unexpected level: 1 expected < 1"),
        ([1.0], "bfloat16", "Conversion of JSON Value: 1.0 to type: bfloat16"),
        (["\ud800"], "string", "The surrogate pair in string is invalid."),
        ([], "float16", "Cannot make a tensor of type float16 from []"),
    ],
)
def test_value_faults_are_explained(value, dtype, message):
    with pytest.raises(ServingError) as caught:
        read_predict({"inputs": value}, {"x": dtype})
    assert message in caught.value.message
    # In row form the same fault comes with the row that has it.
    with pytest.raises(ServingError) as caught:
        read_predict({"instances": [{"x": value}]}, {"x": dtype})
    assert caught.value.message.startswith("Failed to process element: 0 key: x of")
    assert message in caught.value.message


def test_tensors_of_too_many_dimensions_are_refused():
    value = 1
    for _ in range(1500):
        value = [value]
    with pytest.raises(ServingError, match="at most 32 dimensions. Received: 1500"):
        read_predict({"inputs": value}, {"x": "int32"})


@pytest.mark.parametrize(
    "document, message",
    [
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": 1, "instances": [1]}, "only one of 'inputs' or 'instances' keys"),
        ({"instances": {}}, "Expecting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [1]}, "instances is a plain list, but expecting list of obj"),
        ({"inputs": [1]}, "inputs is a plain value/list, but expecting an object"),
        ({"inputs": {"age": [1]}}, "Missing named input: tags in 'inputs' object."),
        ({"instances": [{"age": 1}]}, "keys must be equal to: age,tags"),
        ({"instances": [_ROW, 1]}, "Expecting object but got list at item 1 of input"),
        (
            {"instances": [_ROW, {**_ROW, "more": 1}]},
            "element: 1 key: more of 'instances' list. Error: INVALID_ARGUMENT: JSON "
            "object: does not have named input: more",
        ),
        (
            {"instances": [_ROW, {"age": 1, "tags": ["a"]}]},
            "element: 1 key: tags of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 2 but got: 1",
        ),
        (
            {"instances": [_ROW, {"age": 1, "tags": [["a", "b"]]}]},
            "Expecting shape [2] but got: [1,2]",
        ),
    ],
)
def test_request_faults_are_explained(document, message):
    with pytest.raises(ServingError) as caught:
        read_predict(document, _TWO)
    assert message in caught.value.message
    assert caught.value.http_status == 400


def test_rows_need_the_same_batch_of_one_or_more_in_every_output():
    one, two = np.zeros(1, np.float32), np.zeros((2, 1), np.float32)
    for outputs, message in (
        ({"y": one[0]}, "y has no shape information"),
        ({"y": one[:0]}, "Tensor name: y has invalid batch size: 0"),
        ({"x": one, "y": two}, "y has inconsistent batch size: 2 expecting: 1"),
    ):
        with pytest.raises(ServingError, match=message):
            write_predict(outputs, rows=True)
    assert write_predict({"y": one[:0]}, rows=False) == '{\n    "outputs": []\n}'
