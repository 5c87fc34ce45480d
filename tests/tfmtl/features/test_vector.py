"""A vector a row: what it becomes, what is missing, and what is none."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import Numeric, Task, Vector, inputs
from tfmtl.layers import FeatureEmbedding

VECTORS = np.float32([[1, 2, 3], [np.nan, 2, 3], [0, 0, 0], [np.inf, 0, 0]])


def test_a_vector_is_projected_and_a_missing_one_is_its_own():
    layer = FeatureEmbedding([Vector("cover", 3), Vector("text", 3, embedding_dim=2)])
    out = layer({"cover": VECTORS, "text": VECTORS})
    assert {n: v.shape[-1] for n, v in out.items()} == {"cover": 3, "text": 2}
    np.testing.assert_allclose(out["cover"], [[1, 2, 3], *[[0] * 3] * 3])
    kernel = layer.vectors["text"].kernel.numpy()
    np.testing.assert_allclose(out["text"][0], VECTORS[0] @ kernel, rtol=1e-6)
    np.testing.assert_array_equal(out["text"][1], [0, 0])  # as it starts
    for made in layer.vectors.values():
        made.missing.assign(5 * np.ones(made.missing.shape))
    out = layer({"cover": VECTORS, "text": VECTORS})
    for vectors in out.values():  # a vector of zeros is not missing
        np.testing.assert_array_equal(vectors.numpy()[1:, 0], [5, 0, 5])


def test_what_is_missing_is_learnt_of_those_rows_alone():
    layer = FeatureEmbedding([Vector("cover", 3)])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer({"cover": VECTORS})["cover"])
    (gradient,) = tape.gradient(total, layer.trainable_variables)
    np.testing.assert_array_equal(gradient, [2, 2, 2])


@pytest.mark.parametrize(
    "column",
    [
        [[1, 2, 3], None, (4.0, 5.0, 6.0)],
        [np.arange(1, 4), float("nan"), np.float64([4, 5, 6])],
        np.float32([[1, 2, 3], [np.nan] * 3, [4, 5, 6]]),
        tf.ragged.constant([[1, 2, 3], [], [4, 5, 6]]),
    ],
)
def test_columns_of_lists_are_vectors(column):
    found = inputs.read_features({"cover": column}, [Vector("cover", 3)], [])["cover"]
    np.testing.assert_array_equal(found, [[1, 2, 3], [np.nan] * 3, [4, 5, 6]])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[1, 2, 3], [1, 2]], "vectors of 3 numbers. Received: 2 in row 1"),
        (np.zeros((2, 4)), r"shape \(rows, 3\). Received: shape \(2, 4\)"),
        ([1.0, 2.0, 3.0], "a vector of numbers a row. Received: float in row 0"),
        ([["a", "b", "c"]], "takes numbers. Received: texts"),
    ],
)
def test_what_is_no_vector_is_refused(column, message):
    with pytest.raises(ValueError, match=f"Vector 'cover' .*{message}"):
        inputs.read_features({"cover": column}, [Vector("cover", 3)], [])


def test_bad_declarations():
    with pytest.raises(ValueError, match="dim of 'v' must be a positive integer"):
        Vector("v", dim=0)
    with pytest.raises(ValueError, match="embedding_dim of 'v' must be a positive"):
        Vector("v", dim=2, embedding_dim=1.5)


def test_a_table_of_equally_many_fractions_is_a_vector():
    table = {
        "cover": [[0.5, 1.0], None, [0.25, float("nan")], [1.0, 2.0]],
        "price": [0.5, 1.5, 2.5, 3.5],
        "click": [0, 1, 0, 1],
    }
    features, _ = tfmtl.from_dataframe(table, ["click"], numeric=["price"])
    assert features[0] == Vector("cover", dim=2)
    table["cover"][0] = [0.5]  # not of one width
    with pytest.warns(UserWarning, match="'cover'"):
        features, _ = tfmtl.from_dataframe(table, ["click"], numeric=["price"])
    assert [f.name for f in features] == ["price"]


def test_a_model_of_vectors_is_trained_saved_and_served(tmp_path):
    features = [Vector("cover", 3, embedding_dim=2), Numeric("x")]
    model = tfmtl.models.get("single_task")(
        features, [Task("a"), Task("b")], units=(4,)
    )
    model.compile(run_eagerly=True)
    x = {"cover": VECTORS, "x": np.float32([0, 1, 2, 3])}
    model.fit(x, {"a": np.eye(4)[0], "b": np.eye(4)[1]}, epochs=3, verbose=0)
    expected = model.predict(x, verbose=0)["a"]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0)["a"], expected)

    tfmtl.export(model, tmp_path / "served")
    signatures = tf.saved_model.load(tmp_path / "served").signatures
    given = {name: tf.constant(values) for name, values in x.items()}
    for name in ("serving_default", "rank", "transformed"):
        np.testing.assert_allclose(signatures[name](**given)["a"], expected, rtol=1e-6)
    records = [_record(vector, i) for i, vector in enumerate(VECTORS)]
    found = signatures["examples"](examples=tf.constant(records))["a"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for kind in ("float_list", "int64_list"):
        records[1] = _record([1, 2], 1, kind)
        with pytest.raises(tf.errors.InvalidArgumentError, match="cover takes 3 num"):
            signatures["examples"](examples=tf.constant(records))


def _record(vector, x, kind="float_list"):
    """An example; one without the vector if it is not known."""
    example = tf.train.Example()
    feature = example.features.feature
    feature["x"].float_list.value.append(x)
    if np.isfinite(vector).all():
        getattr(feature["cover"], kind).value.extend(vector)
    return example.SerializeToString()
