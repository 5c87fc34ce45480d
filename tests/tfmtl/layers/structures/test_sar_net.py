"""SAR-Net: the domain's scale, shift and experts; gates over them and the shared."""

import numpy as np
import tensorflow as tf
from effects import randomise

from tfmtl.layers import SARNet
from tfmtl.layers.blocks.gates import record_gates

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 5)).astype("float32")
DOMAIN = np.array([2, 0, 3, 3, 2, 0])


def _layer():
    layer = SARNet(["click", "like"], 4, 3, 2, (3,))
    layer(X, DOMAIN)
    randomise(layer)
    return layer


def _experts(bank, x):
    kernel = bank.kernels[0].numpy().reshape(5, bank.experts, 3)
    return np.maximum(np.einsum("i,iek->ek", x, kernel) + bank.biases[0].numpy(), 0)


def test_it_is_its_equations():
    layer = _layer()
    with record_gates() as gates:
        outputs = layer(X, DOMAIN)
    for row, d in enumerate(DOMAIN):
        x = layer.gamma.numpy()[d] * X[row] + layer.beta.numpy()[d]
        own = _experts(layer.own, x)[2 * d : 2 * d + 2]
        experts = np.concatenate([_experts(layer.shared, x), own])
        for task, gate in layer.gates.items():
            weights = np.exp(x @ gate.kernel.numpy())
            weights /= weights.sum()
            np.testing.assert_allclose(outputs[task][row], weights @ experts, 1e-4)
            found, labels = gates[gate.path]
            np.testing.assert_allclose(found[row], weights, 1e-4)
    assert labels == ["shared_0", "shared_1", "shared_2", "domain_0", "domain_1"]


def test_a_row_moves_its_domains_part_and_no_others():
    layer = _layer()
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(x**2) for x in layer(X, DOMAIN).values())
    own = layer.own
    variables = [layer.gamma, layer.beta, own.biases[0], own.kernels[0]]
    gamma, beta, bias, kernel = tape.gradient(loss, [v.value for v in variables])
    kernel = np.moveaxis(kernel.numpy().reshape(5, 4, 2, 3), 1, 0)
    of_experts = [bias.numpy().reshape(4, 2, 3), kernel]
    for part in (gamma.numpy(), beta.numpy(), *of_experts):
        assert [bool(part[d].any()) for d in range(4)] == [True, False, True, True]


def test_the_input_starts_as_it_is_in_every_domain():
    layer = SARNet(["click"], 4, 2, 1, (3,))
    layer.build(X.shape)
    assert (layer.gamma.numpy() == 1).all() and (layer.beta.numpy() == 0).all()
    layer.own.kernels[0].assign(np.zeros((5, 12), "float32"))
    same = np.tile(X[:1], (4, 1))
    out = layer(same, np.arange(4))["click"].numpy()
    np.testing.assert_allclose(out, np.tile(out[:1], (4, 1)), rtol=1e-6)
