"""A number: what is missing, and what scales it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import tfmtl
from tfmtl import Categorical, Numeric
from tfmtl.layers import FeatureEmbedding

NUMBERS = [Numeric("x"), Numeric("y"), Categorical("a", 3, embedding_dim=2)]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_numbers_that_are_not_finite_are_0(dtype, policy):
    x = np.array([1.5, np.nan, np.inf, -np.inf, -2], dtype)
    inputs = {"x": x, "y": x[::-1, None], "a": np.zeros(5, "int8")}
    out = FeatureEmbedding(NUMBERS, dtype=policy)(inputs)
    expected = np.array([[1.5], [0], [0], [0], [-2]])
    np.testing.assert_array_equal(ops.cast(out["x"], "float32"), expected)
    np.testing.assert_array_equal(ops.cast(out["y"], "float32"), expected[::-1])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("float32", [0, -1e6, 1]),
        ("mixed_float16", [0, -65504, 1]),
        ("float64", [1e300, -1e6, 1]),
    ],
)
def test_numbers_that_a_type_cannot_hold(policy, expected):
    """No policy makes inf of a number, nor NaN of it in the layers above."""
    out = FeatureEmbedding([Numeric("x")], dtype=policy)(
        {"x": tf.constant([1e300, -1e6, 1], tf.float64)}
    )
    np.testing.assert_allclose(out["x"][:, 0], expected)


def test_a_policy_makes_no_inf_on_the_way_into_a_model():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = tfmtl.models.get("shared_bottom")([Numeric("x")], [tfmtl.Task("a")])
        found = model({"x": np.array([1e6, 65504], "float32")})["a"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "uint64"])
def test_whole_numbers_are_numbers(dtype):
    x = np.array([0, 1, 1], dtype)
    out = FeatureEmbedding([Numeric("x")])({"x": x})["x"]
    np.testing.assert_array_equal(out, [[0], [1], [1]])


def test_a_normalization_scales_the_number_and_its_absence_is_0():
    features = [Numeric("x", normalization=(30, 10)), Numeric("y")]
    x = np.array([30, 50, np.nan, np.inf], "float32")
    out = FeatureEmbedding(features)({"x": x, "y": x[:2].repeat(2)})
    np.testing.assert_allclose(out["x"], [[0], [2], [0], [0]])
    np.testing.assert_allclose(out["y"], [[30], [30], [50], [50]])


@pytest.mark.parametrize("given", [3, (1,), (1, 0), (1, -2), (np.nan, 1), ("a", "b")])
def test_a_normalization_is_a_mean_and_a_deviation(given):
    with pytest.raises(ValueError, match=r"of 'x' must be \(mean, std\)"):
        Numeric("x", normalization=given)


def test_boundaries_need_no_normalization():
    with pytest.raises(ValueError, match="boundaries or a normalization, not both"):
        Numeric("x", boundaries=(0, 1), normalization=(0, 1))


def test_a_normalization_is_saved_with_the_model(tmp_path):
    features = [Numeric("x", normalization=(30, 10))]
    model = tfmtl.models.get("shared_bottom")(features, [tfmtl.Task("a")], units=(2,))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.features == features
