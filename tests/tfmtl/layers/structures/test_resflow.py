"""ResFlow against its equations: what flows from task to task."""

import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl.layers import ResFlow

TASKS = ["a", "b", "c"]
X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def test_each_layer_adds_that_of_the_task_before():
    layer = ResFlow(TASKS, (7, 6))
    outputs = layer(X)
    before = [0, 0]
    for task in TASKS:
        x, flow = X, []
        for dnn, residual in zip(layer.networks[task], before, strict=True):
            (dense,) = dnn.layers
            x = np.maximum(x @ dense.kernel.numpy() + dense.bias.numpy(), 0) + residual
            flow.append(x)
        before = flow
        np.testing.assert_allclose(outputs[task], x, rtol=1e-4, atol=1e-6)


def test_a_later_task_teaches_the_earlier_and_no_earlier_one_the_later():
    layer = ResFlow(["a", "b"], (16,))
    layer(X)
    kernels = [layer.networks[t][0].layers[0].kernel.value for t in ("a", "b")]
    for task, reached in {"a": [True, False], "b": [True, True]}.items():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(X)[task] ** 2)
        assert [g is not None for g in tape.gradient(loss, kernels)] == reached


def _model(tasks):
    return tfmtl.models.get("resflow")([tfmtl.Numeric("x")], tasks, units=(8,))


def test_logits_flow_between_binary_tasks_of_one_sample_space():
    tasks = [
        tfmtl.Task("click"),
        tfmtl.Task("watch", kind="regression", space="click"),
        tfmtl.Task("like", space="click"),
        tfmtl.Task("cart"),
        tfmtl.Task("share", space="click"),
        tfmtl.Task("buy"),
    ]
    model = _model(tasks)
    assert model.before == {"cart": "click", "share": "like", "buy": "cart"}
    x = {"x": np.float32([-1, 0.5, 2])}
    shared = model.share(model.embedding(x), x)
    own = {name: tower(shared[name]).numpy() for name, tower in model.towers.items()}
    outputs = {name: p.numpy() for name, p in model(x).items()}
    expected = {
        "click": own["click"],
        "like": own["like"],
        "cart": own["click"] + own["cart"],
        "share": own["like"] + own["share"],
        "buy": own["click"] + own["cart"] + own["buy"],
    }
    for name, logit in expected.items():
        np.testing.assert_allclose(outputs[name], 1 / (1 + np.exp(-logit)), rtol=1e-4)
    np.testing.assert_allclose(outputs["watch"], own["watch"], rtol=1e-5)


def test_starts_at_the_means_of_sums():
    model = _model([tfmtl.Task("click"), tfmtl.Task("cart"), tfmtl.Task("buy")])
    model.towers["cart"].output_bias.assign([0.5])  # whose mean is not known
    model.start_at({"click": 0.2, "buy": 0.001})
    p = {k: float(v[0, 0]) for k, v in model({"x": np.zeros(1, "float32")}).items()}
    np.testing.assert_allclose([p["click"], p["buy"]], [0.2, 0.001], rtol=1e-4)
    np.testing.assert_allclose(p["cart"], 1 / (1 + np.exp(-0.5) / 0.25), rtol=1e-4)


def test_a_network_without_layers_is_refused():
    with pytest.raises(ValueError, match="at least one layer"):
        ResFlow(TASKS, ())
