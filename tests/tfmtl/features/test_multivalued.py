"""Several ids a row, in no order, each with a weight or without."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import Categorical, Multivalued, Numeric, Sequence, Task, inputs
from tfmtl.features import check_domain, check_features
from tfmtl.layers import FeatureEmbedding
from tfmtl.layers.embedding.multivalued_pooling import pool

IDS = np.array([[1, 2, 0], [0, 0, 0], [3, 3, 9], [4, 1, 2]])
POOLINGS = ["mean", "sum", "sqrtn", "max"]
WEIGHTS = np.float32([[0.5, 2, 7], [1, 1, 1], [1, 0, 1], [-1, np.nan, 3]])


def _embedded(pooling, weights=None, ids=IDS):
    feature = Multivalued(
        "tags", 5, embedding_dim=2, max_length=3, pooling=pooling, weights=weights
    )
    layer = FeatureEmbedding([feature])
    out = layer({"tags": ids, "w": WEIGHTS})["tags"].numpy()
    return out, layer.table("tags")


def _pooled(pooling, vectors, weights):
    if not len(weights):
        return [0, 0]
    if pooling == "max":
        return vectors.max(0)
    size = {"sum": 1, "mean": weights.sum(), "sqrtn": np.sqrt(weights @ weights)}
    return weights @ vectors / size[pooling]


@pytest.mark.parametrize(
    ("pooling", "weights"),
    [*((p, None) for p in POOLINGS), *((p, "w") for p in POOLINGS[:3])],
)
def test_the_pooling_is_the_formula(pooling, weights):
    out, table = _embedded(pooling, weights)
    for row, ids, given in zip(out, IDS, WEIGHTS, strict=True):
        given = given if weights else np.ones(3)
        # 0, and 9, which the vocabulary lacks, are no ids; nor is one of weight <= 0.
        kept = np.isin(ids, (1, 2, 3, 4)) & (given > 0)
        expected = _pooled(pooling, table[ids[kept]], given[kept])
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_order_and_padding_do_not_matter(pooling):
    keras.utils.set_random_seed(1)
    out, table = _embedded(pooling)
    keras.utils.set_random_seed(1)
    other, same = _embedded(pooling, ids=IDS[:, ::-1])
    np.testing.assert_array_equal(table, same)
    np.testing.assert_allclose(out, other, rtol=1e-6)


def test_gradients_are_finite_and_of_the_ids_that_count():
    for pooling in ("mean", "sqrtn", "max"):
        feature = Multivalued("tags", 5, embedding_dim=2, max_length=3, pooling=pooling)
        layer = FeatureEmbedding([feature])
        layer.build()
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer({"tags": IDS[:2]})["tags"])
        (gradient,) = tape.gradient(total, layer.trainable_variables)
        dense = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(dense).all()
        assert not dense[[0, 3, 4]].any() and dense[[1, 2]].any()


def test_it_shares_a_table():
    item = Categorical("item", 5, embedding_dim=2)
    tags = Multivalued("tags", 5, embedding_dim=2, max_length=3, table="item")
    seen = Sequence("seen", of="tags", max_length=2)
    layer = FeatureEmbedding([item, tags, seen])
    ids = {"item": [1], "tags": [[1, 0, 0]], "seen": [[0, 1]]}
    out = layer({name: np.array(values) for name, values in ids.items()})
    np.testing.assert_array_equal(out["item"], out["tags"])
    np.testing.assert_array_equal(out["item"], out["seen"])
    with pytest.raises(ValueError, match="of one table must declare the same"):
        check_features([item, Multivalued("tags", 6, embedding_dim=2, table="item")])


def test_bad_declarations():
    tags = Multivalued("tags", 5, max_length=3, weights="w")
    for make, message in (
        (lambda: Multivalued("t", 5, max_length=0), "max_length of 't'"),
        (lambda: Multivalued("t", 5, pooling="mode"), "pooling of 't' must be one of"),
        (
            lambda: Multivalued("t", 5, weights="w", pooling="max"),
            "a pooling that they",
        ),
        (lambda: check_features([tags, Numeric("w")]), "Received twice.*'w'"),
        (lambda: check_domain([tags], "tags"), "name of a Categorical"),
        (
            lambda: check_features(
                [tags, Sequence("s", "tags", 2, "target_attention")],
            ),
            "target of 's' must be one id a row",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize(
    ("ids", "weights"),
    [
        ([["a", "b"], None, ["c"]], [[0.5, 2], [], [3.0]]),
        ([["z", "z", "a", "b"], [], ["c"]], [[9, 9, 0.5, 2], None, [3]]),
        ([["a", "b"], ["", ""], ["c", ""]], np.float32([[0.5, 2], [0, 0], [3, 0]])),
    ],
)
def test_columns_of_lists(ids, weights):
    tags = Multivalued("tags", vocabulary=["a", "b", "c"], max_length=2, weights="w")
    found = inputs.read_features({"tags": ids, "w": weights}, [tags], [])
    assert found["tags"].numpy().tolist() == [[b"a", b"b"], [b"", b""], [b"c", b""]]
    np.testing.assert_array_equal(found["w"], [[0.5, 2], [0, 0], [3, 0]])


def test_weights_are_as_many_as_the_ids():
    tags = Multivalued("tags", 5, max_length=2, weights="w")
    for weights, message in (
        ([[1.0], [1.0]], "Weights 'w' of 'tags' must be as many .*1 of 2 ids in row 0"),
        (np.ones((2, 3)), r"must have shape \(rows, 2\)"),
        ([["x", "y"], ["z"]], "Weights 'w' of 'tags' takes numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            inputs.read_features({"tags": [[1, 2], [3]], "w": weights}, [tags], [])


def test_a_list_that_no_other_column_has_is_multivalued():
    table = {
        "tags": [["new", "hot"], ["new"], None, ["new", ""]],
        "codes": [[3, 4], [3], [], [5]],
        "click": [0, 1, 0, 1],
    }
    features, _ = tfmtl.from_dataframe(table, ["click"])
    table["rates"] = [{"a": 0.5}, None, {}, {}]  # no list
    with pytest.warns(UserWarning, match="'rates' .a map in each row"):
        assert tfmtl.from_dataframe(table, ["click"])[0] == features
    assert features == [
        Multivalued("tags", vocabulary=("new", "hot"), embedding_dim=4, max_length=2),
        Multivalued("codes", vocabulary=(3, 4, 5), embedding_dim=4, max_length=2),
    ]


def test_a_model_of_tags_is_trained_saved_and_served(tmp_path):
    tags = Multivalued("tags", 9, embedding_dim=2, max_length=3, weights="w")
    features = [tags, Categorical("tab", 3, embedding_dim=2)]
    model = tfmtl.models.get("shared_bottom")(features, [Task("a")], units=(4,))
    model.compile(run_eagerly=True)
    x = {"tags": IDS, "w": WEIGHTS, "tab": np.array([0, 1, 2, 1])}
    model.fit(x, {"a": np.eye(4)[0]}, epochs=2, verbose=0)
    expected = model.predict(x, verbose=0)["a"]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0)["a"], expected)
    tfmtl.export(model, tmp_path / "served", user_features=["tags"])
    signatures = tf.saved_model.load(tmp_path / "served").signatures
    given = {name: tf.constant(values) for name, values in x.items()}
    for name in ("serving_default", "transformed"):
        found = signatures[name](**given)["a"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    once = {**given, "tags": given["tags"][:1], "w": given["w"][:1]}
    tiled = {name: np.repeat(x[name][:1], 4, 0) for name in ("tags", "w")}
    wanted = model.predict({**x, **tiled}, verbose=0)["a"]
    np.testing.assert_allclose(signatures["rank"](**once)["a"], wanted, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-25, 1e30])
@pytest.mark.parametrize("pooling", ["mean", "sqrtn"])
def test_weights_have_no_unit(pooling, scale):
    vectors = np.array([[[1.0, 4.0], [3.0, 0.0], [9.0, 9.0]]], "float32")
    weights = np.array([[3.0, 1.0, 0.0]], "float32")
    wanted = pool(vectors, weights, pooling)
    found = pool(vectors, weights * np.float32(scale), pooling)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_array_equal(pool(vectors, 0 * weights, pooling), [[0, 0]])
