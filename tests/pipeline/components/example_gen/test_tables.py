"""Columns of tables of users and items, by key, in every format and role."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_config
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.components.example_gen.component import example_gen
from pipeline.errors import PipelineError
from pipeline.logs import files, static_tables, table_files
from pipeline.logs.values import casting

ROWS = 90


def _write(path, rows):
    if path.suffix == ".csv":
        lines = [",".join(rows[0]), *(",".join(map(str, r.values())) for r in rows)]
        path.write_text("\n".join(lines) + "\n")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def _config(folder, format, features, **more):
    log = [{"user": i % 30, "item": i % 7, "click": i % 2} for i in range(ROWS)]
    users = [{"id": float(i), "age": i, "tab": f"t{i % 3}"} for i in range(29)]
    users.append({"id": 3.0, "age": 333, "tab": "new"})  # a later row of user 3
    items = [
        {"item": i, "tab": f"t{t}", "price": i + t} for i in range(7) for t in (0, 1)
    ]
    data = {
        "logs": [_write(folder / f"log.{format}", log)],
        "tables": [
            {
                "name": "users",
                "logs": _write(folder / f"u.{format}", users),
                "key": {"user": "id"},
            },
            {
                "name": "items",
                "logs": _write(folder / f"i.{format}", items),
                "key": {"item": "item", "users.tab": "tab"},
            },
        ],
        **more,
    }
    return make_config(data, ["user", *features])


def _run(config, folder):
    (folder / "out").mkdir()
    summary = example_gen(config, {}, {"examples": folder / "out"})
    shards = sorted(folder.glob("out/Split-*/*.parquet"))
    tables = [pq.read_table(s, partitioning=None) for s in shards]
    return summary, pa.concat_tables(tables).to_pylist()


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_row_has_the_columns_of_its_user_and_item(format, tmp_path):
    features = [
        {"name": "age", "kind": "numeric", "column": "users.age"},
        {"name": "users.tab", "kind": "categorical"},
    ]
    config = _config(tmp_path, format, features, where='column("users.age") >= 2')
    assert not list(config.problems())
    summary, rows = _run(config, tmp_path)
    # Users 0, 1 are too young; 29 is in no table, so its age is not known.
    assert summary["filtered"] == 9 and summary["dead"] == 0
    for row in rows:
        user = int(row["user"])
        assert row["age"] == (333 if user == 3 else user)
        assert row["users.tab"] == ("new" if user == 3 else f"t{user % 3}")
        assert set(row) == {"user", "item", "click", "age", "users.tab"} | (
            {"users.age"}  # `where` reads it
        )


def test_a_key_of_several_columns_and_one_from_another_table(tmp_path):
    prices = [{"name": "price", "kind": "numeric", "column": "items.price"}]
    tabs = [{"name": "users.tab", "kind": "categorical"}]
    config = _config(tmp_path, "parquet", [*tabs, *prices])
    _, rows = _run(config, tmp_path)
    found = {(int(r["user"]), int(r["item"])): r["price"] for r in rows}
    for (user, item), price in found.items():
        tab = user % 3 if user not in (3, 29) else None
        assert price == (item + tab if tab in (0, 1) else None)


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("users.agee", None, "data.tables.0: there is no column 'agee'. .*'age'"),
        (
            "users.age",
            "id,age,tab\n1,2,a\n3\n",
            "each row of a table must fit. .*, 3: 1 fields",
        ),
        (
            "users.age",
            "uid,age\n1,2\n",
            "data.tables.0.key: .* no column 'id'. Did you",
        ),
        ("nobody.age", None, "have no column 'nobody.age'"),
    ],
)
def test_what_a_table_has_wrong(column, change, message, tmp_path):
    features = [{"name": "age", "kind": "numeric", "column": column}]
    config = _config(tmp_path, "csv", features)
    if change:
        (tmp_path / "u.csv").write_text(change)
    with pytest.raises(PipelineError, match=message):
        _run(config, tmp_path)


def test_a_table_of_which_nothing_is_wanted_is_not_read(tmp_path):
    config = _config(tmp_path, "csv", [])
    (tmp_path / "u.csv").unlink()
    assert table_files.prepare(config.data, ["user"], None, None) == ()


def test_missing_keys_get_nothing(tmp_path):
    column = casting.column("k", "string", pa.null(), ())
    rows = pa.record_batch({"k": ["a", None, "b"], "v": [1, 2, 3]})
    path = static_tables.write(pa.Table.from_batches([rows]), ["k"], tmp_path, "t")
    table = static_tables.StaticTable(path, (column,), (("v", pa.int64()),))
    found = static_tables.join(pa.record_batch({"k": ["b", None, "c", "a"]}), [table])
    assert found["v"].to_pylist() == [3, None, None, 1]
    own = static_tables.join(rows, [table])
    assert own.schema.names == ["k", "v"] and own["v"].to_pylist() == [1, 2, 3]


def test_parts_of_a_file_join_alike(tmp_path):
    rows = pa.record_batch({"k": ["a", "b"], "t.v": [1, 2]})
    path = static_tables.write(pa.Table.from_batches([rows]), ["k"], tmp_path, "t")
    column = casting.column("k", "string", pa.null(), ())
    table = static_tables.StaticTable(path, (column,), (("t.v", pa.int64()),))
    log = _write(tmp_path / "log.parquet", [{"k": k, "other": 1} for k in "abc"])
    reading = make_config().data
    (source,) = files.find([("", log, None)], reading, ["t.v"], (table,))
    (chunk,) = files.read(source, ["t.v"])  # the key is read for it
    assert chunk.rows["t.v"].to_pylist() == [1, 2, None]


def test_the_times_are_read_for_a_table_that_has_some(tmp_path):
    rows = pa.table({"k": ["a", "a"], "t.v": [1, 2]})
    path = static_tables.write(rows, ["k"], tmp_path, "t", np.array([5.0, 7.0]))
    key = (casting.column("k", "string", pa.null(), ()),)
    valid = static_tables.ValidTime("ctx.at", (), 1.0)
    table = static_tables.StaticTable(path, key, (("t.v", pa.int64()),), valid)
    seen = [{"k": "a", "ctx": {"at": at}} for at in (4, 5, 9)]
    log = _write(tmp_path / "log.parquet", seen)
    (source,) = files.find([("", log, None)], make_config().data, ["t.v"], (table,))
    (chunk,) = files.read(source, ["t.v"])
    assert chunk.rows["t.v"].to_pylist() == [None, 1, 2]


def _timed(folder, format, impressions, versions, unit="s"):
    """The column users.v of the impressions, in their order."""
    log = [{"user": u, "at": t, "click": i % 2} for i, (u, t) in enumerate(impressions)]
    log = [{**row, "row": i} for i, row in enumerate(log)]
    users = [{"id": u, "since": t, "v": v} for u, t, v in versions]
    table = {"name": "users", "key": {"user": "id"}, "time": "since"}
    table["logs"] = _write(folder / f"u.{format}", users)
    data = {"logs": [_write(folder / f"log.{format}", log)], "tables": [table]}
    data |= {"time": "at", "time_unit": unit, "split": {"by": "random"}}
    features = [{"name": "v", "kind": "numeric", "column": "users.v"}]
    features.append({"name": "row", "kind": "numeric"})
    _, found = _run(make_config(data, ["user", *features]), folder)
    assert len(found) == len(impressions)
    return [r["v"] for r in sorted(found, key=lambda row: row["row"])]


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_the_newest_row_that_is_not_after_the_impression(format, tmp_path):
    versions = [("a", "2024-03-01", 3), ("a", "2024-01-01", 1), ("b", "2024-02-01", 9)]
    versions.append(("a", "2024-03-01", 4))  # of one key and time the last
    times = ["2023-12-31", "2024-01-01 00:00", "2024-02-29T23:59:59Z", "2024-03-01"]
    seen = [("a", time) for time in times] + [("b", "2024-05-01"), ("c", "2024-05-01")]
    more = [("a", "2024-03-02")] * 20  # so that no split is empty
    found = _timed(tmp_path, format, seen + more, versions)
    assert found[:6] == [None, 1, 1, 4, 9, None] and set(found[6:]) == {4}


def test_times_that_are_numbers_have_the_unit_of_the_log(tmp_path):
    versions = [("a", 1000, 1), ("a", 2000, 2)]
    seen = [("a", time) for time in (999, 1000, 1999, 2000)] + [("a", 9000)] * 20
    found = _timed(tmp_path, "parquet", seen, versions, unit="ms")
    assert found[:5] == [None, 1, 1, 2, 2]


_KEYS = st.sampled_from(["a", "b", "c"])
_TIMES = st.integers(0, 5)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.none() | _KEYS, _TIMES)),
    st.lists(st.tuples(st.none() | _KEYS, st.none() | _TIMES)),
)
def test_versions_are_found_as_one_would_by_hand(table, log):
    values = range(len(table))
    rows = pa.table({"k": pa.array([k for k, _ in table], pa.string()), "v": values})
    started = np.array([t for _, t in table], float)
    key = (casting.column("k", "string", pa.null(), ()),)
    valid = static_tables.ValidTime("t", (), 1.0)
    with tempfile.TemporaryDirectory() as folder:
        path = static_tables.write(rows, ["k"], Path(folder), "t", started)
        joined = static_tables.StaticTable(path, key, (("v", pa.int64()),), valid)
        columns = {"k": pa.array([k for k, _ in log], pa.string())}
        columns["t"] = pa.array([t for _, t in log], pa.float64())
        found = static_tables.join(pa.record_batch(columns), [joined])["v"].to_pylist()
    for (key, at), value in zip(log, found, strict=True):
        of_key = [(t, v) for (k, t), v in zip(table, values, strict=True) if k == key]
        until = [(t, v) for t, v in of_key if at is not None and t <= at]
        assert value == (max(until)[1] if key and until else None)


def test_a_row_of_a_table_without_a_time(tmp_path):
    expected = r"data.tables.0: each row .*u.jsonl, 2: column 'since': .* Received: 'x'"
    with pytest.raises(PipelineError, match=expected):
        _timed(tmp_path, "jsonl", [("a", 1)] * 30, [("a", 1, 1), ("a", "x", 2)])


def test_a_table_with_times_needs_those_of_the_impressions():
    table = {"name": "users", "logs": "u.csv", "key": "user", "time": "since"}
    with pytest.raises(ValueError, match="`tables.0.time` needs `time`, the column of"):
        make_config({"tables": [table]})


@pytest.mark.parametrize("time", [None, "tab"])
def test_a_table_without_rows(time, tmp_path):
    features = [{"name": "age", "kind": "numeric", "column": "users.age"}]
    config = _config(tmp_path, "csv", features, time="click")
    table = config.data.tables[0].model_copy(update={"time": time})
    data = config.data.model_copy(update={"tables": [table]})
    (tmp_path / "u.csv").write_text("id,age,tab\n")
    _, rows = _run(config.model_copy(update={"data": data}), tmp_path)
    assert len(rows) == ROWS and not any(row["age"] for row in rows)
