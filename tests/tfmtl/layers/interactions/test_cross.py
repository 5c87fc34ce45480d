import keras
import numpy as np
import pytest

from tfmtl import layers
from tfmtl.layers.blocks.gates import record_gates

RNG = np.random.default_rng(3)
X = RNG.normal(size=(6, 5)).astype("float32")


def _randomised(layer):
    """Builds the layer with random weights, the biases too."""
    layer.build((None, X.shape[1]))
    layer.set_weights([RNG.normal(size=w.shape) * 0.5 for w in layer.weights])
    return layer


def _weights(layer):
    """Returns {name: array}, by the last two parts of the path."""
    return {"/".join(w.path.split("/")[1:]): w.numpy() for w in layer.weights}


def _close(a, b):
    np.testing.assert_allclose(np.asarray(a), b, rtol=1e-4, atol=1e-5)


def test_cross_by_hand():
    layer = layers.Cross(1)
    layer.build((None, 2))
    layer.set_weights([np.array([[2.0], [1.0]]), np.array([0.5, 0.0])])
    # x_0 (x . w) + b + x with x = (1, 3): (1, 3) 5 + (0.5, 0) + (1, 3)
    _close(layer(np.array([[1.0, 3.0]])), [[6.5, 18.0]])


def test_cross_is_the_outer_product_of_dcn():
    layer = _randomised(layers.Cross(3))
    w = _weights(layer)
    for row, out in zip(X, np.asarray(layer(X)), strict=True):
        x = row
        for i in range(3):
            x = np.outer(row, x) @ w[f"kernel_{i}"][:, 0] + w[f"bias_{i}"] + x
        _close(out, x)


@pytest.mark.parametrize("rank", [None, 2])
def test_cross_v2_row_by_row(rank):
    layer = _randomised(layers.CrossV2(2, rank))
    w = _weights(layer)
    for row, out in zip(X, np.asarray(layer(X)), strict=True):
        x = row
        for i in range(2):
            kernel = w[f"cross_{i}/kernel"]
            if rank:
                kernel = w[f"down_{i}/kernel"] @ kernel
            x = row * (x @ kernel + w[f"cross_{i}/bias"]) + x
        _close(out, x)


@pytest.mark.parametrize("activation", [None, "tanh"])
def test_cross_mix_expert_by_expert(activation):
    layer = _randomised(layers.CrossMix(2, experts=3, rank=2, activation=activation))
    w = _weights(layer)
    g = np.tanh if activation else lambda x: x
    for row, out in zip(X, np.asarray(layer(X)), strict=True):
        x = row
        for i in range(2):
            scores = np.exp(x @ w[f"gate_{i}"])
            total = x
            for e in range(3):
                z = g(x @ w[f"down_{i}"][e])
                if activation:
                    z = g(z @ w[f"middle_{i}"][e])
                expert = row * (z @ w[f"up_{i}"][e] + w[f"bias_{i}"])
                total = total + scores[e] / scores.sum() * expert
            x = total
        _close(out, x)


def test_cross_mix_shows_its_gates():
    layer = layers.CrossMix(2, experts=3, name="mix")
    with record_gates() as gates:
        layer(X)
    assert list(gates) == ["mix/0", "mix/1"]
    for weights, labels in gates.values():
        assert labels == ["0", "1", "2"]
        _close(np.sum(weights, axis=1), np.ones(len(X)))


def test_experts_of_cross_mix_start_as_different_single_matrices():
    layer = layers.CrossMix(1, experts=4, rank=64)
    layer.build((None, 64))
    down = layer.downs[0].numpy()
    assert np.abs(down[0] - down[1]).max() > 0.01
    alone = keras.initializers.GlorotUniform()((64, 64)).numpy()
    np.testing.assert_allclose(down.std(axis=(1, 2)), alone.std(), rtol=0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Cross(0),
        lambda: layers.CrossV2(rank=0),
        lambda: layers.CrossMix(experts=0),
        lambda: layers.CrossMix(rank=-1),
    ],
)
def test_bad_sizes_are_refused(make):
    with pytest.raises(ValueError, match="must be a positive integer. Received: "):
        make()
