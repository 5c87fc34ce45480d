"""Shared tables, several hash functions and buckets for unknown ids."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfmtl import Categorical, Sequence
from tfmtl.features import check_domain, check_features
from tfmtl.layers import FeatureEmbedding
from tfmtl.layers.embedding.table_rows import hash_bucket, rows_of_table


def _mix(i, which, buckets):
    """SplitMix64 with Python's integers of any size."""
    x = (i + (which + 1) * 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return ((x ^ x >> 31) >> 1) % buckets


def test_hashes_are_splitmix64():
    ids = [0, 1, -1, 12345, 2**31 - 1, 2**40 + 7, -(2**63), 2**63 - 1]
    for which in range(3):
        expected = [_mix(i, which, 1009) for i in ids]
        found = hash_bucket(tf.constant(ids, tf.int64), 1009, which)
        np.testing.assert_array_equal(found, expected)
        jitted = tf.function(hash_bucket, jit_compile=True)
        found = jitted(tf.constant(ids, tf.int64), 1009, which)
        np.testing.assert_array_equal(found, expected)
    # The width of the integer does not matter.
    np.testing.assert_array_equal(
        hash_bucket(tf.constant(ids[:5], tf.int32), 7),
        hash_bucket(tf.constant(ids[:5], tf.int64), 7),
    )


def test_buckets_are_even_and_functions_independent():
    ids = tf.range(0, 64_000_000, 1000, dtype=tf.int64)  # a pattern, modulo 64 buckets
    a, b = hash_bucket(ids, 64, 0).numpy(), hash_bucket(ids, 64, 1).numpy()
    for rows in (a, b):
        assert np.abs(np.bincount(rows, minlength=64) / 1000 - 1).max() < 0.15
    # Pairs of buckets: 64,000 ids in 4096 cells.
    cells = np.bincount(a * 64 + b, minlength=4096)
    assert 0.8 < cells.var() / cells.mean() < 1.2


def test_several_hash_functions_sum_rows_and_tell_ids_apart():
    feature = Categorical("tag", num_buckets=30, embedding_dim=4, num_hashes=3)
    bag = Sequence("bag", of="tag", max_length=2)
    layer = FeatureEmbedding([feature, bag])
    ids = np.array([0, 1, 2, 2**40])
    pairs = np.array([[1, 2], [0, 0], [2**40, 0], [1, 1]])
    out = layer({"tag": ids, "bag": pairs})
    table = layer.table("tag")

    def vector(i):
        return sum(table[1 + _mix(i, h, 29) if i else 0] for h in range(3))

    expected = np.array([vector(int(i)) for i in ids])
    np.testing.assert_allclose(out["tag"], expected, rtol=1e-5, atol=1e-7)
    one, two, big = expected[1:]
    expected = [(one + two) / 2, 0 * one, big, one]
    np.testing.assert_allclose(out["bag"], expected, rtol=1e-5, atol=1e-6)

    # 100 ids in 29 rows: with one function they must meet, with three few do.
    ids = np.arange(1, 101)
    sets = np.sort([rows_of_table(ids, feature, h) for h in range(3)], axis=0)
    assert len(np.unique(sets, axis=1).T) >= 95
    one = dataclasses.replace(feature, num_hashes=1)
    assert len(np.unique(rows_of_table(ids, one))) == 30


def test_unknown_ids_have_buckets():
    feature = Categorical("a", vocabulary_size=10, oov_buckets=4, embedding_dim=2)
    assert feature.table_size == 14
    ids = np.array([0, 9, 10, -1, 2**40, 2**32 + 3])
    out = FeatureEmbedding([feature, Sequence("s", of="a", max_length=1)])
    rows = rows_of_table(ids, feature)
    expected = [0, 9] + [10 + _mix(int(i), 0, 4) for i in ids[2:]]
    np.testing.assert_array_equal(rows, expected)
    vectors = out({"a": ids, "s": ids[:, None]})
    np.testing.assert_array_equal(vectors["a"], out.table("a")[expected])
    # In a sequence they are there, other than ids that are just unknown.
    np.testing.assert_array_equal(vectors["s"][1:], out.table("a")[expected[1:]])
    np.testing.assert_array_equal(vectors["s"][0], 0)


def test_features_share_a_table():
    features = [
        Categorical("last", vocabulary_size=5, embedding_dim=2, table="item"),
        Categorical("user", vocabulary_size=3, embedding_dim=2),
        Categorical("item", vocabulary_size=5, embedding_dim=2),
    ]
    layer = FeatureEmbedding(features)
    ids = {"last": np.array([4]), "user": np.array([1]), "item": np.array([4])}
    out = layer(ids)
    assert [tuple(w.shape) for w in layer.weights] == [(8, 2)]
    np.testing.assert_array_equal(out["last"], out["item"])
    layer.set_table("last", np.full((5, 2), 7.0))
    np.testing.assert_array_equal(layer(ids)["item"], [[7, 7]])
    np.testing.assert_array_equal(layer(ids)["user"], out["user"])


def test_ids_of_any_integer_type_give_the_same():
    layer = FeatureEmbedding(
        [
            Categorical("a", vocabulary_size=9, embedding_dim=2),
            Categorical("b", vocabulary_size=9, embedding_dim=2),
        ]
    )
    out = [
        layer({"a": tf.constant([1, 9], a), "b": tf.constant([3, -1], b)})
        for a, b in ((tf.int32, tf.int32), (tf.int64, tf.int32), (tf.int64, tf.float32))
    ]
    expected = layer.table("a")[[1, 0]], layer.table("b")[[3, 0]]
    for vectors in out:
        np.testing.assert_array_equal(vectors["a"], expected[0])
        np.testing.assert_array_equal(vectors["b"], expected[1])


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            [
                Categorical("a", vocabulary_size=3),
                Categorical("b", vocabulary_size=4, table="a"),
            ],
            "same but for their names",
        ),
        (
            [
                Categorical("a", vocabulary_size=3, embedding_dim=4),
                Categorical("b", vocabulary_size=3, embedding_dim=8, table="a"),
            ],
            "same but for their names",
        ),
        (
            [
                Categorical("a", vocabulary_size=3),
                Categorical("b", vocabulary_size=3, embedding_dim=8),
                Sequence("s", "a", 2, "target_attention", target="b"),
            ],
            "embedding_dim of 'a', 16. Received: 'b' with 8",
        ),
        (
            [
                Categorical("a", vocabulary_size=3),
                Sequence("s", "a", 2, "target_attention", target="c"),
            ],
            "target of 's' must be a Categorical",
        ),
    ],
)
def test_features_that_cannot_share(features, message):
    with pytest.raises(ValueError, match=message):
        check_features(features)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_buckets": 9, "oov_buckets": 1}, "oov_buckets of 'a' needs vocabulary"),
        ({"vocabulary_size": 9, "num_hashes": 2}, "num_hashes of 'a' needs num_bucket"),
        ({"num_buckets": 1, "num_hashes": 2}, "at least 2"),
        ({"vocabulary_size": 9, "oov_buckets": -1}, "oov_buckets of 'a' must be"),
        ({"capacity": 9, "decay": 0.0}, r"in \(0, 1\]"),
        ({"capacity": 0}, "capacity of 'a' must be a positive"),
        ({"capacity": 4, "num_buckets": 4}, "exactly one"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Categorical("a", **options)


def test_a_domain_has_a_row_of_its_own():
    for options in ({"num_buckets": 9, "num_hashes": 2}, {"capacity": 9}):
        with pytest.raises(ValueError, match="domain must be a Categorical with one"):
            check_domain([Categorical("a", **options)], "a")
