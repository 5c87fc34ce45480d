import numpy as np
import pytest
import tensorflow as tf

from tfmtl import layers
from tfmtl.layers.blocks.gates import record_gates

TASKS = ["click", "like"]
X = np.random.default_rng(6).normal(size=(5, 4)).astype("float32")


def _softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _mix(gate, experts):
    weights = _softmax(X @ gate.kernel.numpy())
    return sum(weights[:, [i]] * experts[:, i] for i in range(experts.shape[1]))


def test_mmoe_is_its_equations():
    layer = layers.MMoE(TASKS, experts=3, expert_units=(6,))
    outputs = layer(X)
    experts = layer.experts(X).numpy()
    for task in TASKS:
        expected = _mix(layer.gates[task], experts)
        np.testing.assert_allclose(outputs[task], expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(outputs["click"], outputs["like"])


def test_experts_start_with_the_fans_of_one_dense_layer():
    layer = layers.Experts(5, (64, 32))
    layer(X)
    for kernel, fans in zip(layer.kernels, (4 + 64, 64 + 32), strict=True):
        limit = np.sqrt(6 / fans)  # Glorot's
        assert 0.97 * limit < np.abs(kernel).max() <= limit


def test_omoe_has_one_gate_for_all():
    layer = layers.OMoE(TASKS, experts=3, expert_units=(6,))
    outputs = layer(X)
    assert list(layer.gates) == ["shared"] and list(outputs) == TASKS
    expected = _mix(layer.gates["shared"], layer.experts(X).numpy())
    for task in TASKS:
        np.testing.assert_allclose(outputs[task], expected, rtol=1e-5, atol=1e-6)


def test_ml_mmoe_is_its_equations():
    layer = layers.MLMMoE(TASKS, experts=3, expert_units=((6,), (5,), (4,)))
    outputs = layer(X)
    experts = layer.first(X).numpy()
    for level in (2, 3):
        names = [f"level_{level}_expert_{i}" for i in range(3)]
        # Every gate selects by the raw input.
        read = [_mix(layer.gates[name], experts) for name in names]
        pairs = zip(names, read, strict=True)
        experts = np.concatenate([layer.upper[name](x) for name, x in pairs], axis=1)
    for task in TASKS:
        expected = _mix(layer.gates[f"task_{task}"], experts)
        np.testing.assert_allclose(outputs[task], expected, rtol=1e-4, atol=1e-5)


def test_ml_mmoe_of_one_level_is_mmoe():
    one = layers.MLMMoE(TASKS, experts=3, expert_units=((6, 4),))
    mmoe = layers.MMoE(TASKS, experts=3, expert_units=(6, 4))
    for layer in (one, mmoe):
        layer(X)
    assert [w.shape for w in one.weights] == [w.shape for w in mmoe.weights]
    one.set_weights(mmoe.get_weights())
    for task in TASKS:
        np.testing.assert_allclose(one(X)[task], mmoe(X)[task], rtol=1e-6)


def test_a_task_moves_all_experts_but_only_its_own_gate():
    layer = layers.MMoE(TASKS, experts=3, expert_units=(6,))
    layer(X)
    kernels = [layer.experts.kernels[0], *(layer.gates[t].kernel for t in TASKS)]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant(X))["click"] ** 2)
    experts, own, other = tape.gradient(loss, [k.value for k in kernels])
    assert all(part.numpy().any() for part in tf.split(experts, 3, axis=1))
    assert own.numpy().any() and other is None


def test_ml_mmoe_names_what_its_gates_read():
    layer = layers.MLMMoE(TASKS, experts=2, expert_units=((6,), (4,)))
    with record_gates() as gates:
        layer(X)
    labels = {path.rsplit("/", 1)[1]: labels for path, (_, labels) in gates.items()}
    assert labels == {
        "level_2_expert_0_gate": ["level_1_expert_0", "level_1_expert_1"],
        "level_2_expert_1_gate": ["level_1_expert_0", "level_1_expert_1"],
        "task_click_gate": ["level_2_expert_0", "level_2_expert_1"],
        "task_like_gate": ["level_2_expert_0", "level_2_expert_1"],
    }


def test_bad_arguments_are_named():
    for layer in (layers.MMoE, layers.OMoE, layers.MLMMoE):
        with pytest.raises(ValueError, match="experts must be a positive integer"):
            layer(TASKS, experts=0)
    with pytest.raises(ValueError, match=r"Received: \(8, 4\)"):
        layers.MLMMoE(TASKS, expert_units=(8, 4))
