"""The table and the gate of the benchmark on public data."""

import copy
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_config

import tfmtl
from tfmtl.metrics import exact

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TASKS = ("income_50k", "never_married")


@pytest.fixture
def public_data(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import public_data

    yield public_data
    for name in ("public_data", "environments"):
        sys.modules.pop(name, None)


def _model(name, *means):
    test = {
        task: {
            "mean": mean,
            "low": mean - 0.001,
            "high": mean + 0.001,
            "of_rows": [[mean - 0.02, mean + 0.02], None],
        }
        for task, mean in zip(TASKS, means, strict=True)
    }
    return {
        "architecture": name,
        "parameters": 120_000,
        "models": {"0": "", "1": ""},
        "test": test,
    }


BOARD = {
    "tasks": [{"name": task} for task in TASKS],
    "models": [_model("shared_bottom", 0.95, 0.99), _model("ple", 0.94, 0.98)],
}
GATE = {
    "best": {"income_50k": 0.95, "never_married": 0.99},
    "tolerance": 0.002,
    "published": {"ple": {"income_50k": 0.9415}, "mmoe": {"income_50k": 1.0}},
}


def test_the_best_is_held_to_its_threshold_and_each_to_what_was_published(public_data):
    assert public_data.missed(BOARD, GATE) == []
    gate = copy.deepcopy(GATE)
    gate["best"]["never_married"] = 0.9901
    gate["published"]["ple"]["income_50k"] = 0.9425
    assert public_data.missed(BOARD, gate) == [
        "shared_bottom never_married: 0.99000 is below 0.99010",
        "ple income_50k: 0.94000 is below 0.94050",
    ]


def test_a_line_a_model(public_data):
    board = copy.deepcopy(BOARD)
    board["models"][0]["test"]["never_married"]["of_rows"] = [None, None]
    lines = public_data.table(board, {"test": dict.fromkeys(TASKS, 0.9)}).splitlines()
    assert lines[2] == (
        "| shared_bottom | 120,000 | 0.95000 ± 0.00100 | 0.99000 ± 0.00100 | 2 |"
    )
    assert lines[-2] == "| LightGBM | | 0.90000 | 0.90000 | 1 |"
    assert lines[-1] == "| *by the test rows* | | ± 0.0200 | too few | |"


def test_what_is_compared_exists(public_data):
    for name in public_data.SETS:
        of_set = public_data.options_of(name)
        architectures = of_set["architectures"]
        assert set(architectures) <= set(tfmtl.models.names())
        assert set(of_set["gate"].get("published", {})) <= set(architectures)
        for architecture, options in architectures.items():
            known = set(tfmtl.models.options(architecture))
            assert set(options) <= known, (name, architecture)


def test_trees_have_the_columns_and_the_rows_of_each_task(public_data, tmp_path):
    config = make_config(
        features=["user", {"name": "age", "column": "u.age", "kind": "numeric"}],
        tasks=[
            {"name": "click", "label": "clicked"},
            {"name": "buy", "space": "click"},
            {"name": "spend", "kind": "regression", "space": "buy"},
            {"name": "stay", "kind": "regression", "space": "was_seen"},
        ],
    )
    asked = public_data.request(config, tmp_path)
    assert [(f["name"], f["kind"]) for f in asked["features"]] == [
        ("user", "categorical"),
        ("age", "numeric"),
    ]
    assert {t["name"]: (t["label"], t["spaces"]) for t in asked["tasks"]} == {
        "click": ("clicked", []),
        "buy": ("buy", ["clicked"]),
        "spend": ("spend", ["buy", "clicked"]),
        "stay": ("stay", ["was_seen"]),
    }


@pytest.fixture
def worker(monkeypatch):
    """The worker, without LightGBM, which has an environment of its own."""
    monkeypatch.syspath_prepend(BENCHMARKS / "public_data")
    monkeypatch.setitem(sys.modules, "lightgbm", types.ModuleType("lightgbm"))
    import lightgbm_worker

    yield lightgbm_worker
    sys.modules.pop("lightgbm_worker", None)


def test_a_train_row_does_not_see_its_own_label(worker):
    rows = 4000
    train = pd.DataFrame({"user": np.arange(rows) // 2})  # two rows a user
    label = pd.Series(np.random.default_rng(1).integers(0, 2, rows).astype(float))
    numbers, (other,) = worker.with_means(train, label, [train.head(4)], ["user"])
    assert abs(np.corrcoef(numbers["user.mean"], label)[0, 1]) < 0.1
    # Those of other splits see all train rows: two, and the mean that counts as 20.
    expected = (label[:2].sum() + 20 * label.mean()) / 22
    assert other["user.mean"].tolist()[:2] == [pytest.approx(expected)] * 2
    assert (other["user.count"] == 2).all()


def test_an_unknown_value_has_the_mean_of_all(worker):
    train = pd.DataFrame({"user": [0, 0, 1, 1]})
    other = pd.DataFrame({"user": [7]})
    label = pd.Series([1.0, 0.0, 0.0, 0.0])
    _, (found,) = worker.with_means(train, label, [other], ["user"])
    assert found.to_dict("records") == [
        {"user": 7, "user.count": 0, "user.mean": pytest.approx(0.25)}
    ]


def test_what_trees_get_of_a_list(worker):
    lists = [np.array(["a", "b", "a"], object), None]
    found = worker._of_lists("seen", lists, ["a", "b"], pd.Index(["a", "b"]))
    assert {name: list(values) for name, values in found.items()} == {
        "seen.length": [3, 0],
        "seen.last": [0, -1],
        "seen.alike": [2, 0],
    }


def test_auc_of_trees_is_ours(worker):
    random = np.random.default_rng(0)
    label, score = random.integers(0, 2, 200), random.integers(0, 9, 200)  # ties
    assert worker.auc(pd.Series(label), score) == pytest.approx(exact.auc(label, score))


def test_architectures_may_stand_behind_options(public_data, monkeypatch, tmp_path):
    seen = []

    def sweep(config, jobs):
        seen.extend(config.sweep.architectures)
        raise KeyboardInterrupt

    monkeypatch.setattr(public_data, "sweep", sweep)
    monkeypatch.setenv("DATA", "elsewhere")
    command = ["hillstrom", "ple", "--data", str(tmp_path), "--seeds", "0", "1"]
    with pytest.raises(KeyboardInterrupt):
        public_data.main([*command, "--jobs", "1", "aitm"])
    assert [architecture.name for architecture in seen] == ["ple", "aitm"]
