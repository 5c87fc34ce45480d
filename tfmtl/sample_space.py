"""Which rows count in which task, and how much."""

import math

import tensorflow as tf
from keras import ops

from tfmtl import _errors
from tfmtl.tasks import Task


def labels_and_masks(
    tasks: list[Task], labels: dict, features: dict, soft: bool = False
) -> dict:
    """Returns each task's label, NaN filled with 0, and the mask of its sample space.

    Args:
        tasks: List of `Task`.
        labels: Dict of tensors of shape (batch,) or (batch, 1).
        features: Dict of tensors, in which the columns of spaces, row weights,
            durations and elapsed times are looked up too.
        soft: Boolean. Whether rows outside of a task's space weigh `Task.outside`, as
            in its loss. Defaults to False.

    Returns:
        {task: (label, mask)}, float32 tensors of shape (batch,). The mask is 1, or the
        row's weight, for rows inside, else 0.

    Raises:
        ValueError: If a label or another column is not there.
    """
    by_name = {task.name: task for task in tasks}

    def label_of(task):
        return _column(task.label, (labels,), f"The label of task {task.name!r},")

    def space_of(task):
        if task.space is None:
            return True
        if task.space in by_name:
            given = by_name[task.space]
            return ops.logical_and(space_of(given), ops.equal(label_of(given), 1))
        what = f"The space of task {task.name!r},"
        return ops.equal(_column(task.space, (labels, features), what), 1)

    result = {}
    for task in tasks:
        label = label_of(task)
        known = ops.logical_not(ops.isnan(label))
        if task.elapsed is not None:
            known = ops.logical_and(known, _elapsed(task, labels, features) >= 0)
        if task.duration is not None:
            known = ops.logical_and(known, _duration(task, labels, features)[1])
        outside = task.outside if soft else 0.0
        mask = ops.where(space_of(task), 1.0, outside)
        mask = ops.where(known, mask, 0.0)
        # A NaN label times weight 0 is still NaN, so it is filled first.
        label = ops.where(mask > 0, label, ops.zeros_like(label))
        if task.kind != "regression":
            most, rule = task.largest_label
            allowed = ops.logical_and(label >= 0, label <= most)
            if task.kind == "classes":  # 1.5 is none, and would be learnt as 1
                allowed = ops.logical_and(allowed, ops.equal(label, ops.floor(label)))
            _assert_all(
                allowed,
                f"A label of {task.kind} task {task.name} must be {rule}. Received:",
                label,
            )
        if task.row_weight is not None:
            what = f"The row weight of task {task.name!r},"
            weight = _column(task.row_weight, (labels, features), what)
            mask = weigh(mask, weight, task)
        result[task.name] = label, mask
    return result


def weigh(mask, weight, task: Task):
    """Returns the mask times the weight of each row; a row without a weight is outside.

    Args:
        mask: Tensor of shape (batch,), from `labels_and_masks`.
        weight: Tensor of shape (batch,); NaN means none.
        task: The task, for the message if a weight is negative or infinite.
    """
    counts = ops.logical_and(mask > 0, ops.logical_not(ops.isnan(weight)))
    weight = ops.where(counts, weight, ops.zeros_like(weight))
    allowed = ops.logical_and(weight >= 0, weight < math.inf)
    _assert_all(
        allowed,
        f"A row's weight in task {task.name} must be a number >= 0. Received:",
        weight,
    )
    # In a step that XLA compiles, which cannot refuse it, such a row is outside.
    return mask * ops.where(allowed, weight, ops.zeros_like(weight))


def completion(task: Task, seconds, labels: dict, features: dict):
    """Returns seconds over the row's duration; 0 where there is none.

    Args:
        task: A task with a duration.
        seconds: Tensor of shape (batch,).
        labels: Dict of tensors.
        features: Dict of tensors.
    """
    duration, known = _duration(task, labels, features)
    return ops.where(known, seconds, 0.0) / ops.where(known, duration, 1.0)


def seen(task: Task, label, prediction, labels: dict, features: dict):
    """Returns what has been seen by now: p of a positive, p F(elapsed) of others.

    Args:
        task: A task with an elapsed time.
        label: Tensor of shape (batch,).
        prediction: Tensor of shape (batch,).
        labels: Dict of tensors.
        features: Dict of tensors.
    """
    elapsed = _elapsed(task, labels, features)
    share = task.loss[0].share_seen(ops.where(elapsed >= 0, elapsed, 0.0))
    return ops.where(label > 0, prediction, prediction * share)


def _elapsed(task, labels, features):
    what = f"The elapsed time of task {task.name!r},"
    return _column(task.elapsed, (labels, features), what)


def _duration(task, labels, features):
    """Returns each row's duration, and whether it is one: finite and above 0."""
    what = f"The duration of task {task.name!r},"
    duration = _column(task.duration, (labels, features), what)
    return duration, ops.logical_and(duration > 0, duration < math.inf)


def _column(name, places, what):
    for place in places:
        if name in place:
            return ops.reshape(ops.cast(place[name], "float32"), (-1,))
    known = [key for place in places for key in place]
    raise ValueError(f"{what} {name!r} is missing.{_errors.nearest(name, known)}")


def _assert_all(condition, message, values):
    # TensorFlow's own, as Keras has none; XLA leaves it out.
    tf.debugging.Assert(ops.all(condition), [message, values])
