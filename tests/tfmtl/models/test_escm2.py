"""The counterfactual risks by hand, and where their gradient may go."""

import numpy as np
import pytest
import tensorflow as tf

import tfmtl

FEATURES = [tfmtl.Numeric("x")]
X = {"x": np.linspace(-1, 1, 6).astype("float32")}
CLICK = np.array([0, 1, 1, 0, 1, 0.0])
BUY = np.array([0, 0, 1, 0, 1, 0.0])
GIVEN = [tfmtl.Task("click"), tfmtl.Task("buy", space="click")]
WHOLE = [tfmtl.Task("click"), tfmtl.Task("buy")]


def _model(tasks=GIVEN, **options):
    return tfmtl.models.get("escm2")(FEATURES, tasks, units=(8,), **options)


def _risk(model, y, predictions=None):
    """Returns what the model adds to ESMM's loss."""
    if predictions is None:
        predictions = model(X, training=True)
    return float(model.compute_other_loss(X, y, predictions))


def _parts(model):
    """Returns P(click), P(buy given click), its loss, and what is imputed, of rows."""
    vectors = model.embedding(X)
    logits = model.score(model.share(vectors, X), X)
    ctr, cvr = (1 / (1 + np.exp(-logits[t].numpy()[:, 0])) for t in ("click", "buy"))
    delta = -(BUY * np.log(cvr) + (1 - BUY) * np.log(1 - cvr))
    imputed = 0
    if model.imputations:
        imputed = model.imputations["buy"](vectors["x"]).numpy()[:, 0]
        imputed = np.log1p(np.exp(imputed))
    return ctr, cvr, delta, imputed


@pytest.mark.parametrize("tasks", [GIVEN, WHOLE])
@pytest.mark.parametrize("risk", ["ips", "dr"])
def test_risks_are_the_papers(tasks, risk):
    model = _model(tasks, risk=risk, risk_weight=0.3)
    ctr, _, delta, d = _parts(model)
    rows = CLICK * delta / ctr
    if risk == "dr":
        e = delta - d
        rows = d + CLICK * e / ctr + CLICK * e**2 / ctr
    found = _risk(model, {"click": CLICK, "buy": BUY})
    np.testing.assert_allclose(found, 0.3 * rows.mean(), rtol=1e-4)


def test_propensities_are_cut():
    model = _model(risk="ips", clip=1.25, risk_weight=1.0)
    _, _, delta, _ = _parts(model)
    model.start_at({"click": 0.001})
    found = _risk(model, {"click": CLICK, "buy": BUY})
    np.testing.assert_allclose(found, (CLICK * delta * 1.25).mean(), rtol=1e-4)


def test_a_row_of_unknown_label_has_no_risk_and_weights_count():
    tasks = [tfmtl.Task("click"), tfmtl.Task("buy", space="click", weight=0.5)]
    model = _model(tasks, risk="ips", risk_weight=1.0)
    ctr, _, delta, _ = _parts(model)
    unknown = np.where(np.arange(6) == 2, np.nan, BUY)
    known = CLICK * (np.arange(6) != 2)
    found = _risk(model, {"click": CLICK, "buy": unknown})
    np.testing.assert_allclose(found, 0.5 * (known * delta / ctr).sum() / 5, rtol=1e-4)


def _reached(model):
    """Returns the gradient of the risk at the tasks' logits and imputation's bias."""
    biases = {name: tower.output_bias.value for name, tower in model.towers.items()}
    for name, tower in model.imputations.items():
        biases[f"{name} imputed"] = tower.output_bias.value
    with tf.GradientTape() as tape:
        y = {"click": CLICK, "buy": BUY}
        loss = model.compute_other_loss(X, y, model(X, training=True))
    gradients = tape.gradient(loss, biases)
    return {k: 0.0 if g is None else float(abs(g[0])) for k, g in gradients.items()}


@pytest.mark.parametrize("tasks", [GIVEN, WHOLE])
@pytest.mark.parametrize("risk", ["ips", "dr"])
def test_the_risk_does_not_bend_the_propensity(tasks, risk):
    reached = _reached(_model(tasks, risk=risk))
    assert reached.pop("click") < 1e-6
    assert list(reached) == (["buy", "buy imputed"] if risk == "dr" else ["buy"])
    assert min(reached.values()) > 1e-3


def test_a_chain_takes_the_step_before_as_its_propensity():
    tasks = [tfmtl.Task("click"), tfmtl.Task("cart"), tfmtl.Task("buy")]
    model = _model(tasks, risk="ips", risk_weight=1.0)
    p = {name: x.numpy()[:, 0] for name, x in model(X).items()}
    cart = np.array([0, 1, 1, 0, 0, 0.0])
    buy = np.array([0, 0, 1, 0, 0, 0.0])
    cvr = {"cart": p["cart"] / p["click"], "buy": p["buy"] / p["cart"]}
    expected = 0
    for o, before, y, name in (
        (CLICK, "click", cart, "cart"),
        (cart, "cart", buy, "buy"),
    ):
        q = cvr[name]
        delta = -(y * np.log(q) + (1 - y) * np.log(1 - q))
        expected += (o * delta / np.maximum(p[before], 1 / 15)).mean()
    found = _risk(model, {"click": CLICK, "cart": cart, "buy": buy})
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_predictions_are_esmms_and_imputations_are_learnt_in_training_alone():
    model = _model()
    esmm = tfmtl.models.get("esmm")(FEATURES, GIVEN, units=(8,))
    weights = {w.path.split("/", 1)[1]: w for w in model.weights}
    for weight in esmm.weights:
        weight.assign(weights[weight.path.split("/", 1)[1]])
    for name, p in esmm(X).items():
        np.testing.assert_allclose(model(X)[name], p, rtol=1e-6)
    y = {"click": CLICK, "buy": BUY}
    assert _risk(model, y, model(X)) == 0  # without imputations it is not known
    model.compile(run_eagerly=True)  # a graph takes longer to make than to run
    before = model.imputations["buy"].output_bias.numpy()
    model.fit(X, y, verbose=0)
    assert model.imputations["buy"].output_bias.numpy() != before
    # An epoch's validation has the risk too.
    alone = _model(risk_weight=0.0)
    alone.set_weights(model.get_weights())
    alone.compile(run_eagerly=True)
    losses = [m.evaluate(X, y, verbose=0, return_dict=True) for m in (model, alone)]
    assert losses[0]["loss"] > losses[1]["loss"]
    assert losses[0]["buy_loss"] == pytest.approx(losses[1]["buy_loss"])


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="risk must be one of 'dr', 'ips'"):
        _model(risk="snips")
    with pytest.raises(ValueError, match="clip must be a number >= 1"):
        _model(clip=0.5)
    with pytest.raises(ValueError, match="risk_weight must be a number >= 0"):
        _model(risk_weight=-1)
