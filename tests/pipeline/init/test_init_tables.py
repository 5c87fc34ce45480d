"""Tables of users and items among the files are told from the log, and joined."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.__main__ import main
from pipeline.init.tables import sample_joined

ROWS, USERS, ITEMS = 600, 40, 30
RNG = np.random.default_rng(5)
USER, ITEM = RNG.integers(0, USERS, ROWS), RNG.integers(0, ITEMS, ROWS)
AGE = RNG.integers(18, 80, USERS)


@pytest.fixture
def folder(tmp_path):
    log = {"user_id": USER, "item_id": ITEM, "click": RNG.integers(0, 2, ROWS)}
    log["timestamp"] = 1.7e9 + np.arange(ROWS)
    pyarrow.csv.write_csv(pa.table(log), tmp_path / "log.csv")
    liked = np.arange(USERS) % 2  # called like an action
    users = pa.table({"userId": np.arange(USERS), "age": AGE, "like": liked})
    options = pyarrow.csv.WriteOptions(delimiter=";")
    pyarrow.csv.write_csv(users.take(RNG.permutation(USERS)), tmp_path / "users.csv",
                          options)  # fmt: skip
    prices = RNG.random(ITEMS).round(2)
    items = pa.table({"id": np.arange(ITEMS), "price": prices})
    pq.write_table(items, tmp_path / "items.parquet")
    return tmp_path


def test_tables_are_proposed_and_their_columns_are_features(folder):
    logs = [str(folder / name) for name in ("users.csv", "log.csv", "items.parquet")]
    path = folder / "shop.yaml"
    assert main(["init", *logs, "--output", str(path)]) == 0
    found = yaml.safe_load(path.read_text())
    assert found["data"]["logs"] == [logs[1]]
    assert found["data"]["tables"] == [
        {
            "name": "users",
            "logs": [logs[0]],
            "delimiter": ";",
            "key": {"user_id": "userId"},
        },
        {"name": "items", "logs": [logs[2]], "key": {"item_id": "id"}},
    ]
    features = {feature["name"]: feature["kind"] for feature in found["features"]}
    assert features["users.age"] == features["items.price"] == "numeric"
    assert [task["name"] for task in found["tasks"]] == ["click"]
    assert main(["check", str(path)]) == 0


def test_rows_get_the_values_of_their_user(folder):
    sample = sample_joined([str(folder / "log.csv"), str(folder / "users.csv")])
    ages = sample.rows.column("users.age").to_pylist()
    assert [int(age) for age in ages] == AGE[USER].tolist()
    # A glob that matches both is the same.
    both = sample_joined([str(folder / "*.csv")])
    assert both.tables == sample.tables and both.rows == sample.rows


def test_an_empty_file_beside_the_log_is_no_other_log(folder):
    lines = [f'{{"user_id": {i % 9}, "click": {i % 2}}}\n' for i in range(ROWS)]
    (folder / "1.jsonl").write_text("".join(lines))
    (folder / "2.jsonl").touch()
    sample = sample_joined([str(folder / "*.jsonl")])
    assert sample.rows.num_rows == ROWS and sample.logs == [str(folder / "*.jsonl")]


@pytest.mark.parametrize("change", ["again", "others"])
def test_files_that_are_no_tables_are_one_log(change, folder):
    users = pa.table({"user_id": np.arange(USERS), "age": AGE})
    if change == "again":  # two rows of a user
        users = pa.concat_tables([users, users])
    else:  # of other users
        users = users.set_column(0, "user_id", pa.array(np.arange(USERS) + 1000))
    pyarrow.csv.write_csv(users, folder / "users.csv")
    sample = sample_joined([str(folder / "log.csv"), str(folder / "users.csv")])
    assert not sample.tables and sample.rows.num_rows > ROWS
