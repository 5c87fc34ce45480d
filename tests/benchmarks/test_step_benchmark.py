"""The peer and the gate of the benchmark of a training step."""

import sys
from pathlib import Path

import pytest

import tfmtl

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def step(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import step

    yield step
    for name in [n for n in sys.modules if n == "step" or n.split(".")[0] == "peers"]:
        del sys.modules[name]


def _cells(ms, name="ple", to_ple=1.0):
    return [
        {"architecture": name, "tasks": tasks, "ms": each, "to_ple": to_ple}
        for tasks, each in ms.items()
    ]


@pytest.mark.parametrize(
    "ms, found",
    [
        ({1: 10, 4: 40, 12: 130}, 0),
        ({4: 40, 12: 140}, 1),  # 3.5 times
        ({1: 10, 4: 52, 12: 160}, 1),  # as tasks^1.12
    ],
)
def test_a_step_may_not_grow_faster_than_the_tasks(step, ms, found):
    assert len(step.missed(_cells(ms))) == found


@pytest.mark.parametrize("name, found", [("dcrnn", 1), ("snr", 0)])
def test_two_architectures_are_held_to_an_equal_ple(step, name, found):
    assert len(step.missed(_cells({4: 40}, name, to_ple=2.1))) == found


def test_exponent_of_a_power(step):
    cells = _cells({tasks: 7 * tasks**0.8 for tasks in (1, 4, 12, 30)})
    assert step.exponent(cells) == pytest.approx(0.8)


def test_ple_of_a_number_of_parameters(step):
    options = step.ple_of(400_000, tasks=2)
    features = [
        tfmtl.Categorical(f"id_{i}", vocabulary_size=2, embedding_dim=step.DIM)
        for i in range(step.FEATURES)
    ]
    features += [tfmtl.Numeric(f"number_{i}") for i in range(step.NUMBERS)]
    tasks = [tfmtl.Task(name, tower=step.TOWER) for name in "ab"]
    model = tfmtl.models.get("ple")(features, tasks, **options)
    parameters = model.count_params() - model.embedding.count_params()
    assert parameters == pytest.approx(400_000, rel=0.02)
