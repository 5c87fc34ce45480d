"""Gates, experts and units that do no work are named; a healthy model has none."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import gate_health

FEATURES = [tfmtl.Categorical("tab", vocabulary_size=4), tfmtl.Numeric("x")]
TASKS = [tfmtl.Task("a"), tfmtl.Task("b")]


def _data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000).astype("float32")
    tab = rng.integers(1, 4, 2000)
    labels = {"a": (x + rng.normal(size=2000) > 0), "b": (x * (tab - 2) > 0.2)}
    return {"tab": tab, "x": x}, {k: v.astype("float32") for k, v in labels.items()}


@pytest.fixture(scope="module")
def trained():
    """A small PLE that has learnt its tasks, and its weights."""
    keras.utils.set_random_seed(7)
    model = tfmtl.models.get("ple")(
        FEATURES, TASKS, shared_experts=2, expert_units=((16,), (8,))
    )
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    model.fit(*_data(), batch_size=200, epochs=2, verbose=0)
    return model, model.get_weights()


@pytest.fixture
def ple(trained):
    model, weights = trained
    model.set_weights(weights)
    return model


def _checks(model, domain="tab"):
    return [
        (found["check"], found["where"])
        for found in model.gate_health(_data()[0], domain)["findings"]
    ]


def test_a_healthy_ple_has_no_findings(ple):
    inputs, labels = _data()
    health = ple.gate_health(inputs, domain="tab")
    assert health["findings"] == []
    report = ple.gate_report(inputs, domain="tab")
    assert health["gates"].keys() == report.keys()
    dataset = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(300)
    again = ple.gate_health(dataset)
    for path, units in health["units"].items():
        assert again["units"][path]["dead"] == units["dead"]
        np.testing.assert_allclose(again["units"][path]["active"], units["active"])


def test_the_share_of_rows_in_which_a_unit_is_active():
    model = tfmtl.models.get("shared_bottom")(
        [tfmtl.Numeric("x")], [tfmtl.Task("a", tower=())], units=(3,)
    )
    kernel, bias = model.sharing.bottom.layers[0].weights
    kernel.assign([[1.0, -1.0, 0.0]])
    bias.assign([0.0, 0.0, -1.0])
    health = model.gate_health({"x": np.float32([1, 2, 3, -1])})
    assert health["gates"] == {} and health["findings"] == []
    (units,) = health["units"].values()
    np.testing.assert_allclose(units["active"], [0.75, 0.25, 0])
    assert units["dead"] == 1


def test_an_expert_frozen_at_zero(ple):
    for weight in ple.sharing.levels[1].experts["b"].weights:
        weight.assign(weight * 0)
    found = ple.gate_health(_data()[0])["findings"]
    assert [f["check"] for f in found] == ["dead_expert", "dead_units"]
    assert "b_0" in found[0]["text"] and found[0]["where"].endswith("level_2")
    assert "learning rate" in found[0]["hint"]


def test_a_layer_of_which_half_is_dead_is_not_named():
    units = {"layer": {"active": np.zeros(4), "dead": 2}}
    assert not list(gate_health._dead_units(units))
    units["layer"]["dead"] = 3
    (found,) = gate_health._dead_units(units)
    assert found["check"] == "dead_units"


def _lean(gate, logits):
    """Lets a gate give these logits to every row, whatever it reads."""
    model_input = gate.kernel.shape[0]
    gate.kernel.assign(np.tile(np.float32(logits), (model_input, 1)))


def test_a_gate_stuck_at_one_expert(ple):
    # The gate reads what an experts' bank with ReLU gives: never below 0.
    _lean(ple.sharing.levels[1].gates["a"], [1e4, 0.0, 0.0])
    assert ("one_expert_gate", "ple/sharing/level_2/a_gate") in _checks(ple)


def test_a_gate_that_is_no_mix_in_one_batch_is_none(ple, monkeypatch):
    _lean(ple.sharing.levels[1].gates["a"], [1e4, 0.0, 0.0])
    monkeypatch.setattr(gate_health, "_is_mix", lambda w: tf.shape(w)[0] > 1)
    model = type(ple).from_config(ple.get_config())  # which is not traced yet
    model.set_weights(ple.get_weights())
    data = tf.data.Dataset.from_tensor_slices(_data()[0])
    data = data.take(1).batch(1).concatenate(data.skip(1).batch(2000))
    checks = {found["check"] for found in model.gate_health(data)["findings"]}
    assert "one_expert_gate" not in checks


def test_one_row_says_nothing_of_a_gate(ple):
    one = {name: column[:1] for name, column in _data()[0].items()}
    checks = {found["check"] for found in ple.gate_health(one)["findings"]}
    assert not checks & {"constant_gate", "one_expert_gate"}


def test_a_gate_that_does_not_see_the_row(ple):
    gate = ple.sharing.levels[0].gates["b"]
    gate.kernel.assign(gate.kernel * 0)
    assert _checks(ple) == [("constant_gate", "ple/sharing/level_1/b_gate")]


def test_experts_that_nobody_and_that_one_task_uses(ple):
    level = ple.sharing.levels[1]
    _lean(level.gates["a"], [0.5, 0.5, -1e4])
    _lean(level.gates["b"], [0.5, -1e4, -1e4])
    found = ple.gate_health(_data()[0], "tab")["findings"]
    by_check = {f["check"]: f["text"] for f in found}
    assert "shared_1" in by_check["unused_expert"]
    assert "a_gate alone uses expert shared_0" in by_check["one_task_expert"]


def test_a_tasks_own_expert_may_be_its_alone():
    """The gate of the shared experts sees it too, and is no task's."""

    def gate(**means):
        return {"labels": [*means], "mean": [*means.values()], "domains": {}}

    gates = {
        "level/a_gate": gate(a_0=0.5, shared_0=0.5),
        "level/b_gate": gate(b_0=0.5, shared_0=0.5),
        "level/shared_gate": gate(a_0=0.0, b_0=0.5, shared_0=0.5),
    }
    assert list(gate_health._unused_experts(gates)) == []


def test_an_expert_that_one_domain_uses_is_used():
    model = tfmtl.models.get("mmoe")(FEATURES, TASKS, experts=2, expert_units=(8,))
    tab = model.embedding({"tab": np.arange(4), "x": np.zeros(4, "float32")})["tab"]
    towards = np.linalg.pinv(tab.numpy()) @ np.float32([0, -50, 0, 50])
    for gate in model.sharing.gates.values():
        kernel = np.zeros(gate.kernel.shape, "float32")
        kernel[: len(towards), 1] = towards
        gate.kernel.assign(kernel)
    inputs = {"tab": np.array([1] * 990 + [3] * 10), "x": np.zeros(1000, "float32")}
    for domain, unused in ((None, 1), ("tab", 0)):
        findings = model.gate_health(inputs, domain)["findings"]
        checks = [found["check"] for found in findings]
        assert checks.count("unused_expert") == unused


def test_data_without_rows_are_refused():
    model = tfmtl.models.get("ple")(FEATURES, TASKS)
    empty = {name: x[:0] for name, x in _data()[0].items()}
    with pytest.raises(ValueError, match="needs rows. Received: a dataset without any"):
        model.gate_health(empty)
