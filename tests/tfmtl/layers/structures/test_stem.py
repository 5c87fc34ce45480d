"""STEM-Net against a naive loop, and which experts a task's loss moves."""

import numpy as np
import tensorflow as tf

import tfmtl
from tfmtl.layers import STEM
from tfmtl.layers.blocks.gates import record_gates

TASKS = ["a", "b"]
RNG = np.random.default_rng(0)
X = {name: RNG.normal(size=(5, 4)).astype("float32") for name in (*TASKS, "shared")}


def _softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_stem_is_its_equations():
    layer = STEM(TASKS, 2, {"a": 1, "b": 3}, ((6, 4), (4,)))
    outputs = layer(X)
    state = X
    for level in layer.levels:
        experts = [np.asarray(bank(state[n])) for n, bank in level.experts.items()]
        every = np.concatenate(experts, axis=1)  # a, b, shared
        mixed = {}
        for name, gate in level.gates.items():
            shared = 0 if name == "shared" else state["shared"]
            weights = _softmax((state[name] + shared) @ gate.kernel.numpy())
            mixed[name] = np.einsum("be,beu->bu", weights, every)
        state = mixed
    assert list(outputs) == TASKS == list(state)
    for task in TASKS:
        np.testing.assert_allclose(outputs[task], state[task], rtol=1e-4, atol=1e-6)


def _moved(layer, task):
    """Returns which entries of the input, and experts, a task's loss moves."""
    inputs = {name: tf.constant(x) for name, x in X.items()}
    kernels = {
        f"{level.name}/{name}": bank.kernels[0].value
        for level in layer.levels
        for name, bank in level.experts.items()
    }
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(layer(inputs)[task] ** 2)
    gradients = tape.gradient(loss, {**inputs, **kernels})
    return {k for k, g in gradients.items() if g is not None and np.abs(g).max() > 0}


def test_a_loss_moves_its_own_experts_and_the_shared_ones_alone():
    layer = STEM(TASKS, expert_units=((16,),))
    layer(X)
    assert _moved(layer, "a") == {"a", "shared", "level_1/a", "level_1/shared"}
    assert _moved(layer, "b") == {"b", "shared", "level_1/b", "level_1/shared"}


def test_the_shared_gate_of_a_lower_level_stops_nothing():
    layer = STEM(TASKS, expert_units=((16,), (16,)))
    layer(X)
    level_1 = {f"level_1/{name}" for name in (*TASKS, "shared")}
    own = {"level_2/a", "level_2/shared"}
    assert _moved(layer, "a") == {*X, *level_1, *own}


def test_every_gate_reads_all_experts():
    layer = STEM(TASKS, 1, {"a": 1, "b": 2}, ((6,), (4,)), name="stem")
    layer(X)
    with record_gates() as gates:
        layer(X)
    assert {p.removeprefix("stem/"): labels for p, (_, labels) in gates.items()} == {
        f"level_{level}/{name}_gate": ["a_0", "b_0", "b_1", "shared_0"]
        for level, name in [(1, "a"), (1, "b"), (1, "shared"), (2, "a"), (2, "b")]
    }


def test_a_tasks_loss_moves_its_own_columns_of_a_table_and_the_shared_ones():
    features = [
        tfmtl.Categorical("item", vocabulary_size=9, embedding_dim=2),
        tfmtl.Sequence("seen", of="item", max_length=2),
        tfmtl.Numeric("x"),
    ]
    tasks = [tfmtl.Task("a"), tfmtl.Task("b")]
    model = tfmtl.models.get("stem")(features, tasks, expert_units=((16,),))
    assert model.sharing.levels[0].experts["a"].kernels[0].shape[0] == 2 + 2 + 1
    inputs = {
        "item": tf.constant([1, 2, 3]),
        "seen": tf.constant([[4, 5]] * 3),
        "x": tf.constant([1.0, 0.0, 2.0]),
    }
    table = model.embedding.tables["table_6"].value
    for task, own in {"a": [0, 1], "b": [2, 3]}.items():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(inputs)[task])
        moved = np.abs(tf.convert_to_tensor(tape.gradient(loss, table))).max(axis=0)
        assert set(np.flatnonzero(moved)) <= {*own, 4, 5} and moved[own].max() > 0
        assert moved[4:].max() > 0
