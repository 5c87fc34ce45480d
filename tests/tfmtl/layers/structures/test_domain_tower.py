"""Towers of domains, alone and in SpecificTop."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import layers

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 5)).astype("float32")
DOMAIN = np.array([2, 0, 3, 3, 2, 0])


def test_each_row_gets_its_own_domains_tower():
    layer = layers.DomainTower(4, (8, 3))
    layer.build(X.shape)
    for weight in layer.weights:
        weight.assign(RNG.normal(size=weight.shape))
    out = layer(X, DOMAIN).numpy()
    kernels = [kernel.numpy() for kernel in layer.hidden.kernels]
    kernels[0] = np.moveaxis(kernels[0].reshape(5, 4, 8), 1, 0)  # (D, in, out)
    for row, d in enumerate(DOMAIN):
        x = X[row]
        for kernel, bias in zip(kernels, layer.hidden.biases, strict=True):
            x = np.maximum(x @ kernel[d] + bias.numpy()[d], 0)
        logit = x @ layer.kernel.numpy()[d] + layer.bias.numpy()[d, 0]
        np.testing.assert_allclose(out[row], [logit], rtol=1e-4)


def test_only_the_domains_of_the_batch_learn():
    layer = layers.DomainTower(4, ())
    layer.build(X.shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(X, DOMAIN))
    kernel, bias = tape.gradient(loss, [layer.kernel.value, layer.bias.value])
    np.testing.assert_array_equal(bias[:, 0], [2, 0, 2, 2])
    np.testing.assert_allclose(kernel[2], X[0] + X[4], rtol=1e-6)
    assert not kernel[1].numpy().any()


def test_logits_start_with_the_scale_of_one_dense_layer():
    layer = layers.DomainTower(50, ())
    layer.build((None, 99))
    kernel = layer.kernel.numpy()
    assert kernel.std() == pytest.approx(np.sqrt(2 / 100), rel=0.05)
    assert len(np.unique(kernel, axis=0)) == 50


@pytest.mark.parametrize("units", [(), (8,)])
def test_half_precision_inside_of_another_layer(units):
    """Keras then casts no variable of a layer that leaves its inputs as they are."""
    tower = layers.DomainTower(4, units, dtype="mixed_bfloat16")
    tower.build(X.shape)

    class Outer(keras.layers.Layer):
        def call(self, x):
            return tower(x, DOMAIN)

    outer = Outer(dtype="mixed_bfloat16")
    np.testing.assert_array_equal(
        np.float32(outer(X)), np.float32(tower(X, DOMAIN)), strict=True
    )


def _specific_top(**kwargs):
    features = [tfmtl.Categorical("tab", vocabulary_size=4), tfmtl.Numeric("x")]
    tasks = [tfmtl.Task("click"), tfmtl.Task("watch", kind="regression")]
    return tfmtl.models.get("specific_top")(features, tasks, domain="tab", **kwargs)


@pytest.mark.parametrize("options", [{}, {"ppnet": {"prior_features": ["tab"]}}])
def test_a_domains_rows_leave_other_domains_alone(options):
    model = _specific_top(**options)
    x = np.ones(6, "float32")
    # The same embedding for all tabs: what differs are the towers.
    embedding = model.embedding
    embedding.set_table("tab", np.ones_like(embedding.table("tab")))
    before = model.predict({"tab": np.arange(6), "x": x}, verbose=0)
    # Ids 4 and 5 are outside of the vocabulary: unknown, as id 0.
    assert before["click"][0] == before["click"][4] == before["click"][5]
    assert len(np.unique(before["click"][:4])) == 4
    for tower in model.towers.values():
        tower.bias.assign(tower.bias.numpy() + np.array([[0], [0], [1], [0]]))
    after = model.predict({"tab": np.arange(6), "x": x}, verbose=0)
    for task, change in (("click", None), ("watch", [0, 0, 1, 0, 0, 0])):
        moved = (after[task] - before[task])[:, 0]
        np.testing.assert_array_equal(moved[[0, 1, 3, 4, 5]], 0)
        assert moved[2] > 0
        if change:
            np.testing.assert_allclose(moved, change, rtol=1e-5)


def test_domain_must_be_a_categorical_feature():
    features = [tfmtl.Categorical("tab", vocabulary_size=4), tfmtl.Numeric("x")]
    for name in ("shared_top", "specific_top", "epnet", "ppnet", "pepnet"):
        with pytest.raises(ValueError, match="Received: 'tap'. Did you mean 'tab'"):
            tfmtl.models.get(name)(features, [tfmtl.Task("click")], domain="tap")
        with pytest.raises(ValueError, match="must be the name of a Categorical"):
            tfmtl.models.get(name)(features, [tfmtl.Task("click")], domain="x")


def test_ids_of_domains_are_exact_in_half_precision():
    layer = layers.DomainTower(300, units=(), dtype="mixed_bfloat16")
    x, domain = np.ones((4, 2)), np.array([256, 257, 258, 299])
    layer.build((4, 2), (4,))
    layer.kernel.assign(np.arange(600.0).reshape(300, 2) % 17)
    expected = layer(x, domain)
    np.testing.assert_array_equal(layer(x, domain.astype("float32")), expected)
    assert np.ptp(expected) > 0
