"""AutoDis against loops, and the feature that uses it."""

import numpy as np
import pytest

from tfmtl import Numeric
from tfmtl.layers import AutoDis, FeatureEmbedding

X = np.float32([[0.5, -1], [np.nan, 2], [0, np.inf]])


def test_the_formula():
    layer = AutoDis(dim=2, meta_embeddings=3, temperature=0.5, skip=0.7)
    found = layer(X).numpy()
    weigh, kernel, meta, _ = (w.numpy() for w in layer.weights)
    for row in range(3):
        for number in range(2):
            x, expected = X[row, number], np.zeros(2)
            if np.isfinite(x):
                hidden = x * weigh[number, 0]
                hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
                scores = (hidden @ kernel[number] + 0.7 * hidden) / 0.5
                chosen = np.exp(scores - scores.max())
                expected = chosen / chosen.sum() @ meta[number]
            np.testing.assert_allclose(found[row, number], expected, rtol=1e-5)


def test_a_number_is_scaled_before():
    features = [
        Numeric("x", embedding_dim=2, autodis=3, normalization=(30, 10)),
        Numeric("y", embedding_dim=2, autodis=3),
        Numeric("z", embedding_dim=2, autodis=4),
    ]
    layer = FeatureEmbedding(features)
    numbers = {n: np.float32([30, 50, np.nan]) for n in ("x", "y", "z")}
    numbers["y"] = (numbers["y"] - 30) / 10
    out = layer(numbers)
    both = layer.autodis["3_2"]
    for weight in both.weights:  # x and y alike
        values = weight.numpy()
        values[1] = values[0]
        weight.assign(values)
    both.missing.assign(7 * np.ones((2, 1, 2)))
    out = layer(numbers)
    np.testing.assert_allclose(out["x"], out["y"], rtol=1e-6)
    np.testing.assert_array_equal(out["x"][2], [7, 7])
    assert out["z"].shape == (3, 2)


def test_bad_arguments():
    for make, message in (
        (lambda: AutoDis(temperature=0), "temperature must be a number above 0"),
        (lambda: AutoDis(meta_embeddings=0), "meta_embeddings must be a positive"),
        (lambda: Numeric("x", autodis=0), "autodis of 'x' must be a positive"),
        (lambda: Numeric("x", boundaries=(0, 1), autodis=2), "not both"),
        (lambda: Numeric("x", embedding_dim=2), "needs boundaries or autodis"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
