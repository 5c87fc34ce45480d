"""DIN's pooling of a sequence."""

import numpy as np
import pytest
import tensorflow as tf

from tfmtl import Categorical, Sequence, Task, models
from tfmtl.layers import FeatureEmbedding, TargetAttention


def _naive(layer, target, sequence, present):
    """Loops over rows and items, with W [q, k, q * k] as it stands in the paper."""
    kernel, bias, weigh, offset = (w.numpy() for w in layer.weights)
    out = np.zeros_like(target)
    for b in range(len(target)):
        for j in range(sequence.shape[1]):
            if present[b, j]:
                q, k = target[b], sequence[b, j]
                hidden = np.maximum(np.concatenate([q, k, q * k]) @ kernel + bias, 0)
                out[b] += k / (1 + np.exp(-(hidden @ weigh + offset)))
    return out


def test_weighs_each_item_by_the_target():
    random = np.random.default_rng(0)
    target = random.normal(size=(4, 3)).astype("float32")
    sequence = random.normal(size=(4, 5, 3)).astype("float32")
    present = random.integers(0, 2, (4, 5))
    present[2] = 0
    layer = TargetAttention(units=6)
    out = layer(target, sequence, present)
    layer.set_weights([random.normal(size=w.shape) for w in layer.get_weights()])
    out = layer(target, sequence, present).numpy()
    expected = _naive(layer, target, sequence, present)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(out[2], 0)


def test_padding_gets_no_gradient():
    layer = TargetAttention(units=4)
    sequence = tf.Variable(tf.random.stateless_normal((2, 3, 4), (1, 2)))
    with tf.GradientTape() as tape:
        out = layer(tf.ones((2, 4)), sequence, tf.constant([[1, 0, 1], [0, 0, 0]]))
        loss = tf.reduce_sum(out)
    gradient = np.abs(tape.gradient(loss, sequence)).sum(-1)
    np.testing.assert_array_equal(gradient > 0, [[1, 0, 1], [0, 0, 0]])


def test_a_sequence_is_pooled_as_the_target_sees_it():
    features = [
        Sequence("of", of="item", max_length=3, pooling="target_attention"),
        Categorical("item", vocabulary_size=9, embedding_dim=4),
        Categorical("user", num_buckets=5, embedding_dim=4),
        Sequence(
            "user_sees",
            of="item",
            max_length=2,
            pooling="target_attention",
            target="user",
        ),
    ]
    layer = FeatureEmbedding(features)
    of, user_sees = np.array([[1, 2, 0], [0, 9, 3]]), np.array([[8, 0], [0, 0]])
    out = layer(
        {
            "of": of,
            "item": np.array([4, 5]),
            "user": np.array([7, 3]),
            "user_sees": user_sees,
        }
    )
    items, users = layer.table("item"), layer.table("user")
    # Id 9 is outside of the vocabulary, so it is padding.
    expected = _naive(
        layer.encoders["of"].encoder, items[[4, 5]], items[of % 9], of % 9 != 0
    )
    np.testing.assert_allclose(out["of"], expected, rtol=1e-4, atol=1e-6)
    expected = _naive(
        layer.encoders["user_sees"].encoder,
        users[[2, 3]],
        items[user_sees],
        user_sees != 0,
    )
    np.testing.assert_allclose(out["user_sees"], expected, rtol=1e-4, atol=1e-6)
    assert [*out] == ["of", "item", "user", "user_sees"]


def test_tasks_that_share_nothing_share_no_attention():
    item = Categorical("item", vocabulary_size=9)
    seen = Sequence("seen", of=item, max_length=3, pooling="target_attention")
    with pytest.raises(ValueError, match="single_task .* would share the encoder"):
        models.get("single_task")([item, seen], [Task("a"), Task("b")])
