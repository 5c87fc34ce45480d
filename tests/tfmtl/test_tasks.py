"""Labels, sample spaces and losses, with numbers worked out by hand."""

import math

import numpy as np
import pytest

from tfmtl import Task
from tfmtl.rows import labels_and_masks
from tfmtl.tasks import check_tasks

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


def test_integer_and_boolean_labels():
    rows = _rows([Task("a"), Task("b")], {"a": [1, 0], "b": [True, False]})
    assert rows == {"a": ([1, 0], [1, 1]), "b": ([1, 0], [1, 1])}


@pytest.mark.parametrize(
    ("loss", "label", "prediction", "expected"),
    [
        ("bce", 1, 0.25, math.log(4)),
        ("bce", 0, 0.25, -math.log(0.75)),
        ("mse", 3, 1, 4),
        ("huber", 3, 2.5, 0.125),
        ("huber", 3, 1, 1.5),
        ("log_mse", math.e**2 - 1, math.e - 1, 1),
        ("log_mse", -5, 0, 0),  # a negative time counts as none
    ],
)
def test_row_losses(loss, label, prediction, expected):
    kind = "binary" if loss == "bce" else "regression"
    task = Task("t", kind=kind, loss=loss)
    value = task.row_loss(np.float32([label]), np.float32([prediction]))
    np.testing.assert_allclose(value, [expected], rtol=1e-5, atol=1e-7)


def test_activations():
    z = np.float32([[-200.0], [0.0], [3.0]])
    sigmoid = Task("t").activate(z).numpy().ravel()
    np.testing.assert_allclose(sigmoid, [0, 0.5, 1 / (1 + math.exp(-3))], atol=1e-6)
    np.testing.assert_array_equal(Task("t", kind="regression").activate(z), z)
    softplus = Task("t", kind="regression", loss="log_mse").activate(z).numpy().ravel()
    np.testing.assert_allclose(softplus, [0, math.log(2), 3.0485873], rtol=1e-5)


def test_a_certain_but_wrong_prediction_has_a_finite_loss():
    task = Task("t")
    loss = task.row_loss(np.float32([0, 1]), np.float32([1, 0]))
    assert np.isfinite(loss).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(name="a b"), "must start with a letter"),
        (dict(kind="ranking"), "must be one of 'binary', 'regression'"),
        (dict(loss="mse"), "loss of binary task 't' must be one of 'bce'"),
        (dict(weight=-1), "must be a number >= 0. Received: -1"),
        (dict(weight=NAN), "must be a number >= 0"),
        (dict(space="t"), "cannot be its own sample space"),
        (dict(tower=(0,)), "must be a positive integer. Received: 0"),
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


def test_a_prediction_and_its_logit():
    for task, prediction in (
        (Task("t"), 0.003),
        (Task("t", kind="regression"), -2.5),
        (Task("t", kind="regression", loss="log_mse"), 0.01),
        (Task("t", kind="regression", loss="log_mse"), 40.0),
    ):
        logit = np.float32([[task.logit_of(prediction)]])
        assert float(task.activate(logit)[0, 0]) == pytest.approx(prediction, rel=1e-5)
    for task, prediction in (
        (Task("t"), 0.0),
        (Task("t"), 1.0),
        (Task("t", kind="regression", loss="log_mse"), 0.0),
    ):
        with pytest.raises(ValueError, match="cannot predict"):
            task.logit_of(prediction)
