"""Piecewise-linear embeddings of numbers, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl.layers import FeatureEmbedding, PiecewiseLinear

BOUNDARIES = [(0.0, 10.0, 30.0), (-1.0, 1.0)]


def _layer(**kwargs):
    layer = PiecewiseLinear(BOUNDARIES, dim=2, **kwargs)
    layer.build((None, 2))
    layer.kernel.assign([[[1, 10], [2, 20]], [[4, 0], [99, 99]]])  # 99: no such bin
    layer.nodes.assign([[[0.5, 0], [0, 0], [0, 6]], [[0, 0], [0, 0], [99, 99]]])
    layer.missing.assign([[7, 7], [8, 8]])
    return layer


def test_by_hand():
    rows = [[5.0, 0.0], [10, -1], [20, 1], [30, 0.5]]
    # Of the first number: half of bin 1 and half of node 0; bin 1 and node 1; bin 1,
    # half of bin 2, of node 1 and of node 2; both bins and node 2.
    want = [
        [[0.5 + 0.25, 5], [2, 0]],
        [[1, 10], [0, 0]],
        [[2, 20 + 3], [4, 0]],
        [[3, 30 + 6], [3, 0]],
    ]
    np.testing.assert_allclose(_layer()(np.array(rows)), want)


def test_beyond_the_outer_boundaries_nothing_changes():
    layer = _layer()
    ends = layer(np.array([[0.0, -1.0], [30.0, 1.0]]))
    beyond = layer(np.array([[-1e30, -2.0], [1e30, 9.0]]))
    np.testing.assert_array_equal(ends, beyond)


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_missing_has_a_vector_of_its_own(missing):
    got = _layer()(np.array([[missing, 0.0], [5.0, missing]]))
    np.testing.assert_allclose(got, [[[7, 7], [2, 0]], [[0.75, 5], [8, 8]]])


def test_gradients_are_the_encoding():
    layer = _layer()
    with tf.GradientTape() as tape:
        out = tf.reduce_sum(layer(tf.constant([[20.0, np.nan]])))
    kernel, nodes, missing = tape.gradient(
        out, [w.value for w in (layer.kernel, layer.nodes, layer.missing)]
    )
    np.testing.assert_allclose(kernel, [[[1, 1], [0.5, 0.5]], [[0, 0], [0, 0]]])
    np.testing.assert_allclose(nodes[0], [[0, 0], [0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_allclose(nodes[1], np.zeros((3, 2)))
    np.testing.assert_allclose(missing, [[0, 0], [1, 1]])


def test_half_precision_finds_the_bin_in_full():
    edges = [(16_000_000.0, 16_000_001.0, 16_000_002.0)]  # float16 ends at 65,504
    layer = PiecewiseLinear(edges, dim=1, dtype="mixed_float16")
    layer.build((None, 1))
    layer.kernel.assign([[[1], [2]]])
    layer.nodes.assign([[[0], [0], [0]]])
    got = layer(np.array([[16_000_001.0]], "float32"))
    assert got.dtype == "float16"
    np.testing.assert_allclose(got, [[[1.0]]])


def test_each_number_starts_at_the_scale_of_its_own_bins():
    keras.utils.set_random_seed(0)
    layer = PiecewiseLinear([tuple(range(601)), (0, 1, 2)], dim=600)
    layer.build((None, 2))
    many, few = layer.kernel.numpy()
    np.testing.assert_allclose(many.std(), np.sqrt(2 / (600 + 600)), rtol=0.05)
    np.testing.assert_allclose(few[:2].std(), np.sqrt(2 / (2 + 600)), rtol=0.1)
    assert not few[2:].any()


def test_features_of_several_widths_stand_under_their_names():
    features = [
        tfmtl.Numeric("a", boundaries=(0, 1), embedding_dim=2),
        tfmtl.Numeric("b"),
        tfmtl.Numeric("c", boundaries=(0, 1, 2), embedding_dim=3),
        tfmtl.Numeric("d", boundaries=(0, 4), embedding_dim=2),
    ]
    layer = FeatureEmbedding(features)
    rows = {name: np.array([[0.5], [1.0]]) for name in "abcd"}
    layer(rows)
    layer.piecewise["2"].kernel.assign([[[1, 2]], [[4, 8]]])
    layer.piecewise["2"].nodes.assign(np.zeros((2, 2, 2)))
    got = layer(rows)
    assert [*got] == ["a", "b", "c", "d"]
    np.testing.assert_allclose(got["a"], [[0.5, 1], [1, 2]])
    np.testing.assert_allclose(got["b"], [[0.5], [1]])
    assert got["c"].shape == (2, 3)
    np.testing.assert_allclose(got["d"], [[0.5, 1], [1, 2]])


def test_a_single_task_model_learns_columns_of_its_own():
    number = tfmtl.Numeric("x", boundaries=(0, 1), embedding_dim=2)
    model = tfmtl.models.get("single_task")([number], [*map(tfmtl.Task, "ab")])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model({"x": tf.constant([0.5])})["a"])
    (layer,) = model.embedding.piecewise.values()
    gradient = tape.gradient(loss, layer.kernel.value).numpy()  # (1, 1, 2 + 2)
    assert gradient[..., :2].any()
    assert not gradient[..., 2:].any()


@pytest.mark.parametrize(
    "wrong", [(1,), (1, 1), (2, 1), (0, np.nan), 3, (1e9, 1e9 + 1)]
)
def test_boundaries_must_ascend(wrong):
    with pytest.raises(ValueError, match="boundaries of 'x' must be at least two"):
        tfmtl.Numeric("x", boundaries=wrong)


def test_a_width_needs_boundaries():
    with pytest.raises(ValueError, match="embedding_dim of 'x' needs boundaries"):
        tfmtl.Numeric("x", embedding_dim=4)


def test_the_input_must_have_a_column_a_number():
    with pytest.raises(ValueError, match="must have shape .batch, 2.. Received"):
        PiecewiseLinear(BOUNDARIES)(np.zeros((3, 1)))
