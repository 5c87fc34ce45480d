import numpy as np
import pytest
import tensorflow as tf

import tfmtl

FEATURES = [tfmtl.Numeric("x")]
X = {"x": np.linspace(-1, 1, 6).astype("float32")}
NAN = float("nan")


def _model(tasks, **options):
    return tfmtl.models.get("esmm")(FEATURES, tasks, units=(8,), **options)


def _bce(p, y):
    return float(np.mean(-(y * np.log(p) + (1 - y) * np.log(1 - p))))


def _values(outputs):
    return {name: x.numpy()[:, 0] for name, x in outputs.items()}


def test_two_tasks_are_the_papers_loss_and_product():
    model = _model([tfmtl.Task("click"), tfmtl.Task("buy")])
    vectors = model.embedding(X)
    logits = _values(model.score(model.share(vectors, X), X))
    ctr, cvr = (1 / (1 + np.exp(-logits[t])) for t in ("click", "buy"))
    outputs = model(X)
    p = _values(outputs)
    np.testing.assert_allclose(p["click"], ctr, rtol=1e-5)
    np.testing.assert_allclose(p["buy"], ctr * cvr, rtol=1e-5)
    click = np.array([0, 1, 1, 0, 1, 0.0])
    buy = np.array([0, 0, 1, 0, 1, 0.0])
    loss = model.compute_loss(X, {"click": click, "buy": buy}, outputs)
    expected = _bce(ctr, click) + _bce(ctr * cvr, buy)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_a_task_given_click_returns_its_conditional_and_has_the_same_loss():
    whole = _model([tfmtl.Task("click"), tfmtl.Task("buy")])
    given = _model([tfmtl.Task("click"), tfmtl.Task("buy", space="click")])
    given.set_weights(whole.get_weights())
    p, q = _values(whole(X)), _values(given(X))
    np.testing.assert_allclose(q["click"] * q["buy"], p["buy"], rtol=1e-5)
    labels = {"click": np.array([0, 1, 1, 0, 1, 0.0])}
    buy = np.array([0, 0, 1, 0, 1, 0.0])
    # What an unclicked row says of buying is not looked at.
    marked = np.where(labels["click"] == 1, buy, NAN)
    losses = [
        whole.compute_loss(X, {**labels, "buy": buy}, whole(X)),
        given.compute_loss(X, {**labels, "buy": marked}, given(X)),
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_unclicked_rows_teach_the_conditional_task():
    model = _model([tfmtl.Task("click"), tfmtl.Task("buy", space="click")])
    labels = {"click": np.zeros(6), "buy": np.zeros(6)}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(X, labels, model({"x": tf.constant(X["x"])}))
    logit = model.towers["buy"].logit.bias.value
    assert float(tape.gradient(loss, logit)[0]) > 0  # P(buy | click) must fall


def test_a_missing_label_takes_the_row_out_of_what_follows():
    tasks = [
        tfmtl.Task("click"),
        tfmtl.Task("cart", space="click"),
        tfmtl.Task("buy", space="cart"),
    ]
    model = _model(tasks)
    labels = {
        "click": np.array([0, 1, 1, 1, NAN, 1]),
        "cart": np.array([NAN, 0, 1, NAN, 1, 1]),
        "buy": np.array([NAN, NAN, 1, 1, 1, NAN]),
    }
    rows = model.loss_rows(X, labels, model(X))
    p = _values(model(X))
    label, prediction, weight = (np.asarray(x) for x in rows["buy"])
    np.testing.assert_allclose(prediction, p["click"] * p["cart"] * p["buy"], rtol=1e-5)
    assert weight.tolist() == [1, 1, 1, 0, 0, 0]
    assert (label * weight).tolist() == [0, 0, 1, 0, 0, 0]


def test_parents():
    tasks = [
        tfmtl.Task("like", space="click"),
        tfmtl.Task("click"),
        tfmtl.Task("share", space="click"),
        tfmtl.Task("watch", kind="regression", space="click"),
        tfmtl.Task("long_view", space="played"),
        tfmtl.Task("buy"),
        tfmtl.Task("hide"),
    ]
    both = {"like": "click", "share": "click"}
    parents = {**both, "click": None, "buy": "click"}
    assert _model(tasks).parents == {**parents, "hide": "buy"}
    assert _model(tasks, chain=["click", "buy"]).parents == parents
    assert _model(tasks, chain=[]).parents == {**both, "click": None}


def test_tasks_outside_the_chain_are_those_of_any_model():
    tasks = [
        tfmtl.Task("click"),
        tfmtl.Task("watch", kind="regression", space="click"),
        tfmtl.Task("buy"),
    ]
    model = _model(tasks, chain=["click"])
    logits = _values(model.score(model.share(model.embedding(X), X), X))
    p = _values(model(X))
    np.testing.assert_allclose(p["watch"], logits["watch"], rtol=1e-6)
    np.testing.assert_allclose(p["buy"], 1 / (1 + np.exp(-logits["buy"])), rtol=1e-5)


def test_starts_at_the_means_of_products():
    model = _model([tfmtl.Task("click"), tfmtl.Task("cart"), tfmtl.Task("buy")])
    means = {"click": 0.2, "cart": 0.04, "buy": 0.001}
    model.start_at(means)
    for name, p in _values(model({"x": np.zeros(1, "float32")})).items():
        np.testing.assert_allclose(p, means[name], rtol=1e-4)


def test_bad_chains_are_refused():
    tasks = [tfmtl.Task("click"), tfmtl.Task("watch", kind="regression")]
    with pytest.raises(ValueError, match="Each task of `chain` must be one of 'click'"):
        _model(tasks, chain=["click", "watch"])
    with pytest.raises(ValueError, match="chain` must have different names.*'click'"):
        _model(tasks, chain=["click", "click"])
    with pytest.raises(ValueError, match="chain must be a list of tasks. Received: 'c"):
        _model(tasks, chain="click")
    circle = [tfmtl.Task("a", space="b"), tfmtl.Task("b", space="a")]
    with pytest.raises(ValueError, match="a -> b -> a"):
        _model(circle)


def test_no_row_is_outside_of_a_task_that_is_given_another():
    tasks = [tfmtl.Task("click"), tfmtl.Task("buy", space="click", outside=0.1)]
    with pytest.raises(ValueError, match=r"every row.*Received: outside of \['buy'\]"):
        tfmtl.models.get("esmm")([tfmtl.Numeric("x")], tasks)
