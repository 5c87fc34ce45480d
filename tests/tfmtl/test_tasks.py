"""Labels, sample spaces and losses, with numbers worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import tfmtl
from tfmtl import Task
from tfmtl.sample_space import labels_and_masks, weigh
from tfmtl.tasks import check_funnel_order, check_tasks

NAN = float("nan")


def _rows(tasks, labels, features=None):
    rows = labels_and_masks(
        tasks, {k: np.array(v) for k, v in labels.items()}, features or {}
    )
    return {
        name: (label.numpy().tolist(), mask.numpy().tolist())
        for name, (label, mask) in rows.items()
    }


def test_spaces_by_column_task_and_missing_label():
    tasks = [
        Task("click"),
        Task("like", space="click"),
        Task("watch", kind="regression", space="played"),
        Task("gift", label="gifted", space="eligible"),
    ]
    rows = _rows(
        tasks,
        {
            "click": [1, 0, NAN, 1],
            "like": [1, 1, 1, NAN],
            "watch": [5.0, NAN, 7.0, 8.0],
            "played": [1, 1, 0, NAN],
            "gifted": [[1], [0], [1], [0]],  # (batch, 1) will do
        },
        {"eligible": np.array([0, 1, 1, 0])},
    )
    assert rows == {
        "click": ([1, 0, 0, 1], [1, 1, 0, 1]),
        "like": ([1, 0, 0, 0], [1, 0, 0, 0]),
        "watch": ([5, 0, 0, 0], [1, 0, 0, 0]),
        "gift": ([0, 0, 1, 0], [0, 1, 1, 0]),
    }


def test_a_soft_space_weighs_known_labels_outside_in_the_loss_alone():
    tasks = [Task("click"), Task("buy", space="click", outside=0.25, row_weight="w")]
    labels = {"click": [1, 0, 0, NAN], "buy": [1, 0, NAN, 1], "w": [1, 2, 1, 1]}
    arrays = {name: np.array(values) for name, values in labels.items()}
    label, mask = labels_and_masks(tasks, arrays, {}, soft=True)["buy"]
    assert label.numpy().tolist() == [1, 0, 0, 1]
    assert mask.numpy().tolist() == [1, 0.5, 0, 0.25]
    assert _rows(tasks, labels)["buy"] == ([1, 0, 0, 0], [1, 0, 0, 0])


def test_a_task_written_before_losses_had_arguments_is_read():
    config = Task("t", kind="regression").get_config()
    old = Task.from_config({**config, "loss": "huber", "delta": 2.0})
    assert old.loss == (tfmtl.losses.Huber(delta=2.0),)
    assert Task.from_config({**config, "loss": "mse", "delta": None}).loss[0].name == (
        "mse"
    )


def test_integer_and_boolean_labels():
    rows = _rows([Task("a"), Task("b")], {"a": [1, 0], "b": [True, False]})
    assert rows == {"a": ([1, 0], [1, 1]), "b": ([1, 0], [1, 1])}


def test_given_click_is_transitive():
    """A purchase given a cart counts only where the cart itself counts."""
    tasks = [
        Task("click", space="shown"),
        Task("cart", space="click"),
        Task("buy", space="cart"),
    ]
    rows = _rows(
        tasks,
        {
            "shown": [1, 1, 1, 0, 1],
            "click": [1, 0, NAN, 1, 1],
            "cart": [1, 1, 1, 1, 0],
            "buy": [1, 1, 1, 1, 1],
        },
    )
    assert rows["cart"] == ([1, 0, 0, 0, 0], [1, 0, 0, 0, 1])
    assert rows["buy"] == ([1, 0, 0, 0, 0], [1, 0, 0, 0, 0])


def test_row_weights_and_durations():
    tasks = [
        Task("a", row_weight="w"),
        Task("b", row_weight="of_feature", space="a"),
        Task("s", kind="regression", duration="length"),
    ]
    labels = {
        "a": [1, 0, 1, NAN, 1],
        "b": [1, 1, 0, 1, 1],
        "w": [0.5, 2, NAN, -7, 0],  # the -7 is outside
        "s": [10.0, NAN, 30.0, 40.0, 50.0],
        "length": [20, 20, math.inf, NAN, 25],
    }
    assert _rows(tasks, labels, {"of_feature": np.array([3, 1, 2, 1, 9])}) == {
        "a": ([1, 0, 1, 0, 1], [0.5, 2, 0, 0, 0]),
        "b": ([1, 0, 0, 0, 1], [3, 0, 2, 0, 9]),
        "s": ([10, 0, 0, 0, 50], [1, 0, 0, 0, 1]),
    }


@pytest.mark.parametrize("weight", [-1, math.inf])
def test_a_weight_that_is_none_is_refused(weight):
    tasks = [Task("a", row_weight="w")]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="weight in task a must be"
    ):
        _rows(tasks, {"a": [1, 0], "w": [1, weight]})
    with pytest.raises(ValueError, match="row weight of task 'a', 'w' is missing"):
        _rows(tasks, {"a": [1, 0], "v": [1, 1]})


def test_a_compiled_step_leaves_out_the_weights_it_cannot_refuse():
    weigh_ones = tf.function(lambda w: weigh(ops.ones(4), w, Task("a")))
    weights = np.array([2, math.inf, -1, NAN], "float32")
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be a number >= 0"):
        weigh_ones(weights)
    compiled = tf.function(weigh_ones.python_function, jit_compile=True)
    np.testing.assert_array_equal(compiled(weights), [2, 0, 0, 0])


def test_a_negative_count_is_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="count task n must be >="):
        _rows([Task("n", kind="count")], {"n": [3, -1]})


def test_activations():
    z = np.float32([[-200.0], [0.0], [3.0]])
    sigmoid = Task("t").activate(z).numpy().ravel()
    np.testing.assert_allclose(sigmoid, [0, 0.5, 1 / (1 + math.exp(-3))], atol=1e-6)
    np.testing.assert_array_equal(Task("t", kind="regression").activate(z), z)
    softplus = Task("t", kind="regression", loss="log_mse").activate(z).numpy().ravel()
    np.testing.assert_allclose(softplus, [0, math.log(2), 3.0485873], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(name="a b"), "must start with a letter"),
        (dict(kind="ranking"), "must be one of 'binary', 'regression', 'count'"),
        (dict(loss="mse"), "loss of binary task 't' must be one of 'bce'"),
        (dict(weight=-1), "must be a number >= 0. Received: -1"),
        (dict(weight=NAN), "must be a number >= 0"),
        (dict(space="t"), "cannot be its own sample space"),
        (dict(tower=(0,)), "must be a positive integer. Received: 0"),
        (dict(loss=["pairwise"]), "first loss of binary task 't' must be one of rows"),
        (dict(loss=["bce", "focal"]), "behind it ones of their order"),
        (dict(loss=[]), "must be one of rows"),
        (dict(loss=["bce", "pairwise", "pairwise"]), "Received twice: .'pairwise'"),
        (dict(outside=0.1), "outside of task 't' needs a space"),
        (dict(outside=2, space="s"), r"must be in \[0, 1\]"),
        (dict(weight=float("inf")), "weight of task 't' must be a number >= 0"),
        (dict(row_weight=3), "row_weight of task 't' must be the name of a column"),
        (dict(duration="d"), "for the binary task 't'"),
        (dict(metrics="auc"), "must be a tuple of names. Received: 'auc'"),
        (dict(metrics=("auk",)), "Did you mean 'auc'"),
        (dict(metrics=("mae",)), "A metric of a binary task must be one of 'auc', 'p"),
        (dict(metrics=("gauc",)), "need a feature to group by: 'gauc:user_id'"),
        (dict(metrics=("auc:user",)), "uauc, .* and no others, need a feature"),
        (dict(metrics=("ndcg:user",)), "need the number of places .*: 'ndcg:user'"),
        (dict(metrics=("mrr@3:user",)), "and no others, need the number of places"),
        (dict(metrics=("ndcg@0:user",)), "'ndcg@10:user_id'. Received: 'ndcg@0:user'"),
        (dict(metrics=("auc/",)), "must name its feature: 'auc/tab'"),
        (dict(metrics=("gauc:a", "gauc:b")), r"Received twice: \['gauc'\]"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Task(**{"name": "t", **arguments})


def test_tasks_that_do_not_go_together():
    with pytest.raises(ValueError, match="at least one task"):
        check_tasks([])
    with pytest.raises(ValueError, match="must be a tfmtl.Task. Received: 'click'"):
        check_tasks(["click"])
    with pytest.raises(ValueError, match=r"Received twice: \['t'\]"):
        check_tasks([Task("t"), Task("t")])
    with pytest.raises(ValueError, match="must be a binary task or a column"):
        check_tasks([Task("t", space="w"), Task("w", kind="regression")])
    chain = [
        Task("d"),
        Task("a", space="b"),
        Task("b", space="c"),
        Task("c", space="d"),
    ]
    check_tasks(chain)
    with pytest.raises(ValueError, match="lead back .* Received: a -> b -> c -> b"):
        check_tasks([*chain[1:3], Task("c", space="b")])


def test_funnel_order_where_one_task_hands_on_to_the_next():
    tasks = [Task("buy", space="click"), Task("click")]
    features = [tfmtl.Numeric("x")]
    for name in ("aitm", "dcrnn"):
        with pytest.raises(ValueError, match="'buy' before 'click', its sample space"):
            tfmtl.models.get(name)(features, tasks)
    tfmtl.models.get("esmm")(features, tasks)  # goes by the spaces
    check_funnel_order(tasks[::-1])


def test_a_prediction_and_its_logit():
    for task, prediction in (
        (Task("t"), 0.003),
        (Task("t", kind="regression"), -2.5),
        (Task("t", kind="regression", loss="log_mse"), 0.01),
        (Task("t", kind="regression", loss="log_mse"), 40.0),
        (Task("t", kind="regression", loss="weighted_logistic"), 40.0),
        (Task("t", kind="count"), 0.2),
    ):
        logit = np.float32([task.loss[0].logits_at(prediction)])
        assert float(task.activate(logit)[0, 0]) == pytest.approx(prediction, rel=1e-5)
    for task, prediction in (
        (Task("t"), 0.0),
        (Task("t"), 1.0),
        (Task("t", kind="regression", loss="log_mse"), 0.0),
        (Task("t", kind="regression"), NAN),
    ):
        with pytest.raises(ValueError, match="cannot predict"):
            task.loss[0].logits_at(prediction)
