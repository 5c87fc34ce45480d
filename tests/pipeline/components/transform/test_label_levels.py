"""The quantiles of a label within the buckets of a feature, for the loss d2q."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_config, raw_config

from pipeline.artifacts import examples
from pipeline.components.transform import label_levels
from pipeline.config import Config, declarations
from pipeline.errors import PipelineError

D2Q = {"name": "d2q", "group": "length", "intervals": 4}
LENGTH = {"name": "length", "kind": "numeric", "buckets": 3}


def _config(**loss):
    watch = {"name": "watch", "kind": "regression", "space": "played"}
    watch["loss"] = D2Q | loss
    return make_config(features=[LENGTH], tasks=[watch])


@pytest.fixture
def split(tmp_path, monkeypatch):
    """Examples in two shards, and ranges that are smaller than these."""
    rng = np.random.default_rng(0)
    length = np.where(np.arange(300) % 10 == 3, np.nan, rng.uniform(0, 30, 300))
    length[::7] = 10  # where a bucket begins
    columns = {
        "length": pa.array(length, pa.float32(), from_pandas=True),
        "watch": np.float32(np.nan_to_num(length, nan=50) * rng.uniform(0, 1, 300)),
        "played": np.float32(np.arange(300) % 3 > 0),
    }
    table = pa.table(columns)
    for i in range(2):
        shard = table.slice(i * 150, 150)
        pq.write_table(shard, tmp_path / f"data-0000{i}-of-00002.parquet")
    monkeypatch.setattr(examples, "_RANGE_ROWS", 70)
    monkeypatch.setattr(
        label_levels.results,
        "parallel_map",
        lambda workers, function, items: [function(i, x) for i, x in enumerate(items)],
    )
    return tmp_path, {n: np.array(c, np.float64) for n, c in columns.items()}


def test_each_bucket_has_the_quantiles_of_its_rows_in_the_space(split):
    folder, columns = split
    config = _config()
    edges = np.float32([10, 20])
    found = label_levels.levels(config, config.tasks[0], folder, edges, None)
    played, length = columns["played"] == 1, columns["length"]
    groups = [
        np.isnan(length),
        length < 10,
        (length >= 10) & (length < 20),
        length >= 20,
    ]
    for levels, group in zip(found, groups, strict=True):
        expected = np.quantile(
            columns["watch"][played & group], [0, 0.25, 0.5, 0.75, 1]
        )
        np.testing.assert_allclose(levels, expected, rtol=1e-6)


def test_a_bucket_without_rows_has_those_of_all(split):
    folder, columns = split
    config = _config()
    found = label_levels.levels(
        config, config.tasks[0], folder, np.float32([10, 1e6]), None
    )
    of_all = columns["watch"][columns["played"] == 1]
    np.testing.assert_allclose(found[3], np.quantile(of_all, [0, 0.25, 0.5, 0.75, 1]))


def test_no_row_in_the_space_is_an_error(split):
    folder, _ = split
    raw = raw_config(features=[LENGTH], tasks=["played"])
    raw["tasks"].append({"name": "watch", "kind": "regression", "loss": D2Q})
    raw["tasks"][1]["space"] = "length"  # 1 in no row
    config = Config.model_validate(raw)
    with pytest.raises(PipelineError, match="d2q of 'watch' needs labels"):
        label_levels.levels(config, config.tasks[1], folder, np.float32([10]), None)


@pytest.mark.parametrize(
    ("loss", "problem"),
    [
        ({"group": "lenght"}, "tasks.0.loss.group: d2q needs.*Did you mean 'length'"),
        ({"group": None}, "tasks.0.loss.group: d2q needs.*Received: None"),
        ({"intervals": 0}, "tasks.0.loss.intervals: a whole number"),
    ],
)
def test_what_a_config_says_wrong(loss, problem):
    (found,) = _config(**loss).problems()
    assert re.search(problem, found)


def test_a_task_is_declared_with_what_transform_has_found():
    config = _config()
    _, (task,) = declarations.declare(config)  # before any data
    assert task.loss[0].levels == ((0.0, 1.0), (0.0, 1.0))
    levels = [[0.0, 1.0, 2.0, 3.0, 4.0]] * 4
    made = {"length": {"kind": "categorical", "size": 4, "levels": {"watch": levels}}}
    _, (task,) = declarations.declare(config, made)
    assert task.loss[0].levels[3] == (0.0, 1.0, 2.0, 3.0, 4.0)
    declarations.check(config)
