"""AdaTT against a naive loop, and what each of its units may learn from."""

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.layers import AdaTT
from tfmtl.layers.blocks.gates import record_gates

X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def _softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _loop(layer, x):
    """Fuses one expert at a time."""
    state = dict.fromkeys(layer.levels[0].experts, x)
    for level in layer.levels:
        experts = {
            name: np.asarray(bank(state[name])) for name, bank in level.experts.items()
        }
        every = [e[:, i] for e in experts.values() for i in range(e.shape[1])]
        fused = {}
        for name, gate in level.gates.items():
            weights = _softmax(state[name] @ gate.kernel.numpy())
            assert weights.shape[1] == len(every)
            mix = sum(w[:, None] * e for w, e in zip(weights.T, every, strict=True))
            native = np.asarray(level.native.get(name, np.ones(1)))
            own = sum(v * experts[name][:, i] for i, v in enumerate(native))
            fused[name] = mix + own
        state = fused
    return state


@pytest.mark.parametrize(
    ("shared", "own"), [(0, 1), (0, 2), (1, 1), (2, {"a": 1, "b": 2})]
)
def test_adatt_is_its_equations(shared, own):
    layer = AdaTT(["a", "b"], shared, own, ((6, 4), (5,), (3,)))
    outputs = layer(X)
    assert list(outputs) == ["a", "b"]
    for task, expected in _loop(layer, X).items():
        np.testing.assert_allclose(outputs[task], expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(outputs["a"], outputs["b"])


def test_gates_see_all_experts_and_the_last_level_shares_nothing_more():
    layer = AdaTT(["a", "b"], 1, 2, ((6,), (5,)), name="adatt")
    layer(X)
    with record_gates() as gates:
        layer(X)
    labels = ["a_0", "a_1", "b_0", "b_1", "shared_0"]
    assert {path: labels for path in gates} == {p: lab for p, (_, lab) in gates.items()}
    assert list(gates) == [
        f"adatt/level_{level}/{name}_gate"
        for level, name in [(1, "a"), (1, "b"), (1, "shared"), (2, "a"), (2, "b")]
    ]
    separate = AdaTT(["a", "b"], 0)
    separate(X)
    assert [list(level.gates) for level in separate.levels] == [["a", "b"]] * 2


def test_own_experts_count_once_where_each_unit_has_one_and_else_learn_how_much():
    one, several = AdaTT(["a", "b"]), AdaTT(["a", "b"], 1, {"a": 1, "b": 4})
    one(X), several(X)
    assert not any(level.native for level in one.levels)
    lower, upper = (level.native for level in several.levels)
    assert {k: v.shape[0] for k, v in lower.items()} == {"a": 1, "b": 4, "shared": 1}
    assert list(upper) == ["a", "b"]
    assert np.abs(lower["b"]).max() <= 0.5


def test_a_tasks_loss_reaches_the_experts_of_the_other():
    layer = AdaTT(["a", "b"], 0, expert_units=((16,),))
    layer(X)
    (level,) = layer.levels
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(X)["a"] ** 2)
    kernels = [level.experts[name].kernels[0].value for name in ("a", "b")]
    gates = [level.gates[name].kernel.value for name in ("a", "b")]
    own, other, gate, other_gate = tape.gradient(loss, kernels + gates)
    for reached in (own, other, gate):
        assert np.abs(reached).max() > 0
    assert not np.any(other_gate)


def test_a_task_without_experts_is_refused():
    with pytest.raises(ValueError, match="of 'a' must be a positive integer"):
        AdaTT(["a"], task_experts=0)
    with pytest.raises(ValueError, match="shared_experts must be an integer >= 0"):
        AdaTT(["a"], shared_experts=-1)
