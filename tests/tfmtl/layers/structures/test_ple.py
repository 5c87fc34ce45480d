"""CGC and PLE against naive loops, and where gradients may and may not flow."""

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.layers import CGC, PLE
from tfmtl.layers.blocks.gates import record_gates

TASKS = ["a", "b", "c"]
X = np.random.default_rng(0).normal(size=(7, 5)).astype("float32")


def _softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def _expert(bank, i, x):
    """One expert of a bank, with its own slices of the stacked kernels."""
    width = bank.units[0]
    h = x @ bank.kernels[0].numpy()[:, i * width : (i + 1) * width]
    h = np.maximum(h + bank.biases[0].numpy()[i], 0)
    for kernel, bias in zip(bank.kernels[1:], bank.biases[1:], strict=True):
        h = np.maximum(h @ kernel.numpy()[i] + bias.numpy()[i], 0)
    return h


def _loop(levels, x, row):
    """PLE's equations 2 to 6, one row, one expert at a time."""
    state = {name: x[row] for name in (*TASKS, "shared")}
    for level in levels:
        out = {}
        for name, gate in level.gates.items():
            banks = [name, "shared"] if name != "shared" else [*TASKS, "shared"]
            outputs = [
                _expert(level.experts[bank], i, state[bank])
                for bank in banks
                for i in range(level.experts[bank].experts)
            ]
            weights = _softmax(state[name] @ gate.kernel.numpy())
            assert len(weights) == len(outputs)
            out[name] = sum(w * o for w, o in zip(weights, outputs, strict=True))
        state = out
    return state


def test_ple_is_its_equations():
    layer = PLE(TASKS, 2, {"a": 1, "b": 2, "c": 3}, ((6, 4), (5,), (3,)))
    outputs = layer(X)
    assert list(outputs) == TASKS
    for row in range(len(X)):
        expected = _loop(layer.levels, X, row)
        for task in TASKS:
            np.testing.assert_allclose(
                outputs[task][row], expected[task], rtol=1e-4, atol=1e-6
            )


def test_one_level_is_cgc():
    ple, cgc = PLE(TASKS, 2, 1, ((6,),)), CGC(TASKS, 2, 1, (6,))
    ple(X), cgc(X)
    cgc.set_weights(ple.get_weights())
    for task in TASKS:
        np.testing.assert_array_equal(ple(X)[task], cgc(X)[task])


def test_gate_rows_sum_to_one_and_the_shared_gate_sees_every_expert():
    layer = PLE(TASKS, 2, {"a": 1, "b": 2, "c": 3}, ((6,), (5,)), name="ple")
    layer(X)
    with record_gates() as gates:
        layer(X)
    for weights, labels in gates.values():
        np.testing.assert_allclose(np.sum(weights, axis=-1), 1, rtol=1e-6)
        assert weights.shape[-1] == len(labels)
    sizes = {path: len(labels) for path, (_, labels) in gates.items()}
    assert sizes == {
        "ple/level_1/a_gate": 3,
        "ple/level_1/b_gate": 4,
        "ple/level_1/c_gate": 5,
        "ple/level_1/shared_gate": 8,
        "ple/level_2/a_gate": 3,  # the last level has no shared gate
        "ple/level_2/b_gate": 4,
        "ple/level_2/c_gate": 5,
    }


def _gradient_reaches(layer, task, weights):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant(X))[task] ** 2)
    gradients = tape.gradient(loss, [w.value for w in weights])
    return [g is not None and bool(tf.reduce_any(g != 0)) for g in gradients]


def test_a_tasks_loss_stays_off_the_other_tasks_last_experts():
    layer = PLE(["a", "b"], 1, 1, ((16,), (8,)))
    layer(X)
    lower, upper = layer.levels
    weights = upper.experts["b"].trainable_weights + upper.gates["b"].trainable_weights
    assert not any(_gradient_reaches(layer, "a", weights))
    assert all(_gradient_reaches(layer, "a", upper.experts["a"].trainable_weights))
    assert all(_gradient_reaches(layer, "a", upper.experts["shared"].trainable_weights))
    # Below, b's experts reach a through the shared gate, but b's own gate does not.
    assert all(_gradient_reaches(layer, "a", lower.experts["b"].trainable_weights))
    assert not any(_gradient_reaches(layer, "a", lower.gates["b"].trainable_weights))
    cgc = CGC(["a", "b"], 1, 1, (16,))
    cgc(X)
    assert not any(_gradient_reaches(cgc, "a", cgc.experts["b"].trainable_weights))


def test_experts_start_different_and_at_the_scale_of_one_dense():
    layer = CGC(["a"], 4, 4, (64, 32))
    layer(np.ones((2, 100), "float32"))
    for bank in layer.experts.values():
        wide, deep = (kernel.numpy() for kernel in bank.kernels)
        first = np.split(wide, 4, axis=1)
        for kernels, fan_in, fan_out in ((first, 100, 64), (list(deep), 64, 32)):
            glorot = np.sqrt(2 / (fan_in + fan_out))
            for i, kernel in enumerate(kernels):
                assert abs(kernel.std() / glorot - 1) < 0.05
                for other in kernels[:i]:
                    assert np.abs(kernel - other).max() > 0.1 * glorot


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(tasks=[]), "at least one task"),
        (dict(tasks=["a", "a"]), r"different names. Received twice: \['a'\]"),
        (dict(tasks=["shared"]), "No task may be called 'shared'"),
        (dict(tasks=["a b"]), "must start with a letter"),
        (dict(shared_experts=0), "shared_experts must be a positive integer, or a l"),
        (dict(task_experts=0), "task_experts of 'a' must be a positive integer"),
        (dict(task_experts={"b": 1}), "must name every task once"),
        (dict(expert_units=(8,)), "one tuple of layer widths a level"),
        (dict(expert_units=()), "one tuple of layer widths a level"),
        (dict(expert_units=((),)), "one tuple of layer widths a level"),
        (dict(expert_units=((8.5,),)), "positive integer. Received: 8.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        PLE(**{"tasks": ["a"], **arguments})


def test_a_task_name_may_be_the_prefix_of_another():
    out = PLE(["click", "click_long"], 1, 1, ((4,), (3,)))(X)
    assert not np.allclose(out["click"], out["click_long"])
