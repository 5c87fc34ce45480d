"""DBMTL against its equations, and which networks a task's loss reaches."""

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.layers import DBMTL

TASKS = ["a", "b", "c"]
X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
SIZES = {"shared_units": (7,), "units": (6,), "relation_units": (5,)}


@pytest.mark.parametrize("parents", [None, {"c": ["a"]}, {"b": ["a"], "c": ["b"]}])
def test_a_task_reads_its_parents(parents):
    layer = DBMTL(TASKS, parents, **SIZES)
    outputs = layer(X)
    shared = layer.bottom(X)
    if parents is None:
        parents = {"b": ["a"], "c": ["a", "b"]}
    for task in TASKS:
        own = layer.bottoms.bottoms[task](shared)
        x = np.concatenate([own, *(outputs[p] for p in parents.get(task, []))], axis=1)
        (dense,) = layer.relations[task].layers
        expected = np.maximum(x @ dense.kernel.numpy() + dense.bias.numpy(), 0)
        np.testing.assert_allclose(outputs[task], expected, rtol=1e-4, atol=1e-6)


def test_a_later_tasks_loss_reaches_its_parents_and_no_earlier_one_a_later():
    layer = DBMTL(TASKS, {"b": ["a"]}, (16,), (16,), (16,))
    layer(X)
    kernels = {
        task: relation.layers[0].kernel.value
        for task, relation in layer.relations.items()
    }
    for task, reached in {"a": {"a"}, "b": {"a", "b"}, "c": {"c"}}.items():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(X)[task] ** 2)
        gradients = tape.gradient(loss, kernels)
        assert {k for k, g in gradients.items() if g is not None} == reached


def test_parents_must_stand_before_the_task():
    with pytest.raises(ValueError, match=r"'b' must stand before it, in \['a'\].*'c'"):
        DBMTL(TASKS, {"b": ["c"]})
    with pytest.raises(ValueError, match="'b' must stand before it.*'b'"):
        DBMTL(TASKS, {"b": ["b"]})
    with pytest.raises(ValueError, match="Each key of parents must be one of 'a', 'b'"):
        DBMTL(TASKS, {"d": ["a"]})
    with pytest.raises(ValueError, match=r"must be a dict.*Received: \['a'\]"):
        DBMTL(TASKS, ["a"])
    with pytest.raises(ValueError, match="must be a dict.*Received: {'b': 'a'}"):
        DBMTL(TASKS, {"b": "a"})


def test_a_relation_has_a_layer():
    with pytest.raises(ValueError, match="needs at least one layer"):
        DBMTL(TASKS, relation_units=())
