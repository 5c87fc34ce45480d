"""HiNet: sub-experts of the domain, of the others by attention, of all; then CGC."""

import numpy as np
import tensorflow as tf
from effects import randomise

from tfmtl.layers import HiNet
from tfmtl.layers.blocks.gates import record_gates

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 5)).astype("float32")
DOMAIN = np.array([2, 0, 3, 3, 2, 0])


def _softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _integrated(part, x):
    """The mix of each group's two sub-experts of three units, (groups, 3)."""
    groups = len(part.groups)
    kernel = part.bank.kernels[0].numpy().reshape(5, groups * 2, 3)
    experts = np.einsum("i,iek->ek", x, kernel) + part.bank.biases[0].numpy()
    experts = np.maximum(experts, 0).reshape(groups, 2, 3)
    weights = _softmax((x @ part.kernel.numpy()).reshape(groups, 2))
    return np.einsum("gj,gjk->gk", weights, experts)


def _layer(domains=4):
    layer = HiNet(["click", "like"], domains, 2, (3,), expert_units=(2,))
    layer(X, DOMAIN % domains)
    randomise(layer)
    return layer


def test_it_is_its_equations():
    layer = _layer()
    outputs = layer(X, DOMAIN)
    read = []
    for row, d in enumerate(DOMAIN):
        own, shared = _integrated(layer.own, X[row]), _integrated(layer.shared, X[row])
        attention = _softmax(layer.attention.numpy()[d])
        others = sum(attention[j] * own[j] for j in range(4) if j != d)
        read.append(np.concatenate([others, own[d], shared[0]]))
    expected = layer.extraction(np.stack(read).astype("float32"))
    for task in ("click", "like"):
        np.testing.assert_allclose(outputs[task], expected[task], rtol=1e-4, atol=1e-6)


def test_the_attention_of_a_domain_is_moved_by_its_rows_alone():
    layer = _layer()
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(x**2) for x in layer(X, DOMAIN).values())
    gradient = tape.gradient(loss, layer.attention.value).numpy()
    moved = [bool(gradient[d].any()) for d in range(4)]
    assert moved == [True, False, True, True]


def test_a_domain_does_not_attend_to_itself():
    layer = _layer()
    with record_gates() as gates:
        layer(X, DOMAIN)
    weights, labels = gates[f"{layer.path}/attention"]
    assert labels == [f"domain_{i}" for i in range(4)]
    for row, d in enumerate(DOMAIN):
        assert weights[row, d] == 0 and weights[row].numpy().sum() > 0
    own, labels = gates[f"{layer.own.path}/domain_3"]
    assert labels == ["domain_3_0", "domain_3_1"]  # nobody else's
    np.testing.assert_allclose(own.numpy().sum(1), 1, rtol=1e-5)


def test_a_single_domain_has_no_attention():
    layer = _layer(domains=1)
    assert not any("attention" in weight.path for weight in layer.weights)
    assert layer.extraction.gates["click"].kernel.shape[0] == 6
