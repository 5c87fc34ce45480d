"""AdaSparse: the three forms of pruning weights, and what they are put on."""

import numpy as np
import pytest
import tensorflow as tf
from effects import randomise

import tfmtl
from tfmtl.layers import AdaSparse
from tfmtl.layers.blocks.gates import record_gates

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 5)).astype("float32")
CONDITION = RNG.normal(size=(6, 3)).astype("float32")


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


FORMS = {
    "fusion": lambda v: np.where(3 * _sigmoid(2 * v) > 0.8, 3 * _sigmoid(2 * v), 0),
    "scaling": lambda v: np.where(3 * _sigmoid(v) > 0.8, 3 * _sigmoid(v), 0),
    "binary": lambda v: np.float32(_sigmoid(2 * v) > 0.8),
}


def _layer(form, **options):
    options = {"alpha": 2.0, "beta": 3.0, "epsilon": 0.8, **options}
    layer = AdaSparse(["click"], (8, 4), form, **options)
    layer(X, CONDITION)
    randomise(layer)
    return layer


@pytest.mark.parametrize("form", FORMS)
def test_it_is_its_equations(form):
    layer = _layer(form)
    with record_gates() as gates:
        out = layer(X, CONDITION)["click"]
    x, means = X, []
    for i, pruner in enumerate(layer.pruners):
        if i:
            x = np.maximum(x @ layer.layers[i - 1].kernel + layer.layers[i - 1].bias, 0)
        weights = FORMS[form](np.concatenate([CONDITION, x], 1) @ pruner.kernel)
        assert 0 < np.mean(weights == 0) < 1  # some are pruned
        means.append(weights.mean(1))
        x = weights * x
    np.testing.assert_allclose(out, x, rtol=1e-4, atol=1e-6)
    ((found, labels),) = gates.values()
    np.testing.assert_allclose(found, np.stack(means, 1), rtol=1e-4)
    assert labels == ["input", "layer_0", "layer_1"]


def _pruner_gradient(form, epsilon):
    layer = _layer(form, epsilon=epsilon)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(X, CONDITION)["click"])
    return tape.gradient(loss, layer.pruners[0].kernel.value).numpy()


def test_binary_weights_learn_by_the_sigmoids_gradient():
    assert _pruner_gradient("binary", 0.1).any()


def test_what_is_pruned_has_no_gradient():
    assert not _pruner_gradient("fusion", 3.0).any()  # no weight is above beta
    assert _pruner_gradient("fusion", 0.1).any()


def _even(**options):
    """A layer all of whose weights are beta / 2."""
    layer = AdaSparse(["click"], (8,), **options)
    layer(X, CONDITION)
    for pruner in layer.pruners:
        pruner.kernel.assign(np.zeros(pruner.kernel.shape, "float32"))
    return layer


def test_fusion_starts_as_the_plain_network():
    layer = _even()
    np.testing.assert_allclose(
        layer(X, CONDITION)["click"], layer.layers[0](X), rtol=1e-6
    )


def test_a_weight_of_epsilon_is_pruned():
    assert not _even(epsilon=1.0)(X, CONDITION)["click"].numpy().any()


def test_the_domain_and_nothing_else_tells_rows_apart():
    layer = _layer("fusion", epsilon=0.0, activation="sigmoid")
    same = np.tile(X[:1], (6, 1))
    assert len(np.unique(layer(same, CONDITION)["click"], axis=0)) == 6
    for pruner, width in zip(layer.pruners, (5, 8, 4), strict=True):
        assert pruner.kernel.shape == (3 + width, width)
    alone = AdaSparse(["click"], (8, 4))
    alone(X)
    assert alone.pruners[0].kernel.shape == (5, 5)


def test_domain_features_are_checked():
    features = [tfmtl.Categorical("tab", vocabulary_size=4), tfmtl.Numeric("x")]
    make, tasks = tfmtl.models.get("adasparse"), [tfmtl.Task("click")]
    with pytest.raises(ValueError, match="must be a list of feature names.*'tab'"):
        make(features, tasks, domain_features="tab")
    with pytest.raises(ValueError, match="domain_features must be one of 'tab', 'x'"):
        make(features, tasks, domain_features=["tap"])
    with pytest.raises(ValueError, match="form must be one of.*Received: 'fused'"):
        make(features, tasks, form="fused")
