"""Values with weights, as logs of every format write them."""

import io

import pyarrow as pa
import pytest
import tensorflow as tf

from pipeline.components.transform import text_graph
from pipeline.config.features import LookupFeature, MultivaluedFeature
from pipeline.logs.formats import read_jsonl
from pipeline.logs.values import casting
from pipeline.statistics.columns import unweighted


def _cast(columns, **more):
    more = more or {"weighted": True}
    feature = MultivaluedFeature(kind="multivalued", name="tags", **more)
    column = casting.column("tags", "weighted", pa.null(), ("NA",), None, feature)
    batch = pa.RecordBatch.from_pydict(columns)
    rows, wrong = casting.cast(batch, [column])
    return rows.column(0), wrong


MAP = pa.array([[("5", 0.5), ("a", 1)], [], None], pa.map_(pa.string(), pa.float64()))


@pytest.mark.parametrize(
    "values",
    [
        [["5:0.5", "a"], [], None],
        [["5.0:.5", "a:1.00"], [], None],
        ["5:0.5|a:1", "", None],
        ["['5:0.5', 'a:1']", "[]", None],
        ['{"5": 0.5, "a": 1}', "{}", None],
        ["{'5': 0.5, 'a': 1, 'b': None}", "{}", None],
        MAP,
        [{"5": 0.5, "a": 1}, {"5": None, "a": None}, None],
    ],
)
def test_values_are_written_with_their_weights(values):
    found, wrong = _cast({"tags": values})
    assert not wrong
    lists = [row or [] for row in found.to_pylist()]
    assert lists == [["5:0.5", "a:1"], [], []]
    assert unweighted(found).to_pylist() == ["5", "a"]


@pytest.mark.parametrize("first", ['["5:0.5", "a:1"]', '{"5": 0.5, "a": 1.0}'])
@pytest.mark.parametrize("last", ['["b"]', '{"b": 1}', "null"])
def test_each_row_of_json_lines_is_read_by_itself(first, last):
    lines = [first, "{}", "[]", "null", last]
    text = "".join(f'{{"tags": {tags}}}\n' for tags in lines)
    chunk = next(read_jsonl(io.BufferedReader(io.BytesIO(text.encode()))))
    found, wrong = _cast({"tags": chunk.rows.column("tags")})
    assert not wrong
    lists = [row or [] for row in found.to_pylist()]
    assert lists == [["5:0.5", "a:1"], [], [], [], [] if last == "null" else ["b:1"]]


@pytest.mark.parametrize(
    ("values", "weights"),
    [
        ([["5", "a"], [], None], [[0.5, 1], [], None]),
        (["5|a", "", None], ["0.5|1.0", "", "3"]),
        (pa.array([[5, 7], [], None]), ["[0.5, 1]", None, None]),
    ],
)
def test_weights_in_a_column_of_their_own(values, weights):
    found, wrong = _cast({"tags": values, "w": weights}, weights="w")
    assert not wrong
    first, *others = (row or [] for row in found.to_pylist())
    assert first[0] == "5:0.5" and first[1][1:] == ":1" and others == [[], []]


def test_a_single_value_has_a_single_weight():
    found, wrong = _cast({"tags": [5, 7, None], "w": [0.1754, 0.0, 0.0]}, weights="w")
    assert not wrong
    assert [row or [] for row in found.to_pylist()] == [["5:0.1754"], ["7:0"], []]


def test_what_does_not_fit_is_told():
    found, wrong = _cast({"tags": ["a:0.5|b:x", "c:-1", "d:inf", "e:2"]})
    assert [*wrong] == [0, 1, 2] and found.to_pylist()[3] == ["e:2"]
    assert wrong[1] == "column 'tags': '-1': a weight must be a number >= 0"
    columns = {"tags": [["a", "b"], ["c"], ["d"]], "w": [[1.0], [1.0, 2], None]}
    found, wrong = _cast({**columns}, weights="w")
    assert wrong == {
        i: f"column 'tags': {n} values, but {w} weights in 'w'"
        for i, (n, w) in enumerate([(2, 1), (1, 2), (1, 0)])
    }


def test_a_number_that_is_too_large_is_no_weight():
    found, wrong = _cast({"tags": ["a:1e39", "b:1e30"]})
    assert [*wrong] == [0] and found.to_pylist()[1] == ["b:1e+30"]


def test_an_entry_of_a_map_has_a_number():
    feature = LookupFeature(kind="lookup", name="rates", key="tab")
    column = casting.column("rates", "map", pa.null(), ("NA",), None, feature)
    texts = ["a:-2|b:0.5", "feed", "c:nan", "", "NA"]
    batch = pa.RecordBatch.from_pydict({"rates": texts})
    rows, wrong = casting.cast(batch, [column])
    assert rows.column(0).to_pylist()[0] == ["a:-2", "b:0.5"]
    assert wrong == {
        i: f"column 'rates': {key} has the number {n}; write entries as in 'a:0.5'"
        for i, key, n in [(1, "'feed'", "''"), (2, "'c'", "'nan'")]
    }
    texts = tf.constant(["a:-2", "feed", ""])
    values, numbers = text_graph.weighted(texts, of_map=True)
    assert values.numpy().tolist() == [b"a", b"", b""]
    assert numbers.numpy().tolist() == [-2, 0, 0]


def test_the_graph_takes_them_apart():
    texts = tf.constant([["a:0.5", "x:y:2e-1", "b"], ["c:x", "d:-1", ""]])
    values, weights = text_graph.weighted(texts)
    assert values.numpy().tolist() == [[b"a", b"x:y", b"b"], [b"", b"", b""]]
    tf.debugging.assert_near(weights, [[0.5, 0.2, 1], [0, 0, 0]])
