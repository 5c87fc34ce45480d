"""`check` says what a run would stumble over, all at once and without any trace."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import raw_config

from pipeline.__main__ import main

ROWS = 600
RNG = np.random.default_rng(0)
TAB = RNG.integers(0, 2, ROWS)
CLICK = (RNG.random(ROWS) < 0.3).astype(float)


@pytest.fixture
def check(tmp_path, capsys):
    """Writes a log and a config, checks them and returns status, stdout, stderr."""

    def run(columns=(), arguments=(), features=("user", "tab"), **sections):
        table = {"user": np.arange(ROWS) % 197, "tab": TAB, "click": CLICK}
        table = {"time": np.arange(ROWS), **table, **dict(columns)}
        pq.write_table(pa.table(table), tmp_path / "log.parquet")
        data = {"logs": str(tmp_path / "log.parquet"), **sections.pop("data", {})}
        workspace = str(tmp_path / "work")
        raw = raw_config(data, features, workspace=workspace, **sections)
        (tmp_path / "own.yaml").write_text(json.dumps(raw))
        status = main(["check", str(tmp_path / "own.yaml"), *arguments])
        assert not (tmp_path / "work").exists()
        return status, *capsys.readouterr()

    return run


def test_what_is_right_gets_no_warning(check):
    status, out, err = check()
    assert status == 0 and not err
    assert "warning" not in out
    assert "600 rows" in out and "embedding tables: 3,184 parameters" in out


def test_all_errors_are_told_at_once(check):
    bad = ["7.5", *["x"] * 9, *["1.5"] * (ROWS - 10)]
    status, out, err = check(
        {"price": bad, "like": CLICK * 2},
        features=["user", {"name": "price", "kind": "numeric"}],
        tasks=["click", "like"],
        train={"optimizer": "adamw"},
        model={"architecture": "pel"},
    )
    assert status == 2
    assert "Did you mean 'ple'" in err
    assert "9 of 600 rows (1.50%) do not fit" in err and "'x' is not a number" in err
    assert "'like' (train split) must hold nothing but 0 and 1" in err


def test_an_error_that_several_stages_find_is_told_once(check):
    status, _, err = check(tasks=[{"name": "click", "metrics": ["ndcg@0"]}])
    assert status == 2 and err.count("Received: 'ndcg@0'") == 1


def test_few_rows_that_do_not_fit_are_a_warning(check):
    status, out, _ = check(
        {"price": ["x", *["1.5"] * (ROWS - 1)]},
        features=["user", {"name": "price", "kind": "numeric"}],
        data={"max_dead_letter_rate": 0.01},
    )
    assert status == 0 and "1 of 600 rows do not fit" in out


def test_columns_that_are_not_there(check):
    status, _, err = check(features=["user", "itm"], columns={"item": TAB})
    assert status == 2
    assert "no column 'itm'. Did you mean 'item'?" in err


def test_a_table_that_no_row_finds_anything_in(check, tmp_path):
    (tmp_path / "users.csv").write_text("user,age\nnobody,30\n")
    users = {"name": "users", "logs": str(tmp_path / "users.csv"), "key": "user"}
    age = {"name": "age", "column": "users.age", "kind": "numeric"}
    status, _, err = check(data={"tables": [users]}, features=["user", age])
    assert status == 2 and "Column 'age' has no value in the train split" in err
    assert "no row of the split has a key that the table has (user)" in err


def test_a_split_without_rows(check):
    split = {"by": "time", "column": "when"}
    status, _, err = check({"when": np.ones(ROWS)}, data={"split": split})
    assert status == 2
    assert "got no rows" in err


def test_a_domain_without_a_positive(check):
    columns = {"like": CLICK * TAB}
    status, out, _ = check(columns, domain="tab", tasks=["click", "like"])
    assert status == 0
    assert "'like' (train split): the label is 0 in all rows of 1 of 2" in out
    assert "values of 'tab': 0\n" in out


def test_a_feature_that_tells_a_label(check):
    columns = {"state": [f"s{int(c)}" for c in CLICK]}
    status, out, _ = check(columns, features=["user", "state"])
    assert status == 0
    assert "feature 'state' may tell a label: alone it ranks click" in out


def test_a_feature_that_tells_a_number(check):
    seconds = RNG.exponential(30, ROWS)
    tasks = ["click", {"name": "seconds", "kind": "regression"}]
    features = ["user", {"name": "scaled", "kind": "numeric"}]
    columns = {"seconds": seconds, "scaled": seconds * 2}
    status, out, _ = check(columns, features=features, tasks=tasks)
    assert status == 0
    assert "feature 'scaled' may tell a label: alone it explains" in out


def test_a_feature_that_a_server_will_not_have(check):
    columns = {"comment": (RNG.random(ROWS) < 0.3).astype(int)}
    _, out, _ = check(columns, features=["user", "comment"])
    assert "'comment' is called like something that is known only later" in out


def test_only_the_first_rows_are_looked_at(check):
    late = np.where(np.arange(ROWS) < 300, CLICK, 7)
    _, out, err = check({"click": late}, ["--rows", "100"])
    assert "600 rows or more" in out  # a small file is one chunk
    assert check(arguments=["--rows", "0"])[0] == 2


def test_rows_that_only_a_run_makes_are_not_looked_at(check):
    data = {"logs": None, "source": "feed", "split": {"by": "time", "column": "time"}}
    status, out, _ = check(data=data)
    assert status == 0 and "none were looked at" in out
