"""The embedding of every kind of feature."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmtl import Categorical, Numeric, Sequence
from tfmtl.layers import FeatureEmbedding


def test_embedding_looks_up_and_pools():
    features = [
        Categorical("item", vocabulary_size=5, embedding_dim=3),
        Categorical("user", num_buckets=4, embedding_dim=2),
        Numeric("x"),
        Sequence("seen", of="item", max_length=4),
        Sequence("bag", of="item", max_length=2, pooling="sum"),
    ]
    layer = FeatureEmbedding(features)
    out = layer(
        {
            "item": np.array([1, 5, -1, 4]),
            "user": np.array([[2], [-1], [2**40 + 3], [0]]),
            "x": np.array([0.5, 1, 2, 3], "float32"),
            "seen": np.array([[1, 2, 0, 0], [0, 0, 0, 0], [3, 3, 0, 4], [9, 2, 0, 0]]),
            "bag": np.array([[1, 2], [0, 0], [3, 0], [4, 4]]),
        }
    )
    items = layer.table("item")
    users = layer.table("user")
    # An id that the vocabulary does not have is unknown: 0.
    np.testing.assert_array_equal(out["item"], items[[1, 0, 0, 4]])
    # A bucket is the id modulo the buckets, of ids of any size and sign.
    np.testing.assert_array_equal(out["user"], users[[2, 3, 3, 0]])
    np.testing.assert_array_equal(out["x"], [[0.5], [1], [2], [3]])
    seen = [
        (items[1] + items[2]) / 2,
        0 * items[0],
        (2 * items[3] + items[4]) / 3,
        items[2],
    ]
    np.testing.assert_allclose(out["seen"], seen, rtol=1e-5, atol=1e-7)
    bag = [items[1] + items[2], 0 * items[0], items[3], 2 * items[4]]
    np.testing.assert_allclose(out["bag"], bag, rtol=1e-5, atol=1e-7)
    assert [*out] == ["item", "user", "x", "seen", "bag"]


def test_a_sharded_table_is_whole_without_a_strategy():
    sharded = {"embedding_dim": 3, "sharded": True}
    features = [
        Categorical("item", vocabulary_size=5, **sharded),
        Categorical("user", num_buckets=4, embedding_dim=3),
        Categorical("shop", num_buckets=7, **sharded),
        Sequence("seen", of="item", max_length=2, pooling="sum"),
    ]
    layer = FeatureEmbedding(features)
    x = {name: np.array([3]) for name in ("item", "user", "shop")}
    out = layer(x | {"seen": np.array([[4, 2]])})
    shapes = {name: tuple(table.shape) for name, table in layer.tables.items()}
    assert shapes == {"sharded_table_3": (12, 3), "table_3": (4, 3)}
    for name in x:
        np.testing.assert_array_equal(out[name], layer.table(name)[[3]])
    items = layer.table("item")
    np.testing.assert_allclose(out["seen"], [items[4] + items[2]])
    assert np.abs(items - layer.table("shop")[:5]).min() > 0  # drawn each by itself


def test_tables_start_different():
    layer = FeatureEmbedding([Categorical(n, vocabulary_size=9) for n in "ab"])
    layer({"a": np.zeros(1, int), "b": np.zeros(1, int)})
    assert np.abs(layer.table("a") - layer.table("b")).max() > 0


def test_tables_of_one_width_are_one_variable():
    features = [
        Categorical("a", vocabulary_size=3, embedding_dim=2),
        Categorical("b", vocabulary_size=4, embedding_dim=5),
        Categorical("c", num_buckets=6, embedding_dim=2),
        Sequence("s", of="c", max_length=3, pooling="sum"),
    ]
    layer = FeatureEmbedding(features)
    inputs = {
        "a": tf.constant([2, 2]),
        "b": tf.constant([1, 0]),
        "c": tf.constant([5, 6]),
        "s": tf.constant([[5, 5, 0], [1, 0, 0]]),
    }
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(v) for v in layer(inputs).values())
    assert {v.name: tuple(v.shape) for v in layer.trainable_variables} == {
        "table_2": (9, 2),
        "table_5": (4, 5),
    }
    variable, rows = layer.place("c")
    assert (variable.name, rows) == ("table_2", slice(3, 9))
    # One sparse gradient a variable, which names the touched rows alone.
    gradient, other = tape.gradient(loss, [v.value for v in layer.tables.values()])
    assert isinstance(gradient, tf.IndexedSlices)
    assert isinstance(other, tf.IndexedSlices)
    counts = np.bincount(gradient.indices, gradient.values[:, 0], minlength=9)
    np.testing.assert_array_equal(counts, [0, 0, 2, 1, 1, 0, 0, 0, 3])


def test_a_table_is_read_and_set_by_the_features_name():
    features = [Categorical(n, vocabulary_size=3, embedding_dim=2) for n in "ab"]
    layer = FeatureEmbedding(features)
    layer.build()
    a = layer.table("a")
    layer.set_table("b", np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(layer.table("a"), a)
    out = layer({"a": np.array([1]), "b": np.array([2])})
    np.testing.assert_array_equal(out["a"], a[[1]])
    np.testing.assert_array_equal(out["b"], [[4, 5]])
    with pytest.raises(ValueError, match="Did you mean 'a'"):
        layer.table("aa")


def test_each_table_is_initialised_as_if_alone():
    features = [
        Categorical("few", vocabulary_size=4, embedding_dim=64),
        Categorical("many", vocabulary_size=4000, embedding_dim=64),
    ]
    layer = FeatureEmbedding(features, initializer="glorot_uniform")
    layer.build()
    for name, rows in {"few": 4, "many": 4000}.items():
        limit = np.sqrt(6 / (rows + 64))
        assert 0.9 * limit < np.abs(layer.table(name)).max() <= limit


def test_a_lookup_does_not_read_the_whole_table():
    # A variable that was updated sparsely is copied when it is read.
    layer = FeatureEmbedding([Categorical("a", vocabulary_size=9)])
    layer.build()
    graph = tf.function(lambda a: layer({"a": a})).get_concrete_function(
        tf.TensorSpec([None], tf.int32)
    )
    kinds = [operation.type for operation in graph.graph.get_operations()]
    assert "ResourceGather" in kinds and "ReadVariableOp" not in kinds


def test_sequences_must_have_their_length():
    layer = FeatureEmbedding(
        [Categorical("item", vocabulary_size=5), Sequence("s", of="item", max_length=4)]
    )
    with pytest.raises(ValueError, match=r"shape \(batch, 4\). Received: \(2, 3\)"):
        layer({"item": np.zeros(2, int), "s": np.zeros((2, 3), int)})


def test_an_id_that_shares_the_row_of_id_0_is_pooled():
    layer = FeatureEmbedding(
        [
            Categorical("item", num_buckets=4, embedding_dim=2),
            Sequence("seen", of="item", max_length=2),
        ]
    )
    seen = layer({"item": np.zeros(1, int), "seen": np.array([[8, 0]])})["seen"]
    np.testing.assert_array_equal(seen, layer.table("item")[:1])


def test_an_embedding_is_exported(tmp_path):
    layer = FeatureEmbedding([Categorical("a", vocabulary_size=9, embedding_dim=2)])
    out = layer({"a": np.arange(3)})["a"]
    archive = keras.export.ExportArchive()
    archive.track(layer)
    specs = {"a": tf.TensorSpec([None], tf.int64, "a")}
    archive.add_endpoint("serve", lambda inputs: layer(inputs), [specs])
    archive.write_out(str(tmp_path / "served"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_array_equal(served.serve({"a": np.arange(3)})["a"], out)
