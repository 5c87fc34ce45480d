"""Columns of any header, and fields of structs, under the names that a model knows."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_config

from pipeline.components.example_gen.component import example_gen
from pipeline.config.declarations import declare
from pipeline.errors import PipelineError
from pipeline.logs import files
from pipeline.logs.values import casting, nested

ROWS = 60
USERS = [f"u{i}" for i in range(ROWS)]


def _run(folder, config):
    (folder / "out").mkdir()
    example_gen(config, {}, {"examples": folder / "out"})
    shards = sorted(folder.glob("out/Split-*/*.parquet"))
    return pa.concat_tables([pq.read_table(s, partitioning=None) for s in shards])


def _write(folder, format, rows):
    if format == "csv":
        lines = [",".join(f'"{v}"' for v in row.values()) for row in rows]
        text = "\n".join([",".join(f'"{name}"' for name in rows[0]), *lines])
        (folder / "log.csv").write_text(text + "\n", encoding="utf-8")
    elif format == "jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "log.jsonl").write_text(text, encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(rows), folder / "log.parquet")


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_feature_may_be_a_column_of_any_header(format, tmp_path):
    rows = [
        {"用户 id": user, "Preis (€)": i / 2, "clic,k": i % 2, "rest": "x"}
        for i, user in enumerate(USERS)
    ]
    _write(tmp_path, format, rows)
    features = [
        {"name": "user", "kind": "categorical", "column": "用户 id"},
        {"name": "price", "kind": "numeric", "column": "Preis (€)"},
        # One column may be several features.
        {"name": "price_word", "kind": "categorical", "column": "Preis (€)"},
    ]
    data = {
        "logs": [f"{tmp_path}/log*"],
        "split": {"by": "hash", "column": "用户 id"},
        "where": 'column("Preis (€)") >= 1',
    }
    config = make_config(data, features, [{"name": "click", "label": "clic,k"}])
    assert not list(config.problems())
    table = _run(tmp_path, config)
    # The price is nothing but features; the user is the split's column, too.
    names = {"用户 id", "clic,k", "rest", "user", "price", "price_word"}
    assert set(table.column_names) == names | {"Preis (€)"}  # `where` reads it
    found = sorted(
        zip(
            *(table[n].to_pylist() for n in ("user", "price", "price_word")),
            strict=True,
        )
    )
    wanted = [(u, i / 2, f"{i / 2:g}") for i, u in enumerate(USERS) if i >= 2]
    assert found == sorted(wanted)
    declare(config)


def test_a_column_that_is_a_feature_of_another_name_only(tmp_path):
    rows = [{"user": u, "a b": i, "click": i % 2} for i, u in enumerate(USERS)]
    _write(tmp_path, "csv", rows)
    features = ["user", {"name": "ab", "kind": "numeric", "column": "a b"}]
    config = make_config({"logs": [f"{tmp_path}/log*"]}, features)
    assert set(_run(tmp_path, config).column_names) == {"user", "click", "ab"}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("a c", "features.1.name: 1 of 1 files have no column 'a c'. Did you mean"),
        ("click", "features.1.name: 'click' is the label"),
    ],
)
def test_a_column_that_may_not_be_one(column, message, tmp_path):
    rows = [{"user": u, "a b": i, "click": i % 2} for i, u in enumerate(USERS)]
    _write(tmp_path, "csv", rows)
    features = ["user", {"name": "ab", "kind": "numeric", "column": column}]
    config = make_config({"logs": [f"{tmp_path}/log*"]}, features)
    if problems := list(config.problems()):
        assert message in problems[0]
    else:
        with pytest.raises(PipelineError, match=message):
            _run(tmp_path, config)


def test_a_name_that_another_column_has(tmp_path):
    rows = [{"user": u, "ab": "x", "a b": i, "click": 1} for i, u in enumerate(USERS)]
    _write(tmp_path, "csv", rows)
    features = ["user", {"name": "ab", "kind": "numeric", "column": "a b"}]
    config = make_config({"logs": [f"{tmp_path}/log*"]}, features)
    with pytest.raises(PipelineError, match="'ab' is the column 'a b', and the logs"):
        _run(tmp_path, config)


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_a_path_reads_a_field_of_a_struct(format, tmp_path):
    """As a feature, a label, the split's column, in `where`, and as an action's key."""
    rows = [
        {
            "user": {"id": u, "at": {"age": i if i % 3 else None}},
            "ctx": {"n": i} if i else None,
            "out": {"click": i % 2},
            "tag": [u],
        }
        for i, u in enumerate(USERS)
    ]
    _write(tmp_path, format, rows)
    (tmp_path / "acts").mkdir()
    acts = [{"who": {"id": u}, "t": i} for i, u in enumerate(USERS[:30])]
    _write(tmp_path / "acts", format, acts)
    features = [
        {"name": "user.id", "kind": "categorical"},
        {"name": "age", "kind": "numeric", "column": "user.at.age"},
    ]
    action = {
        "name": "act", "logs": [f"{tmp_path}/acts/*"], "key": {"user.id": "who.id"},
        "time": "t", "window": 5,
    }  # fmt: skip
    data = {
        "logs": [f"{tmp_path}/log*"],
        "split": {"by": "hash", "column": "user.id"},
        "where": 'column("ctx.n") > 0',
        "time": "ctx.n",
        "actions": [{**action, "incomplete": "keep"}],
    }
    config = make_config(data, features, [{"name": "click", "label": "out.click"}])
    table = _run(tmp_path, config)
    rows = {row["user.id"]: row for row in table.to_pylist()}
    assert len(rows) == ROWS - 1
    ages = {u: float(i) if i % 3 else None for i, u in enumerate(USERS)}
    assert all(row["age"] == ages[user] for user, row in rows.items())
    assert all(row["out.click"] == int(user[1:]) % 2 for user, row in rows.items())
    assert sum(row["act"] for row in rows.values()) == 29


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_a_column_of_the_very_name_comes_first(format, tmp_path):
    rows = [{"user.id": "flat", "user": {"id": u}} for u in USERS]
    _write(tmp_path, format, rows)
    (source,) = files.find(
        [("", f"{tmp_path}/*", None)], make_config().data, ["user.id"]
    )
    (chunk,) = files.read(source)
    column = casting.column("user.id", "string", pa.null(), ())
    cast, _ = casting.cast(chunk.rows, [column])
    assert cast.column(0).unique().to_pylist() == ["flat"]


def test_types_at_paths():
    inner = pa.struct([("id", pa.int64()), ("at", pa.struct([("x", pa.string())]))])
    types = {"user": inner, "a.b": pa.bool_()}
    found = [
        nested.type_at(types, path)
        for path in ("user.id", "user.at.x", "a.b", "user.no", "user.id.x", "no.id")
    ]
    assert found == [pa.int64(), pa.string(), pa.bool_(), None, None, None]
    rows = pa.RecordBatch.from_pydict({"user": [{"id": 1}, None]})
    flat = nested.flat(rows, ["user.id", "user.no"])
    assert flat.to_pydict() == {"user": [{"id": 1}, None], "user.id": [1, None]}
    assert np.shape(flat) == (2, 2)
