"""Canary and skew: figures by hand, and the command against two versions."""

import json

import numpy as np
import pandas as pd
import pytest

from serving.__main__ import main
from serving.client import logged_rows
from serving.client.encoding import input_columns
from serving.compare import compare

_BATCH = {"dim": [{"size": "-1"}]}
INPUTS = {
    "user": {"dtype": "DT_STRING", "tensor_shape": _BATCH},
    "price": {"dtype": "DT_FLOAT", "tensor_shape": _BATCH},
    "seen": {
        "dtype": "DT_STRING",
        "tensor_shape": {"dim": [{"size": "-1"}, {"size": "2"}]},
    },
}


def test_scores_of_two_models():
    first = {"click": np.array([[0.1], [0.2], [0.3], [0.4]], np.float32)}
    second = {"click": np.array([[0.1], [0.3], [0.2], [0.8]], np.float32), "x": 1}
    found = compare.scores(first, second)["click"]
    assert found["mean_first"] == pytest.approx(0.25)
    assert found["mean_second"] == pytest.approx(0.35)
    assert found["mean_difference"] == pytest.approx(0.15)
    assert found["max_difference"] == pytest.approx(0.4)
    assert found["rank_correlation"] == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)


def test_distributions_of_features():
    logged = [
        {"user": "a", "price": 1.0, "seen": ["x", "y", "z"]},
        {"user": 7, "price": None, "seen": ["y"]},
        {"user": "a", "price": 2.0},
        {"user": "", "price": 9.0, "seen": []},
    ]
    training = [
        {"user": "a", "price": 1.0, "seen": ["y"]},
        {"user": "7", "price": 2.0, "seen": ["y"]},
    ]
    found = compare.features(logged, training, INPUTS)
    assert found["user"]["missing_first"] == 0.25
    assert found["user"]["distance"] == pytest.approx(2 / 3 - 1 / 2)
    assert found["price"]["missing_first"] == 0.25
    assert found["price"]["distance"] == pytest.approx(1 / 3)  # above 2: 1/3 and 0
    # Of a list its latest two count: y, z and y.
    assert found["seen"] == {
        "missing_first": 0.5,
        "missing_second": 0.0,
        "distance": pytest.approx(1 / 3),
    }


def test_rows_with_a_common_key():
    logged = [{"id": 1, "price": 0.1}, {"id": 2, "price": 2}, {"id": 3, "price": 3}]
    training = [{"id": "2", "price": 2.5}, {"id": "1", "price": float(np.float32(0.1))}]
    first, second = compare.joined(logged, training, "id")
    assert [row["id"] for row in first] == [1, 2]
    inputs = {"price": INPUTS["price"]}
    found = compare.mismatches(first, second, inputs)["price"]
    assert found == {"different": 0.5, "example": [1, [2.0], [2.5]]}
    floats = [{"id": 1.0}, {"id": "2"}]  # as pandas has ids with gaps
    assert len(compare.joined(floats, training, "id")[0]) == 2
    for wrong, message in (
        ([{"id": 1}, {"id": 1}], "id 1 stands twice in the first file"),
        ([{"x": 1}], "Row 0 of the first file has no 'id'"),
        ([{"id": 9}], "No value of 'id' is in both files"),
    ):
        with pytest.raises(ValueError, match=message):
            compare.joined(wrong, training, "id")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[1]", "a row is an object .*Received: 1"),
        ("a.json", "[", "must hold JSON"),
        ("a.jsonl", "\n", "holds no row"),
        (
            "a.jsonl",
            '{"inputs": {"a": [1, 2], "b": [1, 2, 3]}}',
            "'a' must have 1 or 3",
        ),
    ],
)
def test_files_that_are_no_rows(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        logged_rows.read(tmp_path / name)


def test_rows_of_a_parquet_file_have_the_values_of_its_types(tmp_path):
    frame = pd.DataFrame({"a": np.float32([0.2]), "b": [[1, 2]], "c": ["x"]})
    frame.to_parquet(tmp_path / "a.parquet")
    rows = logged_rows.read(tmp_path / "a.parquet")
    inputs = {name: {"dtype": "DT_STRING"} for name in "ac"}
    assert input_columns(rows, inputs) == {"a": ["0.2"], "c": ["x"]}
    assert list(rows[0]["b"]) == [1, 2]


def test_forms_of_logged_requests(tmp_path):
    file = tmp_path / "requests.jsonl"
    documents = [
        {"a": 1, "b": 2},
        {"signature_name": "x", "instances": [{"a": 3, "b": 4}]},
        {"inputs": {"a": [5], "b": [6, 7]}},  # as for `rank`
    ]
    file.write_text("\n".join(map(json.dumps, documents)))
    pairs = [(row["a"], row["b"]) for row in logged_rows.read(file)]
    assert pairs == [(1, 2), (3, 4), (5, 6), (5, 7)]


@pytest.fixture
def files(tmp_path):
    rows = [{"id": i, "user": "ab", "price": i, "history": ["x"]} for i in range(300)]
    logged, training = tmp_path / "logged.jsonl", tmp_path / "training.json"
    logged.write_text("\n".join(map(json.dumps, rows)))
    for row in rows[:3]:
        row["price"] += 0.5
    training.write_text(json.dumps(rows[::-1]))
    return str(logged), str(training)


def test_command_for_a_canary(server, files, capsys):
    model = server.url + "/v1/models/toy"
    command = ["compare", "--rows", files[0], "--model", model + "/versions/1"]
    canary = [*command, "--model", model + "/versions/2"]
    assert main(canary) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if " click " in x)
    # The versions differ by 1 in every score of a click.
    assert line.split()[1:] == ["150.5", "151.5", "1", "1", "1", "1"]
    assert main([*canary, "--max-difference", "0.5"]) == 1
    out = capsys.readouterr().out
    assert "above the limit: click: max_difference 1 > 0.5" in out
    assert "limit: watch" not in out  # nor NaN: its correlation has no limit
    same = [*command, "--model", model + "/labels/stable", "--max-difference", "0"]
    assert main(same) == 0
    for wrong, message in (
        (command, "once and --reference"),
        ([*canary, "--key", "id"], "--key joins the rows"),
        ([*command, "--model", "localhost"], "A model is given as http://"),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err


def test_command_for_skew(server, files, capsys):
    model = server.url + "/v1/models/toy/versions/1"
    command = [
        "compare", "--model", model, "--rows", files[0], "--reference", files[1],
    ]  # fmt: skip
    assert main([*command, "--max-distance", "0.01"]) == 0
    out = capsys.readouterr().out
    assert "price    0              0               0.003333" in out
    assert main([*command, "--key", "id", "--max-mismatches", "0"]) == 1
    out = capsys.readouterr().out
    assert "row 0: [0.0] and [0.5]" in out
    assert "above the limit: price: different 0.01 > 0" in out
    assert "click" in out and "limit: user" not in out
