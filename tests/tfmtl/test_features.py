"""Feature declarations, and the embedding that reads them."""

import numpy as np
import pytest

from tfmtl import Categorical, Numeric, Sequence
from tfmtl.features import check_features
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
    items = layer.tables["item"].embeddings.numpy()
    users = layer.tables["user"].embeddings.numpy()
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


def test_tables_start_different():
    layer = FeatureEmbedding([Categorical(n, vocabulary_size=9) for n in "ab"])
    layer({"a": np.zeros(1, int), "b": np.zeros(1, int)})
    a, b = (table.embeddings.numpy() for table in layer.tables.values())
    assert np.abs(a - b).max() > 0


def test_sequences_must_have_their_length():
    layer = FeatureEmbedding(
        [Categorical("item", vocabulary_size=5), Sequence("s", of="item", max_length=4)]
    )
    with pytest.raises(ValueError, match=r"shape \(batch, 4\). Received: \(2, 3\)"):
        layer({"item": np.zeros(2, int), "s": np.zeros((2, 3), int)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical("a"), "exactly one of `vocabulary_size`"),
        (lambda: Categorical("a", 3, 4), "Received: 3 and 4"),
        (lambda: Categorical("a", 0), "vocabulary_size of 'a' must be a positive"),
        (lambda: Categorical("a", 3, embedding_dim=0), "embedding_dim of 'a'"),
        (lambda: Numeric(""), "must start with a letter"),
        (lambda: Sequence("a", of="b", max_length=0), "max_length of 'a'"),
        (
            lambda: Sequence("a", of="b", max_length=2, pooling="men"),
            "Did you mean 'mean'",
        ),
    ],
)
def test_bad_declarations(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_features_that_do_not_go_together():
    item = Categorical("item", vocabulary_size=5)
    check_features([item, Sequence("s", of=item, max_length=4)])
    with pytest.raises(ValueError, match="at least one feature"):
        check_features([])
    with pytest.raises(ValueError, match="Received: 'item'"):
        check_features(["item"])
    with pytest.raises(ValueError, match="Received twice"):
        check_features([item, Numeric("item")])
    with pytest.raises(ValueError, match="of='itme'. Did you mean 'item'"):
        check_features([item, Sequence("s", of="itme", max_length=4)])
