"""A config that chance has changed is run, or gets a message."""

import contextlib
import json
import os
import tempfile
from pathlib import Path

import first_stages
import mutated_configs
import pytest
import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

CONFIG = {
    "name": "small",
    "workspace": "work",
    "data": {
        "logs": ["log.csv"],
        "delimiter": ",",
        "decimal": ".",
        "missing": ["NA", "null"],
        "verbatim": ["item"],
        "tables": [{"name": "users", "logs": "users.csv", "key": {"user": "id"}}],
        "where": "price >= 0 or is_null(price)",
        "time": "when",
        "actions": [
            {
                "name": "buy",
                "logs": "log.csv",
                "key": ["user", "item"],
                "time": "when",
                "window": "30m",
                "where": "click == 1",
                "values": {"paid": {"column": "price", "take": "sum"}},
            }
        ],
        "history": [
            {"name": "seen", "key": "user", "column": "item", "actions": "buy"}
        ],
        "labels": {"long": "watch > 3 and price != 7"},
        "split": {"by": "time", "column": "when", "train": 0.6, "valid": 0.2},
        "max_dead_letter_rate": 0.5,
    },
    "features": [
        {"name": "user", "kind": "categorical", "hash_buckets": 20},
        {"name": "item", "kind": "categorical", "vocabulary": {"min_count": 1}},
        {"name": "age", "column": "users.age", "kind": "numeric", "buckets": 3},
        {"name": "price", "kind": "numeric", "scaling": "log1p_zscore"},
        {"name": "tags", "kind": "sequence", "of": "item", "max_length": 3},
        {"name": "seen", "kind": "sequence", "of": "item", "pooling": "sum"},
        {"name": "rate_*", "kind": "numeric"},
    ],
    "domain": "item",
    "tasks": [
        {"name": "click", "weight": 2.0, "tower": [8], "metrics": ["auc"]},
        {"name": "long", "space": "click", "calibration": "platt"},
        {"name": "watch", "kind": "regression", "loss": "log_mse"},
        {
            **{"name": "depth", "kind": "classes", "label": "click"},
            "loss": {"name": "softmax", "classes": 2},
        },
        {
            **{"name": "share", "kind": "regression", "label": "watch"},
            "loss": {"name": "d2q", "group": "age", "intervals": 4},
        },
    ],
    "model": {"architecture": "mmoe", "options": {"experts": 2, "expert_units": [8]}},
    "validation": {"drift": 0.3},
    "train": {
        "epochs": 2,
        "batch_size": 16,
        "optimizer": {"name": "lazy_adam"},
        "loss_weighting": "fixed",
        "monitor": "val_loss",
    },
    "export": {"user_features": ["user"], "fused_score": {"weights": {"click": 1.0}}},
    "evaluate": {
        "slices": ["item"],
        "group": "user",
        "minimum": {"click": 0.6},
        "rules": [{"metric": "auc", "tasks": ["click"], "at_least": 0.5}],
    },
    "push": {"destination": "models", "keep": 2},
    "sweep": {"architectures": ["ple", "mmoe"], "seeds": [1, 2]},
}

# What the other has no room for: lists with weights and side fields, lookups, vectors,
# joins as of a time, days, a search of long histories.
OF_LISTS = {
    "name": "lists",
    "workspace": "work",
    "data": {
        "logs": "day=%Y-%m-%d.jsonl",
        "window": 2,
        "where": "watch >= 0",
        "time": "when",
        "time_unit": "s",
        "tables": [
            {"name": "users", "logs": "users.csv", "key": ["user"], "time": "since"},
        ],
        "actions": [
            {
                "name": "buy",
                "logs": "buys.jsonl",
                "key": {"user": "who"},
                "time": "when",
                "window": 7200,
                "min_delay": "1m",
                "incomplete": "keep",
                "values": {"paid": "price"},
            }
        ],
        "history": [
            {
                "name": "past",
                "key": "user",
                "column": "item",
                "fields": {"past_group": "group"},
                "age": "past_age",
                "where": "click == 1",
                "max_length": 9,
                "min_delay": "1s",
            }
        ],
        "labels": {"level": "min((watch - watch % 10) / 10, 2)"},
        "split": {"by": "random", "seed": 1, "train": 0.5, "valid": 0.25},
        "max_dead_letter_rate": 0.5,
    },
    "features": [
        {"name": "user", "kind": "categorical", "capacity": 9, "min_score": 1},
        {"name": "item", "kind": "categorical", "vocabulary": {"max_size": 3}},
        {"name": "group", "kind": "categorical", "oov_buckets": 2, "table": "groups"},
        {"name": "watch_of", "kind": "numeric", "buckets": 4, "bucketing": "log"},
        {"name": "age", "column": "users.age", "kind": "numeric", "autodis": 3},
        {"name": "both", "kind": "crossed", "of": ["group", "user"], "hash_buckets": 9},
        {"name": "rate", "kind": "lookup", "key": "group", "scaling": "log1p"},
        {
            **{"name": "tags", "kind": "multivalued", "hash_buckets": 9},
            **{"weights": "tag_weights", "max_length": 3, "pooling": "sqrtn"},
        },
        {
            **{"name": "likes", "kind": "multivalued", "table": "groups"},
            **{"oov_buckets": 2, "weighted": True},
        },
        {"name": "cover", "kind": "vector", "dim": 2, "embedding_dim": 4},
        {
            **{"name": "past", "kind": "sequence", "of": "item", "max_length": 9},
            "encoder": {"name": "sim", "category": "past_group", "items": 2},
        },
        {
            **{"name": "past_group", "kind": "sequence", "of": "group"},
            **{"side_of": "past", "max_length": 9},
        },
        {
            **{"name": "past_age", "kind": "numeric_sequence", "side_of": "past"},
            **{"max_length": 9, "scaling": "log1p_zscore"},
        },
    ],
    "domain": "group",
    "tasks": [
        {"name": "click", "loss": ["bce", "pairwise"], "calibration": "isotonic"},
        {"name": "buy", "space": "click", "outside": 0.5, "row_weight": "length"},
        {
            **{"name": "level", "kind": "classes", "metrics": ["accuracy"]},
            "loss": {"name": "softmax", "classes": 3},
        },
        {
            **{"name": "watch", "kind": "regression", "duration": "length"},
            **{"calibration": "scale", "calibration_by": "group"},
        },
    ],
    "model": {"architecture": "ple", "options": {"ple": {"shared_experts": 1}}},
    "transform": {"rows_per_record": 7},
    "train": {
        "schedule": {"name": "cosine", "warmup": 0.5},
        "checkpoint": {"steps": 5},
        "monitor": "val_click_auc",
        "patience": 1,
    },
    "evaluate": {
        "metrics": ["pr_auc", "ndcg@10"],
        "group": "user",
        "max_drop": {"click": 0.1},
        "importance": {"rows": 10},
    },
    "sweep": {"space": {"train.learning_rate": {"low": 0.001, "high": 0.1}}},
}
CONFIGS = {"one table": CONFIG, "lists": OF_LISTS}


