"""Reading gates over a dataset."""

import numpy as np
import pytest
import tensorflow as tf
from quick_model import quick_model, small
from representatives import architectures as representatives

import tfmtl

FEATURES = [tfmtl.Categorical("tab", vocabulary_size=4), tfmtl.Numeric("x")]


def test_means_and_deviations_per_gate_and_domain():
    tasks = [tfmtl.Task("a"), tfmtl.Task("b")]
    model = tfmtl.models.get("ple")(FEATURES, tasks, expert_units=((8,),), name="m")
    rng = np.random.default_rng(0)
    inputs = {
        "tab": rng.integers(1, 4, 100),
        "x": rng.normal(size=100).astype("float32") * 5,
    }
    report = model.gate_report(inputs, domain="tab")
    assert [*report] == ["m/sharing/level_1/a_gate", "m/sharing/level_1/b_gate"]
    vectors = model.embedding(inputs)
    x = np.concatenate([v.numpy() for v in vectors.values()], axis=1)
    for task in "ab":
        gate = report[f"m/sharing/level_1/{task}_gate"]
        kernel = model.sharing.levels[0].gates[task].kernel.numpy()
        weights = tf.nn.softmax(x @ kernel).numpy()
        assert gate["labels"] == [f"{task}_0", "shared_0"]
        assert gate["rows"] == 100
        np.testing.assert_allclose(gate["mean"], weights.mean(0), rtol=1e-5)
        np.testing.assert_allclose(gate["std"], weights.std(0), rtol=1e-4)
        assert [*gate["domains"]] == [1, 2, 3]
        for tab, part in gate["domains"].items():
            rows = weights[inputs["tab"] == tab]
            assert part["rows"] == len(rows)
            np.testing.assert_allclose(part["mean"], rows.mean(0), rtol=1e-5)
            np.testing.assert_allclose(part["std"], rows.std(0), rtol=1e-4)
    labels = {"a": np.zeros(100), "b": np.zeros(100)}
    dataset = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(30)
    again = model.gate_report(dataset)
    for path in report:
        np.testing.assert_allclose(again[path]["mean"], report[path]["mean"])
        assert again[path]["domains"] == {}


def test_a_model_without_gates_says_so():
    model = tfmtl.models.get("shared_bottom")(FEATURES, [tfmtl.Task("a")])
    inputs = {"tab": np.array([1, 2]), "x": np.zeros(2, "float32")}
    with pytest.raises(ValueError, match="needs a model with gates. Received: 'shared"):
        model.gate_report(inputs)
    with pytest.raises(
        ValueError, match="domain must be the name .* Did you mean 'tab'"
    ):
        model.gate_report(inputs, domain="tap")


def _gated(feature):
    return tfmtl.models.get("mmoe")(
        [feature, tfmtl.Numeric("x")], [tfmtl.Task("a")], expert_units=(4,)
    )


def test_domains_are_rows_of_the_table_in_numeric_order():
    tab = tfmtl.Categorical("tab", vocabulary_size=12)
    inputs = {"tab": np.array([10, 2, -1, 99, 2]), "x": np.zeros(5, "float32")}
    (gate,) = _gated(tab).gate_report(inputs, domain="tab").values()
    rows = {tab: part["rows"] for tab, part in gate["domains"].items()}
    assert list(rows.items()) == [(0, 2), (2, 2), (10, 1)]
    (gate,) = (
        _gated(tfmtl.Categorical("tab", num_buckets=5))
        .gate_report(
            {"tab": np.array([1, 6, 12]), "x": np.zeros(3, "float32")}, domain="tab"
        )
        .values()
    )
    assert [*gate["domains"]] == [1, 2]


def test_a_report_prints_and_draws_gates_by_the_values_of_the_domain():
    tab = tfmtl.Categorical("tab", vocabulary=["new", "hot"], oov_buckets=1)
    inputs = {"tab": ["hot", "new", "hot", "??"], "x": np.zeros(4, "float32")}
    report = _gated(tab).gate_report(inputs, domain="tab")
    (gate,) = report.values()
    rows = {value: part["rows"] for value, part in gate["domains"].items()}
    assert rows == {"new": 1, "hot": 2, "row 3": 1}
    head, every, new, *_ = repr(report).splitlines()
    assert head.startswith("mmoe/sharing: mean weight")
    assert f"{gate['labels'][0]} {gate['mean'][0]:.2f} ± " in every
    assert "a_gate, new " in new and "(1 rows)" in new
    (axes,) = report.plot().axes
    shown = [text.get_text() for text in axes.get_yticklabels()]
    assert shown == ["a_gate", "a_gate, new", "a_gate, hot", "a_gate, row 3"]
    cells = axes.images[0].get_array()
    np.testing.assert_allclose(cells[0], gate["mean"])


