"""M3oE: shared experts by gates, domains' and tasks' by two levels of weights."""

import numpy as np
import tensorflow as tf
from effects import randomise

import tfmtl
from tfmtl.layers import M3oE
from tfmtl.layers.blocks.gates import record_gates
from tfmtl.layers.blocks.recording import gated_experts, hidden_units

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 5)).astype("float32")
DOMAIN = np.array([2, 0, 3, 3, 2, 0])
TASKS = ["click", "like", "buy"]


def _sigmoid(z):
    return 1 / (1 + np.exp(-z.numpy()))


def _softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _bank(bank, x):
    """All experts of a row, (experts, units)."""
    kernel = bank.dense.kernels[0].numpy().reshape(len(x), bank.dense.experts, -1)
    h = np.einsum("i,iek->ek", x, kernel) + bank.dense.biases[0].numpy()
    h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
    return np.maximum(bank.gamma.numpy() * h + bank.beta.numpy(), 0)


def _balanced(beta, own, experts):
    others = [e for i, e in enumerate(experts) if i != own]
    return beta * experts[own] + (1 - beta) * np.mean(others, axis=0)


def _layer(tasks=TASKS, domains=4):
    layer = M3oE(tasks, domains, 4, 3, shared_experts=2, expert_units=3)
    layer(X, DOMAIN % domains)
    randomise(layer)
    layer.alpha.assign([0.3, -0.8])
    return layer


def test_it_is_its_equations():
    layer = _layer()
    outputs = layer(X, DOMAIN)
    alpha = _sigmoid(layer.alpha)
    beta = {name: _sigmoid(b) for name, b in layer.betas.items()}
    for row, d in enumerate(DOMAIN):
        star = layer.star
        kernel = star.kernel.numpy() * (1 + star.domain_kernels.numpy()[:, d])
        by_domain = X[row] @ kernel + star.bias.numpy() + star.domain_biases.numpy()[d]
        r = _bank(layer.deep, by_domain)[0] + _bank(layer.skip, X[row])[0]
        shared, of_domains, of_tasks = (_bank(bank, r) for bank in layer.banks)
        gates = (r @ layer.kernel.numpy()).reshape(4, 3, 2)
        for k, task in enumerate(TASKS):
            expected = (
                _softmax(gates[d, k]) @ shared
                + alpha[0] * _balanced(beta["domain_beta"], d, of_domains)
                + alpha[1] * _balanced(beta["task_beta"], k, of_tasks)
            )
            expected /= 1 + alpha.sum()
            np.testing.assert_allclose(outputs[task][row], expected, 1e-3, 1e-5)


def test_a_gate_report_tells_what_fuses_the_experts():
    layer = _layer()
    with record_gates() as gates:
        layer(X, DOMAIN)
    for name, beta in layer.betas.items():
        shares, labels = gates[f"{layer.path}/{name}"]
        expected = [_sigmoid(beta), 1 - _sigmoid(beta)]
        np.testing.assert_allclose(shares, expected, rtol=1e-5)
        assert labels == ["own", "others"]


def test_units_are_those_behind_the_activation():
    layer = _layer()
    with hidden_units.listen() as units, gated_experts.listen() as mixed:
        layer(X, DOMAIN)
    shared = units.pop(f"{layer.path}/shared_experts/dense/layer_0")
    np.testing.assert_array_equal(shared[0], mixed[f"{layer.path}/click_gate"])
    assert len(units) == 4  # two networks, and the experts of domains and tasks
    for x, rows in units.values():
        assert rows == 0 and x.shape[0] == 6 and (x.numpy() == 0).any()


def test_the_gates_do_not_train_what_they_read():
    layer = _layer()
    # Nothing reaches the representation but through the gates.
    for bank in layer.banks:
        kernel = bank.dense.kernels[0]
        kernel.assign(np.zeros(kernel.shape, "float32"))
        bank.beta.assign(RNG.normal(size=bank.beta.shape).astype("float32"))
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(x**2) for x in layer(X, DOMAIN).values())
    below = [w.value for w in (*layer.star.weights, *layer.skip.trainable_weights)]
    gates, *below = tape.gradient(loss, [layer.kernel.value, *below])
    assert gates.numpy().any()
    assert not any(g.numpy().any() for g in below)


def test_a_gate_is_moved_by_its_domains_rows_alone():
    layer = _layer()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(X, DOMAIN)["like"] ** 2)
    gradient = tape.gradient(loss, layer.kernel.value).numpy().reshape(3, 4, 3, 2)
    moved = gradient.any(axis=(0, 3))  # (domains, tasks)
    expected = np.zeros((4, 3), bool)
    expected[[0, 2, 3], TASKS.index("like")] = True
    np.testing.assert_array_equal(moved, expected)


def test_a_single_domain_and_task_have_their_experts_whole():
    layer = _layer(["click"], domains=1)
    assert not layer.betas
    shared, of_domains, of_tasks = (
        bank(layer.deep(layer.star(X, 0 * DOMAIN))[:, 0] + layer.skip(X)[:, 0])
        for bank in layer.banks
    )
    with record_gates() as gates:
        out = layer(X, 0 * DOMAIN)["click"]
    mix = tf.linalg.matvec(shared, gates[f"{layer.path}/click_gate"][0], True)
    alpha = _sigmoid(layer.alpha)
    np.testing.assert_allclose(gates[f"{layer.path}/kinds"][0], alpha, rtol=1e-5)
    expected = mix + alpha[0] * of_domains[:, 0] + alpha[1] * of_tasks[:, 0]
    np.testing.assert_allclose(out, expected / (1 + alpha.sum()), rtol=1e-4)


def test_each_domain_has_a_tower_of_its_own():
    features = [tfmtl.Categorical("tab", vocabulary_size=4), tfmtl.Numeric("x")]
    tasks = [tfmtl.Task("click", tower=(4,))]
    model = tfmtl.models.get("m3oe")(
        features, tasks, domain="tab", domain_units=4, units=4, expert_units=4
    )
    inputs = {"tab": np.array([0, 1, 2, 99]), "x": np.ones(4, "float32")}
    before = model.predict(inputs, verbose=0)["click"][:, 0]
    tower = model.towers["click"]
    assert tower.domains == 4
    tower.bias.assign([[0], [0], [1], [0]])
    after = model.predict(inputs, verbose=0)["click"][:, 0]
    np.testing.assert_array_equal(after > before, [False, False, True, False])
    assert before[0] == before[3]  # unknown ids are domain 0
