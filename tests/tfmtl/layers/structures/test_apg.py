"""APG: layers of low rank whose core is made for each row."""

import numpy as np
import pytest
from effects import randomise

from tfmtl.layers import APG

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 5)).astype("float32")
CONDITION = RNG.normal(size=(6, 3)).astype("float32")


def _matrix(factors):
    return np.linalg.multi_dot(
        [np.eye(len(factors[0].numpy())), *map(np.array, factors)]
    )


def _by_hand(layer, x, z):
    """One row through one layer, its whole kernel made."""
    core = (z @ layer.core.kernel.numpy() + layer.core.bias.numpy()).reshape(
        layer.rank, layer.rank
    )
    kernel = _matrix(layer.left) @ core @ _matrix(layer.right)
    return np.maximum(x @ kernel + layer.bias.numpy(), 0)


@pytest.mark.parametrize("inner", [0, 7])
def test_it_is_its_equations(inner):
    network = APG(["click", "like"], (8, 4), 3, inner)
    network(X, CONDITION)
    randomise(network)
    outputs = network(X, CONDITION)
    for row in range(6):
        x = X[row]
        for layer in network.layers:
            assert len(layer.left) == len(layer.right) == (2 if inner else 1)
            x = _by_hand(layer, x, CONDITION[row])
        np.testing.assert_allclose(outputs["click"][row], x, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(outputs["click"], outputs["like"])


def test_without_a_condition_a_layers_own_input_makes_it():
    network = APG(["click"], (8, 4), 3, 0)
    network(X)
    randomise(network)
    out = network(X)["click"].numpy()
    x = X[2]
    for layer in network.layers:
        x = _by_hand(layer, x, x)
    np.testing.assert_allclose(out[2], x, rtol=1e-3, atol=1e-5)


def test_all_rows_start_near_one_network():
    network = APG(["click"], (8,), 3, 0)
    out = network(X, 0 * CONDITION)["click"]
    (layer,) = network.layers
    kernel = _matrix(layer.left) @ _matrix(layer.right)
    np.testing.assert_allclose(out, np.maximum(X @ kernel, 0), rtol=1e-4, atol=1e-6)


def test_the_rank_is_no_larger_than_a_layer():
    network = APG(["click"], (8, 2), 6, 0)
    network.build((None, 5), (None, 3))
    assert [layer.rank for layer in network.layers] == [5, 2]
    assert network.layers[0].core.kernel.shape == (3, 25)


def test_inner_units_are_none_or_some():
    with pytest.raises(ValueError, match="inner_units, if there.*Received: -1"):
        APG(["click"], inner_units=-1)