def test_gates_are_traced_once_and_read_as_they_are_now():
    model = _gated(FEATURES[0])
    inputs = {"tab": np.array([1, 2]), "x": np.ones(2, "float32")}
    before = model.gate_report(inputs)
    traced = [*vars(model)["_graphs"].values()]
    for gate in model.sharing.gates.values():
        gate.kernel.assign(gate.kernel * 100)
    (now,), (then,) = (
        report.values() for report in (model.gate_report(inputs), before)
    )
    assert np.abs(now["mean"] - then["mean"]).max() > 0.01
    assert [*vars(model)["_graphs"].values()] == traced


def test_data_that_cannot_be_reported_on_are_named():
    model = _gated(FEATURES[0])
    inputs = {"tab": np.array([1, 2]), "x": np.zeros(2, "float32")}
    dataset = tf.data.Dataset.from_tensor_slices(inputs)
    for data, message in [
        ((inputs, {"a": np.zeros(2)}), "without labels, or a dataset. Received: a tu"),
        ({"tab": inputs["tab"]}, "Feature 'x' is missing"),
        (dataset, r"must come in batches.*Received: 'tab' of shape \(\)"),
        (dataset.batch(2).take(0), "needs rows. Received: a dataset without any"),
        ({key: x[:0] for key, x in inputs.items()}, "needs rows"),
        ([inputs["x"]], "must hold dicts .*Received: ndarray"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.gate_report(data)
    with pytest.raises(ValueError, match="domain must be the name of a Categorical"):
        model.gate_report(inputs, domain="x")
    (gate,) = model.gate_report(dataset.batch(1)).values()
    assert gate["rows"] == 2


# With two tasks and `small` options; what is not here has no gates.
GATES = {
    "cross_stitch": 2,  # tasks
    "sluice": 4 + 2,  # halves, and what the towers read
    "snr": 2 + 2,  # receivers of both levels
    "omoe": 1,
    "mmoe": 2,
    "ml_mmoe": 2 + 2,
    "cgc": 2,
    "ple": 3 + 2,
    "adatt": 3 + 2,
    "stem": 2,
    "home": 2 * (2 + 2),  # of the group, the shared and the tasks
    "aitm": 1,
    "dephn": 3 + 2,  # selections and gates
    "mt_phn": 3 + 2,
    "epnet": 1,
    "ppnet": 2,  # layers
    "pepnet": 1 + 2,
    "sar_net": 2,
    "hinet": 1 + 1 + 2,  # sub-experts of the domain, shared ones, tasks
    "m3oe": 1 + 1 + 2,  # shares of other tasks, of the kinds of experts, tasks
    "m2m": 2,
    "adasparse": 1,  # weights of units
}


@representatives
def test_every_gate_of_every_architecture_whatever_the_tasks_are_called(name):
    tasks = [tfmtl.Task("public"), tfmtl.Task("level_2_expert_0")]
    inputs = {"tab": np.array([1, 2, 3]), "x": np.zeros(3, "float32")}
    model = quick_model(name, FEATURES, tasks, inputs, **small(name))
    health = model.gate_health(inputs, domain="tab")
    assert health["units"]
    assert not {"dead_expert", "unused_expert", "one_task_expert"} & {
        found["check"] for found in health["findings"]
    }
    if name not in GATES:
        assert health["gates"] == {}
        with pytest.raises(ValueError, match="needs a model with gates"):
            model.gate_report(inputs)
        return
    report = health["gates"]
    assert len(report) == GATES[name], [*report]
    for gate in report.values():
        assert gate["mean"].shape == (len(gate["labels"]),)
        assert gate["rows"] == 3 and [*gate["domains"]] == [1, 2, 3]
