"""PPNet against a naive NumPy loop."""

import numpy as np
import pytest
import tensorflow as tf
from test_epnet import gate_nu

from tfmtl import layers

RNG = np.random.default_rng(4)
X = RNG.normal(size=(5, 6)).astype("float32")
VECTORS = {
    "user": RNG.normal(size=(5, 4)).astype("float32"),
    "hour": RNG.normal(size=(5, 3)).astype("float32"),
}
SCALED = {name: 0.5 * vector for name, vector in VECTORS.items()}
UNITS = {"click": (7, 4), "like": (3,), "score": ()}
# O_prior is not scaled, O_ep is.
SELECTOR = np.concatenate([VECTORS["user"], SCALED["user"], SCALED["hour"]], axis=1)


def naive(layer, task, x, gated=True):
    for i, dense in enumerate(layer.networks[task]):
        kernel, bias = [w.numpy() for w in dense.weights]
        x = np.maximum(x @ kernel + bias, 0)
        before = 0  # the columns of the tasks that come first
        for other, widths in layer.units.items():
            if other == task:
                break
            before += widths[i] if i < len(widths) else 0
        delta = gate_nu(SELECTOR, layer.gates[i])[:, before : before + x.shape[1]]
        x = x * delta if gated else x
    return x


def test_equations_7_to_9_with_networks_of_different_depth():
    layer = layers.PPNet(list(UNITS), UNITS, ["user"])
    out = layer(X, VECTORS, SCALED)
    assert [gate.units for gate in layer.gates] == [7 + 3, 4]  # one gate a layer
    for task in UNITS:
        np.testing.assert_allclose(
            out[task], naive(layer, task, X), rtol=1e-4, atol=1e-6, err_msg=task
        )


def test_each_task_may_have_an_input_of_its_own():
    layer = layers.PPNet(list(UNITS), UNITS, ["user"])
    inputs = {"click": X, "like": X[:, :2], "score": X[:, :3]}
    out = layer(inputs, VECTORS, SCALED)
    for task, x in inputs.items():
        np.testing.assert_allclose(
            out[task], naive(layer, task, x), rtol=1e-4, atol=1e-6, err_msg=task
        )


def test_a_zero_last_layer_leaves_the_backbone():
    layer = layers.PPNet(list(UNITS), UNITS, ["user"])
    layer(X, VECTORS, SCALED)
    for gate in layer.gates:
        gate.scale.set_weights([np.zeros_like(w) for w in gate.scale.get_weights()])
    for task, out in layer(X, VECTORS, SCALED).items():
        np.testing.assert_allclose(
            out, naive(layer, task, X, gated=False), rtol=1e-4, atol=1e-6, err_msg=task
        )


@pytest.mark.parametrize("embedding_input", ["stop_gradient", "gradient", "none"])
def test_gradients_of_the_gates(embedding_input):
    layer = layers.PPNet(list(UNITS), UNITS, ["user"], embedding_input=embedding_input)
    vectors = {name: tf.constant(v) for name, v in VECTORS.items()}
    scaled = {name: tf.constant(v) for name, v in SCALED.items()}
    with tf.GradientTape() as tape:
        tape.watch([vectors, scaled])
        loss = tf.reduce_sum(layer(X, vectors, scaled)["click"])
    prior, whole = tape.gradient(loss, [vectors, scaled])
    assert np.abs(prior["user"].numpy()).max() > 1e-3
    for gradient in whole.values():
        if embedding_input == "gradient":
            assert np.abs(gradient.numpy()).max() > 1e-3
        else:
            assert gradient is None
    assert prior["hour"] is None  # no prior feature


def test_a_tasks_loss_leaves_the_columns_of_other_tasks():
    layer = layers.PPNet(["click", "like"], (7,), ["user"])
    layer(X, VECTORS, SCALED)
    kernel = layer.gates[0].scale.kernel
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(X, VECTORS, SCALED)["like"])
    gradient = tape.gradient(loss, kernel.value).numpy()  # (hidden, 2 * 7)
    assert not gradient[:, :7].any() and gradient[:, 7:].any()


def test_bad_arguments():
    with pytest.raises(ValueError, match="PPNet scales hidden layers"):
        layers.PPNet(["click"], ())
    with pytest.raises(ValueError, match="units must name every task once"):
        layers.PPNet(["click", "like"], {"click": (8,)})
    with pytest.raises(ValueError, match="A gate must read something: give prior_feat"):
        layers.PPNet(["click"], embedding_input="none")
    with pytest.raises(ValueError, match="Received: 'usr'. Did you mean 'user'"):
        layers.PPNet(["click"], (8,), ["usr"])(X, VECTORS, VECTORS)
