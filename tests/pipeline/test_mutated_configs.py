"""A config that chance has changed is run, or gets a message."""

import contextlib
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
        users = ["id,age", *(f"u{i},{20 + i}" for i in range(8))]
        Path(name, "users.csv").write_text("\n".join(users) + "\n")
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


ANY_CONFIG = given(
    mutated_configs.texts(CONFIG),
    st.just([]) | st.lists(mutated_configs.overrides(CONFIG), max_size=1),
)
ANY_SPEED = [HealthCheck.too_slow, HealthCheck.data_too_large]


def test_the_config_that_is_changed_is_valid():
    assert _run(yaml.safe_dump(CONFIG), (), whole=False)["rows"] == 40


def test_any_config_makes_statistics_or_gets_a_message():
    @settings(max_examples=60, derandomize=True, suppress_health_check=ANY_SPEED)
    @ANY_CONFIG
    def check(text, overrides):
        _assert_run_or_explained(_run(text, overrides, whole=False))

    check()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_any_config_is_checked_and_transforms_or_gets_a_message(part):
    @seed(part)
    @settings(max_examples=250, database=None, suppress_health_check=ANY_SPEED)
    @ANY_CONFIG
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
