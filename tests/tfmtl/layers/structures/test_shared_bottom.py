import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import layers

TASKS = ["click", "like", "buy"]
X = np.random.default_rng(3).normal(size=(5, 4)).astype("float32")


def _gradient(layer, task, weights):
    """Returns, for each weight, whether a task's output depends on it."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant(X))[task] ** 2)
    return [g is not None for g in tape.gradient(loss, [w.value for w in weights])]


def _reaches(layer, task, part):
    return any(_gradient(layer, task, part.trainable_weights))


def test_asymmetric_source_helps_and_is_not_helped():
    layer = layers.Asymmetric(TASKS, source="like", units=(6,))
    layer(X)
    for task in TASKS:
        assert _reaches(layer, task, layer.bottoms["like"])
        for other in ("click", "buy"):
            assert _reaches(layer, task, layer.bottoms[other]) == (task == other)


@pytest.mark.parametrize(
    ("fuse", "expected"),
    [
        ("concat", lambda a, b: np.concatenate([a, b], axis=1)),
        ("sum", lambda a, b: a + b),
        ("mean", lambda a, b: (a + b) / 2),
    ],
)
def test_asymmetric_fuses(fuse, expected):
    layer = layers.Asymmetric(TASKS, units=(6,), fuse=fuse)
    outputs = layer(X)
    source, own = (layer.bottoms[task](X).numpy() for task in ("click", "buy"))
    np.testing.assert_allclose(outputs["click"], source)
    np.testing.assert_allclose(outputs["buy"], expected(source, own), rtol=1e-6)


def test_customized_sees_shared_and_own():
    layer = layers.Customized(TASKS, units=(6,))
    outputs = layer(X)
    shared, own = (layer.bottoms[name](X).numpy() for name in ("shared", "like"))
    np.testing.assert_allclose(outputs["like"], np.concatenate([shared, own], 1))
    assert _reaches(layer, "click", layer.bottoms["shared"])
    assert not _reaches(layer, "click", layer.bottoms["like"])


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="source must be one of.*Received: 'lik'"):
        layers.Asymmetric(TASKS, source="lik")
    with pytest.raises(ValueError, match="fuse must be one of 'concat', 'sum', 'mean'"):
        layers.Asymmetric(TASKS, fuse="max")


def test_single_task_learns_what_a_model_of_the_task_alone_learns():
    features = [
        tfmtl.Categorical("item", vocabulary_size=7, embedding_dim=3),
        tfmtl.Numeric("x"),
        tfmtl.Sequence("seen", of="item", max_length=2),
    ]
    tasks = [tfmtl.Task("click"), tfmtl.Task("watch", kind="regression")]
    rng = np.random.default_rng(0)
    inputs = {
        "item": rng.integers(0, 7, 32),
        "x": rng.normal(size=32).astype("float32"),
        "seen": rng.integers(0, 7, (32, 2)),
    }
    labels = {
        "click": rng.integers(0, 2, 32).astype("float32"),
        "watch": rng.normal(size=32).astype("float32"),
    }

    def make(tasks):
        return tfmtl.models.get("single_task")(features, tasks, units=(5,))

    together = make(tasks)
    alone = []
    for i, task in enumerate(tasks):
        model = make([task])
        # The task's columns of the table, its network and its tower.
        table = together.embedding.table("item")
        model.embedding.set_table("item", table[:, 3 * i : 3 * i + 3])
        bottom = together.sharing.bottoms[task.name]
        model.sharing.bottoms[task.name].set_weights(bottom.get_weights())
        tower = together.towers[task.name]
        model.towers[task.name].set_weights(tower.get_weights())
        alone.append(model)
    start = together(inputs)
    for model in (together, *alone):
        model.compile(keras.optimizers.Adam(0.01))
        model.fit(inputs, labels, batch_size=8, shuffle=False, verbose=0)
    after = together(inputs)
    for model, task in zip(alone, tasks, strict=True):
        np.testing.assert_allclose(
            model(inputs)[task.name], after[task.name], rtol=1e-4, atol=1e-5
        )
        assert not np.allclose(start[task.name], after[task.name], rtol=1e-2)
