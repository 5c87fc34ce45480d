"""Feature interactions as experts and as bottoms of the architectures."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from quick_model import quick_model, small
from representatives import fast

import tfmtl
from tfmtl.layers.interactions import registry

FEATURES = [
    tfmtl.Categorical("item", vocabulary_size=9, embedding_dim=4),
    tfmtl.Categorical("user", vocabulary_size=9, embedding_dim=6),
    tfmtl.Numeric("x"),
]
TASKS = [tfmtl.Task("click"), tfmtl.Task("watch", kind="regression")]
INPUTS = {
    "item": tf.constant([1, 2, 3, 4]),
    "user": tf.constant([8, 7, 6, 5]),
    "x": tf.constant([0.5, -1.0, 2.0, 0.0]),
}
LABELS = {"click": np.array([0, 1, 1, 0]), "watch": np.array([1.0, 2, 3, 4])}
READ_FIELDS = ("dephn", "mt_phn")


def _model(name, **options):
    return quick_model(name, FEATURES, TASKS, INPUTS, **options)


FAST = ("shared_bottom", "single_task", "ple", "esmm", "pepnet")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FAST else pytest.mark.slow)
        for name in tfmtl.models.names()
        if name not in READ_FIELDS
    ],
)
def test_any_architecture_takes_interactions_below(name):
    keras.utils.set_random_seed(0)
    model = _model(name, **small(name), interactions=["cross_v2", "fm"])
    plain = _model(name, **small(name))
    more = {w.path.split("/")[1] for w in model.weights}
    more -= {w.path.split("/")[1] for w in plain.weights}
    expected = {"interactions"}
    if name == "single_task":  # which shares nothing
        expected = {"click_interactions", "watch_interactions"}
    assert more == expected
    with tf.GradientTape() as tape:
        loss = model.compute_loss(INPUTS, LABELS, model(INPUTS, training=True))
    interactions = [w for w in model.trainable_weights if "interactions" in w.path]
    assert interactions
    for gradient in tape.gradient(loss, [w.value for w in interactions]):
        assert gradient is not None and np.abs(gradient).max() > 0


def test_the_bottom_is_its_interactions_side_by_side():
    model = _model("shared_bottom", units=(), interactions=["cross_v2", "fm", "cin"])
    vectors = model.embedding(INPUTS)
    cross, fm, cin = model.bottom.interactions
    fields = model.bottom.fields(vectors)
    joined = np.concatenate([v.numpy() for v in vectors.values()], axis=1)
    expected = np.concatenate([cross(joined), fm(fields), cin(fields)], axis=1)
    np.testing.assert_allclose(model.bottom(vectors), expected, rtol=1e-6)
    for task in TASKS:
        logits = model.towers[task.name](expected)
        prediction = task.activate(logits)
        np.testing.assert_allclose(model(INPUTS)[task.name], prediction, rtol=1e-5)


def test_structures_that_read_fields_say_where_interactions_go():
    for name in READ_FIELDS:
        with pytest.raises(ValueError, match="PHN reads one by one. Received: inter"):
            _model(name, interactions=["cross_v2"])


CASES = [
    ("cgc", {"shared_experts": ["cin", "dnn"], "task_experts": ["cross_v2"]}),
    (
        "cgc",
        {"task_experts": {"click": 2, "watch": [{"name": "attention", "heads": 1}]}},
    ),
    ("ple", {"shared_experts": ["cross_v2", "dnn"], "task_experts": ["cross"]}),
    ("ml_mmoe", {"experts": ["cross_v2", "dnn", {"name": "cross_mix", "depth": 1}]}),
    ("ml_mmoe", {"experts": ["cin", "dnn"], "expert_units": ((8,),)}),
    ("omoe", {"experts": ["field_recurrent_cross", "recurrent_cross"]}),
    (
        "dephn",
        {
            "public": ["dnn", {"name": "dnn", "units": [3], "activation": "relu"}],
            "private": ["cross_v2", "fm", "cin", "attention"],
        },
    ),
    ("mt_phn", {"public": ["fm", "recurrent_cross"], "private": []}),
]


@pytest.mark.parametrize(
    ("name", "options"), fast(CASES, [CASES[1], CASES[2], CASES[6]])
)
def test_experts_are_any_interactions(name, options, tmp_path):
    model = _model(name, **{**small(name), **options})
    model.compile(run_eagerly=True)  # no time for tracing
    model.fit(INPUTS, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for task, prediction in model(INPUTS).items():
        np.testing.assert_allclose(again(INPUTS)[task], prediction, rtol=1e-5)


def test_gate_reports_name_the_interactions():
    report = _model("cgc", **CASES[0][1]).gate_report(INPUTS)
    seen = {path.split("/")[-1]: gate["labels"] for path, gate in report.items()}
    assert seen == {
        "click_gate": ["click_cross_v2_0", "shared_cin_0", "shared_dnn_1"],
        "watch_gate": ["watch_cross_v2_0", "shared_cin_0", "shared_dnn_1"],
    }
    report = _model("dephn", **CASES[6][1]).gate_report(INPUTS)
    gates = report[[path for path in report if path.endswith("gates/click")][0]]
    assert gates["labels"] == ["dnn_0/raw", "dnn_0/sin", "dnn_1/raw", "dnn_1/sin"]


def test_what_cannot_be_experts_is_named():
    with pytest.raises(ValueError, match="need a single level.*Received: 2 levels"):
        _model("ple", shared_experts=["cin"])
    with pytest.raises(ValueError, match="need a single level.*Received: 2 levels"):
        _model("ml_mmoe", experts=["cin"])
    with pytest.raises(ValueError, match="task_experts of 'click' must be a positive"):
        _model("ple", task_experts=[])
    with pytest.raises(ValueError, match="Did you mean 'cross_v2'"):
        _model("ple", shared_experts=["cros_v2"])
    with pytest.raises(ValueError, match="a list of interactions, .* Received: 'd"):
        _model("shared_bottom", interactions="dnn")
    with pytest.raises(ValueError, match="experts must be a positive integer"):
        _model("ml_mmoe", experts=0)


# Each with the name that makes the same layers.
CROSS, NAMED = tfmtl.layers.CrossV2(1, name="mine"), {"name": "cross_v2", "depth": 1}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cgc", lambda it: {"task_experts": [it], "shared_experts": ["dnn", it]}),
        ("ple", lambda it: {"task_experts": {"click": [it], "watch": 1}}),
        ("ml_mmoe", lambda it: {"experts": [it, it]}),
        ("dephn", lambda it: {"private": [it]}),
        ("single_task", lambda it: {"interactions": [it]}),
    ],
)
def test_a_layer_is_a_pattern_of_which_each_use_has_a_copy(name, options, tmp_path):
    layer = tfmtl.layers.CrossV2(1, name="mine")
    layer.build((None, 7))  # which no copy looks at
    model, named = _model(name, **options(layer)), _model(name, **options(NAMED))
    assert [w.path for w in model.weights] == [w.path for w in named.weights]
    assert [w.shape for w in model.weights] == [w.shape for w in named.weights]
    assert not {id(w) for w in layer.weights} & {id(w) for w in model.weights}
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for task, prediction in model(INPUTS).items():
        np.testing.assert_allclose(again(INPUTS)[task], prediction, rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ("MMoE", {"experts": [CROSS, CROSS]}),
        ("OMoE", {"experts": [CROSS, "dnn"]}),
        ("MLMMoE", {"experts": [CROSS, "dnn"]}),
        ("CGC", {"shared_experts": [CROSS], "task_experts": [CROSS]}),
        ("PLE", {"shared_experts": [CROSS], "task_experts": {"a": [CROSS], "b": 1}}),
        ("PHN", {"public": [CROSS], "private": [CROSS]}),
    ],
)
def test_functional_models_with_layers_as_experts_load(layer, options, tmp_path):
    inputs = keras.Input((3, 2) if layer == "PHN" else (6,))
    outputs = getattr(tfmtl.layers, layer)(["a", "b"], **options)(inputs)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    x = np.ones((2, *inputs.shape[1:]))
    for task, output in model(x).items():
        np.testing.assert_allclose(again(x)[task], output, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dephn", {"public": "dnn"}, "public must be a list of interact.*: 'dnn'"),
        ("dephn", {"public": 3}, "public must be a list of interactions.*: 3"),
        ("dephn", {"private": None}, "private must be a list .*: None"),
        ("dephn", {"mappings": "raw"}, "mappings must be a list of names.*: 'raw'"),
        ("mmoe", {"experts": [3]}, "Each of experts must be a name, .*: 3"),
        ("mmoe", {"experts": "dnn"}, "experts must be a positive integer, or a list"),
        ("mmoe", {"expert_units": 64}, "expert_units must be a tuple .*: 64"),
        ("ple", {"expert_units": 64}, "expert_units must hold one tuple .*: 64"),
        ("shared_bottom", {"units": 64}, "units must be a tuple .*: 64"),
        ("shared_bottom", {"dropout": 1.5}, r"dropout must be in \[0, 1\].*: 1.5"),
        ("specific_top", {"units": 8}, "units must be a tuple .*: 8"),
        ("ple", {"ppnet": {"units": 8}}, "units of ppnet must be a tuple .*: 8"),
        ("pepnet", {"gamma": "2"}, "gamma must be a number above 0. Received: '2'"),
        ("epnet", {"epnet": {}}, "An argument of EPNet must be .*: 'epnet'"),
        ("ppnet", {"ppnet": {}}, "An argument of PPNet must be .*: 'ppnet'"),
    ],
)
def test_arguments_of_another_kind_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        _model(name, **options)


MULTIPLY = ["cross", "cross_v2", "cross_mix", "parallel_cross"]
MULTIPLY_FIELDS = ["field_interaction", "fm", "cin"]


@pytest.mark.parametrize("name", MULTIPLY + MULTIPLY_FIELDS)
def test_what_multiplies_reads_rows_of_a_size_of_at_most_1(name):
    """A number of size 1,000 to the fourth power would drown all else."""
    layer = tfmtl.layers.interaction(name)
    usual = tf.random.stateless_uniform((3, 4, 5), (0, 1), -1.0, 1.0)
    registry.build_flat(layer, usual.shape)
    expected = registry.call_flat(layer, usual)
    plain = usual if name in MULTIPLY_FIELDS else tf.reshape(usual, (3, 20))
    np.testing.assert_array_equal(expected, registry.flat(layer(plain)))

    rows = usual / tf.sqrt(tf.reduce_mean(usual**2, (1, 2), keepdims=True))
    large = tf.concat([rows[:2] * 1000, tf.zeros((1, 4, 5))], 0)
    with tf.GradientTape() as tape:
        tape.watch(large)
        found = registry.call_flat(layer, large)
    expected = registry.call_flat(layer, rows)[:2]
    np.testing.assert_allclose(found[:2], expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(tape.gradient(found, large)).all()  # of a row of zeros, too


@pytest.mark.parametrize("name", READ_FIELDS)
def test_raw_numbers_of_size_30_do_not_start_at_a_huge_loss(name):
    keras.utils.set_random_seed(0)
    model = _model(name)
    inputs = INPUTS | {"x": tf.constant([30.0, 25.0, 40.0, 90.0])}
    labels = {"click": LABELS["click"], "watch": np.zeros(4)}
    assert float(model.compute_loss(inputs, labels, model(inputs))) < 1e4
