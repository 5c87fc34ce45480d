import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import layers

TASKS = ["click", "cart", "buy"]
X = np.random.default_rng(7).normal(size=(5, 4)).astype("float32")


def test_transfer_is_its_equation():
    layer = layers.AITM(TASKS, units=(6,))
    layer(X)
    rng = np.random.default_rng(8)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    q = {task: bottom(X).numpy() for task, bottom in layer.bottoms.bottoms.items()}
    z = {"click": q["click"]}
    for before, task in (("click", "cart"), ("cart", "buy")):
        transfer = layer.transfers[task]
        kernel, bias = transfer.information.get_weights()
        p = np.maximum(z[before] @ kernel + bias, 0)
        h1, h2, h3 = (dense.get_weights()[0] for dense in transfer.projections)
        scores = np.stack(
            [((u @ h2) * (u @ h3)).sum(axis=1) / np.sqrt(6) for u in (p, q[task])], 1
        )
        w = np.exp(scores - scores.max(axis=1, keepdims=True))
        w /= w.sum(axis=1, keepdims=True)
        z[task] = w[:, [0]] * (p @ h1) + w[:, [1]] * (q[task] @ h1)
    for task, output in layer(X).items():
        np.testing.assert_allclose(output, z[task], rtol=1e-3, atol=1e-3)


def test_information_flows_down_the_funnel_only():
    layer = layers.AITM(TASKS, units=(6,))
    layer(X)

    def reaches(task, other):
        weight = layer.bottoms.bottoms[other].trainable_weights[0].value
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant(X))[task] ** 2)
        return tape.gradient(loss, weight) is not None

    for i, task in enumerate(TASKS):
        for j, other in enumerate(TASKS):
            assert reaches(task, other) == (j <= i)


def _model(tasks, **options):
    model = tfmtl.models.get("aitm")([tfmtl.Numeric("x")], tasks, units=(8,), **options)
    inputs = {"x": X[:, 0]}
    return model, inputs, {name: x.numpy() for name, x in model(inputs).items()}


def test_calibrator_by_hand():
    tasks = [tfmtl.Task("click"), tfmtl.Task("buy")]
    model, inputs, _ = _model(tasks, calibrator=0.6)
    plain, _, _ = _model(tasks, calibrator=0)
    predictions = {
        "click": np.array([[0.5], [0.5], [0.5], [0.5], [0.5]], "float32"),
        "buy": np.array([[0.7], [0.4], [0.6], [0.5], [0.9]], "float32"),
    }
    labels = {
        "click": np.array([1, 0, 1, 0, np.nan], "float32"),
        "buy": np.array([1, 0, 0, 0, 1], "float32"),
    }
    both = [m.compute_loss(inputs, labels, predictions) for m in (model, plain)]
    # The last row's click is not known.
    penalty = (0.2 + 0 + 0.1 + 0) / 4
    np.testing.assert_allclose(both[0] - both[1], 0.6 * penalty, rtol=1e-4)


def test_calibrator_pulls_the_later_task_below_the_earlier():
    model, inputs, before = _model([tfmtl.Task("click"), tfmtl.Task("buy")])
    model.towers["buy"].logit.bias.assign([2.0])
    ones = {name: np.ones(5, "float32") for name in ("click", "buy")}
    biases = [model.towers[name].logit.bias.value for name in ("click", "buy")]
    gradients = []
    for calibrator in (0.0, 5.0):
        model.calibrator = calibrator
        with tf.GradientTape() as tape:
            outputs = model({"x": tf.constant(inputs["x"])})
            loss = model.compute_loss(inputs, ones, outputs)
        gradients.append([float(g[0]) for g in tape.gradient(loss, biases)])
    assert gradients[1][0] < gradients[0][0]  # click is pushed up
    assert gradients[1][1] > gradients[0][1]  # buy is pushed down


def test_calibrator_holds_for_binary_tasks_of_one_space():
    tasks = [
        tfmtl.Task("click"),
        tfmtl.Task("watch", kind="regression"),
        tfmtl.Task("cart"),
        tfmtl.Task("like", space="click"),
        tfmtl.Task("share", space="click"),
        tfmtl.Task("buy"),
    ]
    model, _, outputs = _model(tasks)
    assert sorted(model.ordered) == [
        ("cart", "buy"),
        ("click", "cart"),
        ("like", "share"),
    ]
    assert list(outputs) == [task.name for task in tasks]
    # The regression is a link of the chain like any other.
    assert list(model.sharing.transfers) == [task.name for task in tasks[1:]]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="calibrator must be >= 0. Received: -1"):
        _model([tfmtl.Task("click")], calibrator=-1)
    with pytest.raises(ValueError, match="labels must name the previous task"):
        layers.InformationTransfer(["click"])
