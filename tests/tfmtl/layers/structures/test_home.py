"""HoME against a naive loop: who reads what, how experts are normalised and gated."""

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.layers import HoME, NormalisedExperts
from tfmtl.layers.blocks.gates import record_gates

X = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
TASKS = ["a", "b", "c"]
GROUPS = {"first": ["a", "c"], "second": ["b"]}


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _experts(bank, x, training):
    scale = 2 * _sigmoid(x @ bank.down.numpy() @ bank.up.numpy())
    z = (x * scale) @ bank.kernel.numpy()
    bn = bank.normalization
    mean, var = bn.moving_mean.numpy(), bn.moving_variance.numpy()
    if training:
        mean, var = z.mean(axis=0), z.var(axis=0)
    z = (z - mean) / np.sqrt(var + bn.epsilon) * bn.gamma.numpy() + bn.beta.numpy()
    return (z * _sigmoid(z)).reshape(len(x), bank.experts, bank.units)


@pytest.mark.parametrize("training", [False, True])
def test_experts_are_gated_normalised_and_swished(training):
    bank = NormalisedExperts(3, 4, gate_rank=2)
    bank(X)
    for weight in bank.weights[:-1]:
        weight.assign(np.random.default_rng(1).uniform(0.5, 1.5, weight.shape))
    expected = _experts(bank, X, training)
    np.testing.assert_allclose(bank(X, training=training), expected, 1e-3, 1e-5)


def _mixed(unit, selector, banks):
    weights = _softmax(selector @ unit.gate.kernel.numpy())
    mix = np.einsum("be,beu->bu", weights, np.concatenate(banks, axis=1))
    own = selector @ unit.self_gate.kernel.numpy()
    own = _sigmoid(own) if own.shape[1] == 1 else _softmax(own)
    return mix + np.einsum("be,beu->bu", own, banks[0])


@pytest.mark.parametrize(
    ("own", "groups", "training"),
    [(1, GROUPS, False), (2, GROUPS, True), (1, None, False)],
)
def test_home_is_its_equations(own, groups, training):
    layer = HoME(TASKS, groups, 2, 1, own, 8, 4, gate_rank=2)
    outputs = layer(X, training=training)
    groups = groups or {"all": TASKS}

    def experts(bank, x):
        return np.asarray(bank(x, training=training))

    first = {n: experts(bank, X) for n, bank in layer.below.items()}
    z = {
        g: _mixed(layer.group_gates[g], X, [first[g], first["shared"]]) for g in groups
    }
    every = [first["shared"], *(first[g] for g in groups)]
    z["shared"] = _mixed(layer.group_gates["shared"], X, every)
    second = {n: experts(bank, z[n]) for n, bank in layer.above.items()}
    assert list(outputs) == TASKS
    for group, tasks in groups.items():
        selector = np.concatenate([z[group], z["shared"]], axis=1)
        for task in tasks:
            mine = experts(layer.experts[task], z[group])
            banks = [mine, second[group], second["shared"]]
            expected = _mixed(layer.gates[task], selector, banks)
            np.testing.assert_allclose(outputs[task], expected, rtol=1e-4, atol=1e-5)


def test_a_tasks_loss_does_not_reach_the_experts_of_another_groups_second_level():
    layer = HoME(TASKS, GROUPS, group_units=16, task_units=8)
    layer(X)
    kernels = {
        (level, name): bank.kernel.value
        for level, banks in enumerate(
            (layer.below, layer.above, layer.experts), start=1
        )
        for name, bank in banks.items()
    }
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(X)["b"] ** 2)
    reached = {k for k, g in tape.gradient(loss, kernels).items() if g is not None}
    # Level 1 meets at its shared gate; of level 2 it sees its own group and the shared.
    lower = {(1, name) for name in ("first", "second", "shared")}
    assert reached == {*lower, (2, "second"), (2, "shared"), (3, "b")}


def test_gates_and_their_labels():
    layer = HoME(TASKS, GROUPS, 1, 2, 2, 8, 4, name="home")
    layer(X)
    with record_gates() as gates:
        layer(X)
    labels = {path: labels for path, (_, labels) in gates.items()}
    assert len(labels) == 2 * (2 + 1 + 3)
    groups = ["first_0", "first_1", "second_0", "second_1"]
    assert labels["home/shared_group/gate"] == ["shared_0", *groups]
    assert labels["home/second_group/gate"] == [*groups[2:], "shared_0"]
    assert labels["home/c/gate"] == ["c_0", "c_1", *groups[:2], "shared_0"]
    assert labels["home/c/self_gate"] == ["c_0", "c_1"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"first": ["a", "b"]}, r"every task once. Received: \['a', 'b'\]"),
        ({"first": TASKS, "second": ["a"]}, "every task once"),
        ({"a": TASKS}, "a name of its own.*Received: 'a'"),
        ({"shared": TASKS}, "a name of its own"),
        (TASKS, "must be a dict"),
        ({"first": "a", "second": ["b", "c"]}, "must be a dict"),
    ],
)
def test_bad_groups_are_refused(groups, message):
    with pytest.raises(ValueError, match=message):
        HoME(TASKS, groups)


def test_other_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"units must be a positive integer.*\(8,\)"):
        HoME(TASKS, task_units=(8,))
    with pytest.raises(ValueError, match="experts must be a positive integer"):
        HoME(TASKS, task_experts=0)


def test_a_few_steps_leave_statistics_to_predict_by():
    bank = NormalisedExperts(1, 4, gate_rank=2)
    x = 10 * X + 5
    for _ in range(30):
        trained = bank(x, training=True)
    np.testing.assert_allclose(bank(x), trained, atol=0.25)
