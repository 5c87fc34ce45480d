import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import layers
from tfmtl.layers.blocks.gates import record_gates

TASKS = ["click", "like", "buy"]
RNG = np.random.default_rng(4)
X = RNG.normal(size=(5, 4)).astype("float32")


def _dense(layer, name, x):
    kernel, bias = layer.dense[name].get_weights()
    return np.maximum(x @ kernel + bias, 0)


def _randomise(layer):
    layer(X)
    layer.set_weights([RNG.normal(size=w.shape) for w in layer.get_weights()])


def test_cross_stitch_is_its_equation():
    layer = layers.CrossStitch(TASKS, units=(6, 3))
    _randomise(layer)
    x = dict.fromkeys(TASKS, X)
    for level in (1, 2):
        alpha = layer.alphas[level - 1].numpy()
        h = {task: _dense(layer, f"{task}_{level}", x[task]) for task in TASKS}
        x = {
            task: sum(alpha[k, j] * h[other] for j, other in enumerate(TASKS))
            for k, task in enumerate(TASKS)
        }
    for task, output in layer(X).items():
        np.testing.assert_allclose(output, x[task], rtol=1e-4, atol=1e-4)


def test_cross_stitch_starts_with_own_activations():
    layer = layers.CrossStitch(TASKS, units=(6,), own_weight=0.8)
    layer(X)
    expected = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
    np.testing.assert_allclose(layer.alphas[0], expected, rtol=1e-6)


def test_without_stitches_no_task_reaches_another():
    layer = layers.CrossStitch(TASKS, units=(6, 6), own_weight=1.0)
    layer(X)
    others = [layer.dense[f"{t}_{i}"].kernel for t in TASKS[1:] for i in (1, 2)]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant(X))["click"] ** 2)
    for gradient in tape.gradient(loss, [w.value for w in others]):
        assert not gradient.numpy().any()


def test_sluice_is_its_equations():
    layer = layers.Sluice(TASKS, units=(6, 6), penalty=0.5)
    _randomise(layer)
    x = dict.fromkeys(TASKS, X)
    parts = [(task, half) for task in TASKS for half in (0, 1)]
    read, penalty = dict.fromkeys(TASKS, 0.0), 0.0
    for level in (1, 2):
        alpha = layer.alphas[level - 1].numpy()
        h = {}
        for task in TASKS:
            name = f"{task}_{level}"
            h[task, 0], h[task, 1] = np.split(_dense(layer, name, x[task]), 2, axis=1)
            first, second = np.split(layer.dense[name].get_weights()[0], 2, axis=1)
            penalty += ((first.T @ second) ** 2).sum()
        mixed = {
            part: sum(alpha[k, j] * h[other] for j, other in enumerate(parts))
            for k, part in enumerate(parts)
        }
        for k, task in enumerate(TASKS):
            x[task] = np.concatenate([mixed[task, 0], mixed[task, 1]], axis=1)
            read[task] = read[task] + layer.beta.numpy()[k, level - 1] * x[task]
    for task, output in layer(X).items():
        np.testing.assert_allclose(output, read[task], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(sum(layer.losses), 0.5 * penalty, rtol=1e-4)


def test_sluice_starts_balanced_and_reports_its_weights():
    layer = layers.Sluice(TASKS, units=(4, 4), penalty=0)
    with record_gates() as gates:
        layer(X)
    assert layer.losses == []
    by_name = {path.rsplit("/", 1)[1]: gate for path, gate in gates.items()}
    weights, labels = by_name["like_beta"]
    assert np.allclose(weights, 0.5) and labels == ["layer_1", "layer_2"]
    weights, labels = by_name["like_1_alpha_2"]
    np.testing.assert_allclose(weights, [0.02, 0.02, 0.02, 0.9, 0.02, 0.02], rtol=1e-5)
    assert labels[3] == "like_1"
    assert len(by_name) == 2 * 6 + 3


def test_sluice_penalty_is_part_of_the_models_loss():
    def loss(penalty):
        model = tfmtl.models.get("sluice")(
            [tfmtl.Numeric("x")], [tfmtl.Task("click")], units=(8,), penalty=penalty
        )
        model.set_weights([np.ones_like(w) for w in model.get_weights()])
        x = {"x": np.ones(2, "float32")}
        return float(model.compute_loss(x, np.zeros(2), model(x)))

    # G_1' G_2 is 4 x 4, of ones.
    np.testing.assert_allclose(loss(0.25) - loss(0), 0.25 * 16, rtol=1e-5)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"even and the same.*Received: \(8, 4\)"):
        layers.Sluice(TASKS, units=(8, 4))
    with pytest.raises(ValueError, match=r"even and the same.*Received: \(5,\)"):
        layers.Sluice(TASKS, units=(5,))
    with pytest.raises(ValueError, match="penalty must be >= 0. Received: -1"):
        layers.Sluice(TASKS, penalty=-1)
    for layer in (layers.Sluice, layers.CrossStitch):
        with pytest.raises(ValueError, match=r"Received: units=\(\)"):
            layer(TASKS, units=())
        with pytest.raises(ValueError, match=r"own_weight must be in \[0, 1\]"):
            layer(TASKS, own_weight=1.5)
