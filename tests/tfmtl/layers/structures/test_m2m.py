"""M2M: the attention over experts and the tower have weights made of the scenario."""

import numpy as np
import tensorflow as tf
from effects import randomise

import tfmtl
from tfmtl.layers import M2M
from tfmtl.layers.blocks.gates import record_gates

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 5)).astype("float32")
CONDITION = RNG.normal(size=(6, 3)).astype("float32")
TASKS = ["click", "like"]


def _leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def _dense(layer, x):
    return x @ layer.kernel.numpy() + layer.bias.numpy()


def _meta(unit, h, s):
    """One row, h (width,)."""
    kernel = _dense(unit.kernel, s).reshape(len(h), unit.units)
    return h @ kernel + _dense(unit.bias, s)


def _layer():
    layer = M2M(TASKS, 3, (4,), 2, depth=2)
    layer(X, CONDITION)
    randomise(layer)
    return layer


def test_it_is_its_equations():
    layer = _layer()
    with record_gates() as gates:
        outputs = layer(X, CONDITION)
    experts = layer.experts(X).numpy()
    for row in range(6):
        s = _leaky(_dense(layer.knowledge, CONDITION[row]))
        for k, task in enumerate(TASKS):
            own, v = layer.task_vectors.numpy()[k], layer.scores.numpy()[k]
            scores = [
                v @ _leaky(_meta(layer.attention, np.concatenate([e, own]), s))
                for e in experts[row]
            ]
            weights = np.exp(scores) / np.exp(scores).sum()
            found, labels = gates[f"{layer.path}/{task}_attention"]
            np.testing.assert_allclose(found[row], weights, rtol=1e-4)
            x = weights @ experts[row]
            for unit in layer.layers:
                x = _leaky(_meta(unit, x, s) + x)
            np.testing.assert_allclose(outputs[task][row], x, rtol=1e-3, atol=1e-5)
    assert labels == ["expert_0", "expert_1", "expert_2"]


def test_the_scenario_acts_through_the_generated_weights_alone():
    layer = _layer()
    before = layer(X, CONDITION)["click"].numpy()
    for unit in (layer.attention, *layer.layers):
        for part in (unit.kernel, unit.bias):
            part.kernel.assign(np.zeros(part.kernel.shape, "float32"))
    same, other = (layer(X, c)["click"].numpy() for c in (CONDITION, 2 * CONDITION))
    assert np.abs(before - same).max() > 1e-2
    np.testing.assert_array_equal(same, other)


def test_a_tasks_vector_and_score_are_moved_by_its_own_loss_alone():
    layer = _layer()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(X, CONDITION)["like"] ** 2)
    weights = [layer.task_vectors.value, layer.scores.value]
    for gradient in tape.gradient(loss, weights):
        assert not gradient[0].numpy().any() and gradient[1].numpy().any()


def test_without_a_condition_the_knowledge_is_the_input():
    layer = M2M(TASKS, 2, (4,))
    np.testing.assert_array_equal(layer(X)["like"], layer(X, X)["like"])


def test_the_model_reads_the_domain_and_what_tells_more_of_it():
    features = [
        tfmtl.Categorical("tab", vocabulary_size=4, embedding_dim=3),
        tfmtl.Categorical("user", vocabulary_size=4, embedding_dim=2),
        tfmtl.Numeric("x"),
    ]
    model = tfmtl.models.get("m2m")(
        features, [tfmtl.Task("click")], domain="tab", domain_features=["user"]
    )
    assert model.domain_features == ("tab", "user")
    assert model.sharing.knowledge.kernel.shape[0] == 5
    vectors = model.embedding(
        {"tab": np.array([1, 2]), "user": np.array([3, 0]), "x": np.ones(2, "float32")}
    )
    read = np.concatenate([vectors["tab"], vectors["user"]], axis=-1)
    joined = model.joined(vectors)
    expected = model.sharing(joined, read)["click"]
    np.testing.assert_allclose(model.share(vectors, {})["click"], expected, 1e-6)
