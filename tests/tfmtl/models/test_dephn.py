import functools

import keras
import numpy as np
import pytest

import tfmtl
from tfmtl.layers.blocks.virtual_gradient import (
    current_correlation,
    gradient_factor,
    label_correlation,
)

ROWS = 32
SMALL = {"units": (6,), "depth": 1}


def _model(**options):
    """Returns a model as it was made first; making one takes most of a test's time."""
    model, weights = _made(**options)
    model.set_weights(weights)
    return model


@functools.cache
def _made(tasks=None, architecture="dephn", **options):
    keras.utils.set_random_seed(3)
    tasks = tasks or [
        tfmtl.Task("click", tower=()),
        tfmtl.Task("like", space="click", tower=(4,)),
        tfmtl.Task("watch", kind="regression", loss="log_mse", space="played"),
    ]
    model = tfmtl.models.get(architecture)(
        [
            tfmtl.Categorical("user", vocabulary_size=9, embedding_dim=4),
            tfmtl.Categorical("item", vocabulary_size=9, embedding_dim=6),
            tfmtl.Numeric("x"),
        ],
        list(tasks),
        **{**SMALL, **options},
    )
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)  # no time for tracing
    return model, model.get_weights()


def _data(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    inputs = {
        "user": rng.integers(0, 9, rows),
        "item": rng.integers(0, 9, rows),
        "x": rng.normal(size=rows).astype("float32"),
    }
    labels = {
        "click": rng.integers(0, 2, rows).astype("float32"),
        "like": rng.integers(0, 2, rows).astype("float32"),
        "watch": rng.exponential(9, rows).astype("float32"),
        "played": rng.integers(0, 2, rows).astype("float32"),
    }
    labels["like"][:5] = np.nan
    return inputs, labels


def _step(model, inputs, labels, **options):
    """Returns by how much one step of SGD moved each weight."""
    before = [w.numpy() for w in model.trainable_weights]
    model.train_on_batch(inputs, labels, **options)
    after = [w.numpy() for w in model.trainable_weights]
    return [new - old for new, old in zip(after, before, strict=True)]


def _same(a, b, **tolerance):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, **{"rtol": 1e-3, "atol": 1e-6, **tolerance})


def _correlation_by_hand(labels, kind="pearson"):
    played = labels["played"] == 1
    inside = {
        "click": np.ones(ROWS, bool),
        "like": (labels["click"] == 1) & ~np.isnan(labels["like"]),
        "watch": played,
    }
    filled = [np.where(inside[task], labels[task], 0) for task in inside]
    return label_correlation(np.stack(filled), np.stack(list(inside.values())), kind)


@pytest.mark.parametrize("kind", ["pearson", "cosine"])
def test_a_step_scales_the_gates_gradient_and_no_other(kind):
    inputs, labels = _data()
    plain = _step(_model(coefficient=None), inputs, labels)
    model = _model(correlation=kind)
    gates = model.sharing.gates.gates
    start = gates.numpy()
    scaled = _step(model, inputs, labels)
    factor = gradient_factor(start, _correlation_by_hand(labels, kind)).numpy()
    assert np.abs(factor - 1).max() > 0.3  # else this would show little
    is_gates = [w is gates for w in model.trainable_weights]
    assert sum(is_gates) == 1
    expected = [x * factor if i else x for x, i in zip(plain, is_gates, strict=True)]
    _same(scaled, expected)


def test_compiled_steps_are_the_eager_ones():
    inputs, labels = _data()
    tasks = tuple(
        tfmtl.Task(name, kind="regression", tower=()) for name in ("click", "watch")
    )
    light = {"tasks": tasks, "public": ("dnn",), "private": (), "heads": 0}
    model = _model(**light)
    start = model.sharing.gates.gates.numpy()
    results = []
    for chosen in ({"run_eagerly": True}, {"jit_compile": True}):
        model = _model(**light)
        model.compile(keras.optimizers.SGD(1e-3), **chosen)
        model.fit(inputs, labels, batch_size=16, shuffle=False, verbose=0)
        results.append(model.sharing.gates.gates.numpy())
    assert np.abs(results[0] - start).max() > 1e-4
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)


def test_rows_outside_every_space_change_no_step():
    inputs, labels = _data()
    alone = _step(_model(), inputs, labels)
    more_inputs, more_labels = _data(seed=1)
    both = {k: np.concatenate([v, more_inputs[k]]) for k, v in inputs.items()}
    unlabelled = {
        k: np.concatenate([v, np.full(ROWS, np.nan, "float32")])
        for k, v in labels.items()
    }
    weightless = {k: np.concatenate([v, more_labels[k]]) for k, v in labels.items()}
    weight = np.repeat([1, 0], ROWS).astype("float32")
    _same(alone, _step(_model(), both, unlabelled))
    _same(alone, _step(_model(), both, weightless, sample_weight=weight))


def test_labels_that_say_nothing_leave_all_weights_finite():
    inputs, labels = _data()
    for value in (0, 1, np.nan):
        model = _model()
        constant = {k: np.full(ROWS, value, "float32") for k in labels}
        for change in _step(model, inputs, constant):
            assert np.isfinite(change).all()
    assert current_correlation() is None  # nothing is left behind a step


def test_one_task_has_a_plain_gradient():
    inputs, labels = _data()
    light = {"tasks": (tfmtl.Task("click"),), "private": ()}
    plain = _step(_model(**light, coefficient=None), inputs, labels["click"])
    _same(plain, _step(_model(**light), inputs, labels["click"]))


def test_a_loaded_model_trains_on_with_the_virtual_gradient(tmp_path):
    inputs, labels = _data()
    model = _model(correlation="cosine", coefficient="mul_cos", heads=0)
    _step(model, inputs, labels)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    _same(_step(model, inputs, labels), _step(again, inputs, labels))


def test_gate_reports():
    inputs, _ = _data()
    report = _model().gate_report(inputs)
    # One selection for all tasks and one a task, half and half at the start; one gate
    # a task, over three public DNNs and two mappings. All are the same for all rows.
    selections = {p: g for p, g in report.items() if p.endswith("_selection")}
    assert len(selections) == 4 and len(report) == 7
    for path, gate in report.items():
        np.testing.assert_allclose(gate["std"], 0, atol=1e-6)
        if path in selections:
            assert gate["labels"] == ["user", "item", "x"]
            np.testing.assert_allclose(gate["mean"], 0.5)
        else:
            assert gate["labels"][:3] == ["dnn_0/raw", "dnn_0/sin", "dnn_1/raw"]
            assert len(gate["mean"]) == 6
    report = _model(architecture="mt_phn").gate_report(inputs)
    for gate in (g for p, g in report.items() if not p.endswith("_selection")):
        assert gate["labels"] == ["dnn_0/raw", "dnn_1/raw", "dnn_2/raw"]
        np.testing.assert_allclose(gate["mean"].sum(), 1, rtol=1e-5)
        assert gate["std"].min() > 0  # these depend on the row


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="correlation must be one of.*'pearsn'"):
        _model(correlation="pearsn")
    with pytest.raises(ValueError, match="coefficient must be one of"):
        _model(coefficient="sqrt")
