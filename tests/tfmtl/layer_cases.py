"""One way to build and call every public layer, for the contract battery."""

import numpy as np

from tfmtl import Categorical, Numeric, Sequence, layers

TASKS = ["click", "like"]


def _random(*shape):
    return np.random.default_rng(1).normal(size=shape).astype("float32")


X = _random(6, 5)

# name -> (function that makes the layer, positional inputs of 6 rows)
CASES = {
    "DNN": (lambda **kw: layers.DNN((8, 4), **kw), [X]),
    "FeatureEmbedding": (
        lambda **kw: layers.FeatureEmbedding(
            [
                Categorical("user", vocabulary_size=10, embedding_dim=4),
                Categorical("item", num_buckets=7, embedding_dim=3),
                Numeric("x"),
                Sequence("seen", of="item", max_length=3),
            ],
            **kw,
        ),
        [
            {
                "user": np.array([0, 1, 2, 9, 4, 5]),
                "item": np.array([0, 1, 2, 3, 700, 5]),
                "x": X[:, 0],
                "seen": np.array(
                    [[1, 2, 0], [3, 0, 0], [0] * 3, [4] * 3, [1] * 3, [6] * 3]
                ),
            }
        ],
    ),
    "Experts": (lambda **kw: layers.Experts(3, (8, 4), **kw), [X]),
    "SoftmaxGate": (lambda **kw: layers.SoftmaxGate(3, **kw), [X, _random(6, 3, 4)]),
    "CGC": (
        lambda **kw: layers.CGC(TASKS, 2, {"click": 1, "like": 3}, (8,), True, **kw),
        [X],
    ),
    "PLE": (lambda **kw: layers.PLE(TASKS, 2, 1, ((8,), (8, 6)), **kw), [X]),
    "SharedBottom": (lambda **kw: layers.SharedBottom(TASKS, (8, 4), **kw), [X]),
    "Tower": (lambda **kw: layers.Tower((8,), **kw), [X]),
}
