"""The table and the gate of the Census benchmark."""

import copy
import sys
from pathlib import Path

import pytest

import tfmtl

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TASKS = ("income_50k", "never_married")


@pytest.fixture
def census(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import census

    yield census
    for name in ("census", "environments"):
        sys.modules.pop(name, None)


def _model(name, *means):
    test = {
        task: {"mean": mean, "low": mean - 0.001, "high": mean + 0.001}
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


def test_the_best_is_held_to_its_threshold_and_each_to_what_was_published(census):
    assert census.missed(BOARD, GATE) == []
    gate = copy.deepcopy(GATE)
    gate["best"]["never_married"] = 0.9901
    gate["published"]["ple"]["income_50k"] = 0.9425
    assert census.missed(BOARD, gate) == [
        "shared_bottom never_married: 0.99000 is below 0.99010",
        "ple income_50k: 0.94000 is below 0.94050",
    ]


def test_a_line_a_model(census):
    lines = census.table(BOARD, {"test": dict.fromkeys(TASKS, 0.9)}).splitlines()
    assert lines[2] == (
        "| shared_bottom | 120,000 | 0.95000 ± 0.00100 | 0.99000 ± 0.00100 | 2 |"
    )
    assert lines[-1] == "| LightGBM | | 0.90000 | 0.90000 | 1 |"


def test_what_is_compared_exists(census):
    assert set(census.OPTIONS) <= set(tfmtl.models.names())
    assert set(census.GATE["published"]) <= set(census.OPTIONS)
    for name, options in census.OPTIONS.items():
        assert set(options) <= set(tfmtl.models.options(name)), name
