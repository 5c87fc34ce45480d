"""STAR: shared times domain's weights, normalisation by domain, auxiliary network."""

import numpy as np
import pytest
import tensorflow as tf
from effects import randomise

import tfmtl
from tfmtl import layers

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 5)).astype("float32")
DOMAIN = np.array([2, 0, 3, 3, 2, 0])


def _relu(x):
    return np.maximum(x, 0)


def test_a_rows_network_is_the_shared_one_times_its_domains():
    layer = layers.StarTower(4, (8, 3))
    layer(X, DOMAIN)
    randomise(layer)
    out = layer(X, DOMAIN).numpy()
    for row, d in enumerate(DOMAIN):
        x = X[row]
        for dense, activation in zip(layer.layers, (_relu, _relu, float), strict=True):
            kernel = dense.kernel.numpy() * (1 + dense.domain_kernels.numpy()[:, d])
            bias = dense.bias.numpy() + dense.domain_biases.numpy()[d]
            x = x @ kernel + bias
            x = activation(x) if activation is _relu else x
        np.testing.assert_allclose(out[row], x, rtol=1e-4)


def test_a_row_moves_the_shared_weights_and_its_domains_alone():
    layer = layers.StarTower(4, (3,))
    layer.build(X.shape)
    randomise(layer)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(X, DOMAIN) ** 2)
    dense = layer.layers[0]
    variables = [dense.kernel, dense.bias, dense.domain_kernels, dense.domain_biases]
    kernel, bias, kernels, biases = tape.gradient(loss, [v.value for v in variables])
    assert kernel.numpy().any() and bias.numpy().any()
    for d in range(4):
        assert kernels[:, d].numpy().any() == biases[d].numpy().any() == (d != 1)


def test_domains_start_as_the_shared_network():
    layer = layers.StarTower(4, (8, 3))
    same = np.tile(X[:1], (4, 1))
    out = layer(same, np.arange(4)).numpy()
    np.testing.assert_array_equal(out, np.tile(out[:1], (4, 1)))


def _normalised(x, gamma=1.0, beta=0.0):
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3) + beta


def test_training_normalises_by_the_domains_rows_of_the_batch():
    layer = layers.PartitionedNormalization(4)
    layer.build(X.shape)
    randomise(layer)
    out = layer(X, DOMAIN, training=True).numpy()
    for d in (0, 2, 3):
        own = DOMAIN == d
        gamma = layer.gamma.numpy() * layer.domain_gamma.numpy()[d]
        beta = layer.beta.numpy() + layer.domain_beta.numpy()[d]
        expected = _normalised(X[own], gamma, beta)
        np.testing.assert_allclose(out[own], expected, rtol=1e-4, atol=1e-5)


def test_inference_normalises_by_the_kept_statistics_of_the_domain():
    layer = layers.PartitionedNormalization(4, momentum=0.75)
    layer(X, DOMAIN, training=True)
    # A batch without rows of domain 3 leaves its statistics.
    more, domain = 2 * X[:3] + 1, np.array([0, 0, 2])
    layer(more, domain, training=True)
    kept = {d: (X[d == DOMAIN].mean(0), X[d == DOMAIN].var(0)) for d in (0, 2, 3)}
    for d in (0, 2):
        rows = more[domain == d]
        kept[d] = tuple(
            0.75 * old + 0.25 * new
            for old, new in zip(kept[d], (rows.mean(0), rows.var(0)), strict=True)
        )
    out = layer(X, DOMAIN, training=False).numpy()
    for row, d in enumerate(DOMAIN):
        mean, variance = kept[d]
        expected = (X[row] - mean) / np.sqrt(variance + 1e-3)
        np.testing.assert_allclose(out[row], expected, rtol=1e-4, atol=1e-5)


def test_a_domain_not_met_is_normalised_by_the_statistics_of_all_rows():
    layer = layers.PartitionedNormalization(4)
    untrained = layer(X, DOMAIN)
    np.testing.assert_allclose(untrained, X / np.sqrt(1 + 1e-3), rtol=1e-6)
    layer(X, DOMAIN, training=True)
    out = layer(X, np.ones(6, int), training=False)
    np.testing.assert_allclose(out, _normalised(X), rtol=1e-4, atol=1e-5)


def test_statistics_do_not_lose_a_small_variance_in_half_precision():
    layer = layers.PartitionedNormalization(1, dtype="mixed_bfloat16")
    x = np.float32([[100.0], [101.0]])
    out = layer(x.astype("bfloat16"), np.zeros(2, int), training=True)
    np.testing.assert_allclose(np.float32(out), [[-1], [1]], atol=0.01)
    assert out.dtype == "bfloat16"


def test_domains_must_be_integers():
    with pytest.raises(ValueError, match="tensor of integers. Received: float32"):
        layers.StarTower(4)(X, DOMAIN.astype("float32"))


def _model(**options):
    features = [tfmtl.Categorical("tab", vocabulary_size=4), tfmtl.Numeric("x")]
    tasks = [tfmtl.Task("click", tower=(4,)), tfmtl.Task("watch", kind="regression")]
    options = {"units": (6,), **options}
    return tfmtl.models.get("star")(features, tasks, domain="tab", **options)


def test_the_auxiliary_networks_logit_is_added():
    model = _model(auxiliary_units=(3,))
    inputs = {"tab": np.array([1, 2, 3, 0]), "x": np.float32([1, 2, 3, 4])}
    before = model(inputs)["watch"].numpy()
    kernel = model.auxiliary_logits["watch"].kernel
    assert kernel.shape == (3, 1)
    vectors = model.embedding(inputs)
    hidden = model.sharing.auxiliary(model.joined(vectors)).numpy()
    more = np.float32([[1.0], [2.0], [-3.0]])
    kernel.assign(kernel + more)
    np.testing.assert_allclose(model(inputs)["watch"], before + hidden @ more, 1e-4)
    assert not _model(auxiliary_units=()).auxiliary_logits


@pytest.mark.parametrize("options", [{}, {"ppnet": {"prior_features": ["tab"]}}])
def test_an_id_that_is_not_known_is_domain_0(options):
    model = _model(**options)
    for tower in model.towers.values():
        biases = tower.layers[-1].domain_biases
        assert biases.shape == (4, 1)
        biases.assign(np.float32([[0], [1], [2], [3]]))
    ids = np.array([0, 77, -1, 1])
    out = model({"tab": ids, "x": np.ones(4, "float32")})["watch"].numpy()
    np.testing.assert_array_equal(out[0], out[1])
    np.testing.assert_array_equal(out[0], out[2])
    assert out[3] != out[0]