def _write_lists(folder):
    """Writes the logs of OF_LISTS: two days and what was bought."""
    day = 1_704_067_200  # 2024-01-01
    rows = [
        {
            **{"user": f"u{i % 9}", "item": i % 4, "group": f"g{i % 3}"},
            **{"when": day + i * 4000, "click": i % 2, "watch": i, "watch_of": i + 5},
            **{"length": i + 5},
            **{"rate": {"g0": 0.5, "g1": i / 9}, "likes": {"g2": i, "x": 1}},
            **{"tags": ["a", i % 5], "tag_weights": [0.5, i], "cover": [i, 0.5]},
        }
        for i in range(40)
    ]
    buys = [{"who": r["user"], "when": r["when"] + 90, "price": 2} for r in rows[::3]]
    logs = {
        "day=2024-01-01.jsonl": rows[:20],
        "day=2024-01-02.jsonl": rows[20:],
        "buys.jsonl": buys,
    }
    for name, objects in logs.items():
        lines = [json.dumps(each) for each in objects]
        folder.joinpath(name).write_text("\n".join(lines) + "\n")


@contextlib.contextmanager
def _folder():
    """A working folder with the logs of the config, beside which nothing is read."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        rows = [
            f"u{i % 9},i{i % 4},{i / 4},i1|i2,2024-01-{i // 2 + 1:02d},{i % 3 % 2},{i},"
            f"{i},1"
            for i in range(40)
        ]
        lines = ["user,item,price,tags,when,click,watch,rate_a,rate_b", *rows]
        Path(name, "log.csv").write_text("\n".join(lines) + "\n")
        users = ["id,user,age,since"]
        users += [f"u{i},u{i},{20 + i},{1_704_067_200 + i}" for i in range(8)]
        Path(name, "users.csv").write_text("\n".join(users) + "\n")
        _write_lists(Path(name))
        os.chdir(name)
        try:
            yield
        finally:
            os.chdir(before)


def _run(text, overrides, whole):
    with _folder():
        Path("config.yaml").write_text(text, encoding="utf-8", errors="replace")
        return first_stages.run("config.yaml", overrides, whole)


def _assert_run_or_explained(outcome):
    if isinstance(outcome, str):
        assert outcome and "Traceback" not in outcome and len(outcome) < 10_000


def _any_config(config):
    return given(
        mutated_configs.texts(config),
        st.just([]) | st.lists(mutated_configs.overrides(config), max_size=1),
    )


ANY_SPEED = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_config_that_is_changed_is_valid(name):
    outcome = _run(yaml.safe_dump(CONFIGS[name]), (), whole=True)
    assert outcome["rows"] == 40


@pytest.mark.parametrize("name", CONFIGS)
def test_any_config_makes_statistics_or_gets_a_message(name):
    @settings(max_examples=40, derandomize=True, suppress_health_check=ANY_SPEED)
    @_any_config(CONFIGS[name])
    def check(text, overrides):
        _assert_run_or_explained(_run(text, overrides, whole=False))

    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("part", range(4))
def test_any_config_is_checked_and_transforms_or_gets_a_message(part, name):
    @seed(part)
    @settings(max_examples=250, database=None, suppress_health_check=ANY_SPEED)
    @_any_config(CONFIGS[name])
    def check(text, overrides):
        whole = len(text) % 40 == 0  # takes ten times as long
        _assert_run_or_explained(_run(text, overrides, whole))

    check()


def test_a_feature_of_another_column_has_no_name_that_is_made():
    features = [
        {**feature, "column": "sum"} if feature["name"] == "seen" else feature
        for feature in CONFIG["features"]
    ]
    text = yaml.safe_dump({**CONFIG, "features": features})
    assert "cannot be the column 'sum', too" in _run(text, (), whole=False)
