"""PEPNet's gate and EPNet against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmtl import layers

RNG = np.random.default_rng(3)
VECTORS = {
    name: RNG.normal(size=(5, dim)).astype("float32")
    for name, dim in {"user": 4, "tab": 3, "x": 1}.items()
}
E = np.concatenate(list(VECTORS.values()), axis=1)


def gate_nu(x, gate):
    """Eq. 2 and 3, from the weights of a GateNU."""
    w1, b1, w2, b2 = [w.numpy() for w in gate.weights]
    hidden = np.maximum(x @ w1 + b1, 0)
    return gate.gamma / (1 + np.exp(-(hidden @ w2 + b2)))


def gradients(layer, weights):
    """Gradients of a weighted sum of the outputs with respect to each vector."""
    vectors = {name: tf.constant(v) for name, v in VECTORS.items()}
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        outputs = layer(vectors)
        loss = sum(tf.reduce_sum(outputs[name] * weights[name]) for name in vectors)
    return {name: g.numpy() for name, g in tape.gradient(loss, vectors).items()}


def test_gate_nu_is_equations_2_and_3():
    gate = layers.GateNU(4, gamma=3.0, hidden_units=6)
    out = gate(E).numpy()
    assert [w.shape for w in gate.weights] == [(8, 6), (6,), (6, 4), (4,)]
    np.testing.assert_allclose(out, gate_nu(E, gate), rtol=1e-5)
    # By default, x' is as wide as the output.
    gate = layers.GateNU(4)
    gate(E)
    assert gate.weights[0].shape == (8, 4)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_scales_lie_between_0_and_gamma(gamma):
    gate = layers.GateNU(16, gamma)
    out = gate(E * 1000).numpy()
    assert out.min() >= 0 and out.max() <= gamma
    assert out.min() < 0.01 * gamma and out.max() > 0.99 * gamma
    gate.scale.set_weights([np.zeros_like(w) for w in gate.scale.get_weights()])
    np.testing.assert_allclose(gate(E), gamma / 2)


def test_epnet_is_equations_5_and_6():
    layer = layers.EPNet(["tab"])
    out = layer(VECTORS)
    delta = gate_nu(np.concatenate([VECTORS["tab"], E], axis=1), layer.gate)
    assert delta.shape == (5, 8)
    np.testing.assert_allclose(
        np.concatenate(list(out.values()), axis=1), delta * E, rtol=1e-5
    )


def test_field_wise_gate_has_one_scale_a_feature():
    layer = layers.EPNet(["tab"], field_wise=True)
    out = layer(VECTORS)
    delta = gate_nu(np.concatenate([VECTORS["tab"], E], axis=1), layer.gate)
    assert delta.shape == (5, 3)
    for i, (name, vector) in enumerate(VECTORS.items()):
        np.testing.assert_allclose(out[name], delta[:, [i]] * vector, rtol=1e-5)


def test_a_single_domain_needs_no_features():
    layer = layers.EPNet()
    out = layer(VECTORS)
    np.testing.assert_allclose(
        out["user"], (gate_nu(E, layer.gate) * E)[:, :4], rtol=1e-5
    )


def test_no_gradient_reaches_the_embedding_through_the_gate():
    weights = {name: RNG.normal(size=v.shape) for name, v in VECTORS.items()}
    layer = layers.EPNet(["tab"])
    got = gradients(layer, weights)
    delta = gate_nu(np.concatenate([VECTORS["tab"], E], axis=1), layer.gate)
    product = dict(zip(VECTORS, np.split(delta, [4, 7], axis=1), strict=True))
    for name in ("user", "x"):  # the product's gradient, and nothing else
        np.testing.assert_allclose(
            got[name], product[name] * weights[name], rtol=1e-4, atol=1e-6
        )
    # The gate trains the domain's own vector.
    assert np.abs(got["tab"] - product["tab"] * weights["tab"]).max() > 1e-3
    flowing = layers.EPNet(["tab"], embedding_input="gradient")
    flowing.build({name: v.shape for name, v in VECTORS.items()})
    flowing.set_weights(layer.get_weights())
    assert np.abs(gradients(flowing, weights)["user"] - got["user"]).max() > 1e-3
    for name, output in layer(VECTORS).items():
        np.testing.assert_allclose(output, flowing(VECTORS)[name])


def test_the_second_versions_gate_reads_the_domain_alone():
    layer = layers.EPNet(["tab"], embedding_input="none")
    out = layer(VECTORS)
    delta = gate_nu(VECTORS["tab"], layer.gate)
    np.testing.assert_allclose(
        np.concatenate(list(out.values()), axis=1), delta * E, rtol=1e-5
    )


def test_bad_arguments():
    with pytest.raises(ValueError, match="gamma must be a number above 0. Received: 0"):
        layers.EPNet(gamma=0)
    with pytest.raises(ValueError, match="hidden_units must be a positive integer"):
        layers.EPNet(hidden_units=0)
    with pytest.raises(ValueError, match="units must be a positive integer"):
        layers.GateNU(0)
    with pytest.raises(ValueError, match="list of feature names. Received: 'tab'"):
        layers.EPNet("tab")
    with pytest.raises(ValueError, match="A gate must read something"):
        layers.EPNet(embedding_input="none")
    with pytest.raises(ValueError, match="embedding_input must be one of"):
        layers.EPNet(embedding_input="stop")
    with pytest.raises(ValueError, match="Received: 'tap'. Did you mean 'tab'"):
        layers.EPNet(["tap"])({k: keras.ops.array(v) for k, v in VECTORS.items()})
