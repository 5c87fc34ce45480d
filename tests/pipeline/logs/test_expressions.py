"""Expressions: what they give row by row, and what they refuse."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from conftest import raw_config
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import config
from pipeline.config import expressions
from pipeline.logs import evaluation

_BATCH = pa.RecordBatch.from_pydict(
    {
        "watch": pa.array(["3", "10", "", "7"]),  # as a CSV has it
        "duration": pa.array([10.0, 10.0, 10.0, 0.0]),
        "event": pa.array(["like", "view", None, "like"]),
        "my rating": pa.array([1, None, 5, 4]),
    }
)
_NULL = None


def _values(text, batch=_BATCH):
    values, misfits = evaluation.Expression(text).values(batch)
    return [None if math.isnan(v) else v for v in values], misfits


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("watch > 0.5 * duration", [0, 1, _NULL, 1]),
        ("watch / duration", [0.3, 1.0, _NULL, _NULL]),  # by zero
        ("watch % 4 - -1", [4, 3, _NULL, 4]),
        ('column("my rating") >= 4', [0, _NULL, 1, 1]),
        ("5 < watch <= 7", [0, 0, _NULL, 1]),
        ("watch in (3, 7)", [1, 0, _NULL, 1]),
        ("watch not in [3, -7]", [0, 1, _NULL, 1]),
        ('event == "like"', [1, 0, _NULL, 1]),
        ('event != "like"', [0, 1, _NULL, 0]),
        ('event in ("view", "share")', [0, 1, _NULL, 0]),
        ('event == "like" and watch > 5', [0, 0, _NULL, 1]),
        ('event == "view" or watch > 5', [0, 1, _NULL, 1]),
        ("duration > 5 or watch > 5", [1, 1, _NULL, 1]),  # null in, null out
        ("not watch == 3", [0, 1, _NULL, 1]),
        ("is_null(event)", [0, 0, 1, 0]),
        ("is_null(watch + 1)", [0, 0, 1, 0]),
        ("coalesce(watch, 0) + 1", [4, 11, 1, 8]),
        ("duration if watch < 5 else watch", [10, 10, _NULL, 7]),
        ("watch if duration > 0 else duration", [3, 10, _NULL, 0]),
        ("min(watch, duration, 8)", [3, 8, _NULL, 0]),
        ("max(abs(-watch), 4)", [4, 10, _NULL, 7]),
        ("log1p(duration)", [math.log(11), math.log(11), math.log(11), 0]),
        ("True + (absent > 1 or is_null(absent))", [_NULL] * 4),
        ("is_null(absent)", [1] * 4),
    ],
)
def test_values(text, wanted):
    values, misfits = _values(text)
    assert not misfits
    assert values == pytest.approx(wanted)


def test_a_text_where_a_number_is_needed_is_a_misfit():
    values, misfits = _values("event + 1")
    assert values == [None] * 4
    assert misfits == {
        0: "column 'event': 'like' is not a number",
        1: "column 'event': 'view' is not a number",
        3: "column 'event': 'like' is not a number",
    }
    assert not _values("is_null(event) == 1")[1]  # of any type


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("watch >", "is not an expression"),
        ("", "is not an expression"),
        ("1 + 2", "must name a column"),
        ("__import__('os')", "no function '__import__'"),
        ("watch.real", "`watch.real` is not allowed"),
        ("watch[0]", "is not allowed"),
        ("(lambda: watch)()", "there is no function"),
        ("[x for x in watch]", "is not allowed"),
        ("watch ** 9", "is not allowed"),
        ("watch == None", "`None` is not allowed"),
        ("f'{watch}'", "is not allowed"),
        ("watch is 3", "compare by"),
        ("watch in duration", "compare by"),
        ("watch == (1, 2)", "compare by"),
        ("watch in (1, 'a')", "must list numbers only, or texts only"),
        ("watch in ()", "must list numbers only, or texts only"),
        ("watch in (1, duration)", "must list numbers only, or texts only"),
        ("event < 'like'", "a text is compared as"),
        ("'like' == event", "a text is compared as"),
        ("event + 'a'", "a text can only be compared"),
        ("min(watch)", "`min` takes two or more arguments"),
        ("abs(watch, 2)", "`abs` takes 1 arguments"),
        ("column(watch)", "takes a column's name"),
        ("-" * 5000 + "x", ""),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ValueError, match=None) as error:
        expressions.parse(text)
    assert message in str(error.value)


def test_a_config_names_the_place(tmp_path):
    path = tmp_path / "c.yaml"
    data = {"labels": {"long_view": "watch >"}}
    path.write_text(json.dumps(raw_config(data, tasks=["long_view"])))
    with pytest.raises(config.ConfigError, match="data.labels.long_view: 'watch >' is"):
        config.load(path)


_LEAVES = st.sampled_from(["a", "b", "2", "0.5", "-1"])


def _trees(inner):
    pairs = st.sampled_from("+ - * / < <= > >= == != and or".split())
    return st.one_of(
        st.tuples(inner, pairs, inner).map(lambda t: f"({' '.join(t)})"),
        inner.map(lambda x: f"(not {x})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        st.tuples(inner, inner).map(lambda t: f"coalesce({t[0]}, {t[1]})"),
    )


def _naive(node, row):
    """One row, one node at a time, by Python's own operators."""
    import ast
    import operator

    ops = {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Lt: operator.lt,
        ast.LtE: operator.le,
        ast.Gt: operator.gt,
        ast.GtE: operator.ge,
        ast.Eq: operator.eq,
        ast.NotEq: operator.ne,
    }
    match node:
        case ast.Name(id=name):
            return row[name]
        case ast.Constant(value=value):
            return float(value)
        case ast.UnaryOp(op=op, operand=operand):
            x = _naive(operand, row)
            if x is None:
                return None
            return float(not x) if isinstance(op, ast.Not) else -x
        case ast.IfExp(test=test, body=body, orelse=orelse):
            x = _naive(test, row)
            return None if x is None else _naive(body if x else orelse, row)
        case ast.Call(args=[a, b]):
            x = _naive(a, row)
            return _naive(b, row) if x is None else x
        case ast.BoolOp(op=op, values=parts):
            parts = [_naive(part, row) for part in parts]
            fold = all if isinstance(op, ast.And) else any
            return None if None in parts else float(fold(parts))
        case (
            ast.BinOp(left=a, op=op, right=b)
            | ast.Compare(left=a, ops=[op], comparators=[b])
        ):
            a, b = _naive(a, row), _naive(b, row)
            if a is None or b is None or (isinstance(op, ast.Div) and b == 0):
                return None
            return a / b if isinstance(op, ast.Div) else float(ops[type(op)](a, b))
    raise AssertionError(node)


_NUMBERS = st.one_of(st.none(), st.integers(-3, 3).map(float))


@settings(max_examples=150)
@given(
    st.recursive(_LEAVES, _trees, max_leaves=8).map(lambda t: f"{t} + 0 * a"),
    st.lists(st.tuples(_NUMBERS, _NUMBERS), min_size=1, max_size=6),
)
def test_any_expression_equals_a_loop(text, rows):
    batch = pa.RecordBatch.from_pydict(
        {n: pa.array([r[i] for r in rows], pa.float64()) for i, n in enumerate("ab")}
    )
    tree = expressions.parse(text)
    wanted = [_naive(tree, dict(zip("ab", row, strict=True))) for row in rows]
    values = _values(text, batch)[0]
    np.testing.assert_allclose(
        np.array(values, float), np.array(wanted, float), rtol=1e-12
    )
