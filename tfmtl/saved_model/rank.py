"""Ranking in the graph: one user's features for all candidates, one score of all tasks.

See `tfmtl.export`, whose signature `rank` is made of these.
"""

import math
from collections.abc import Mapping, Sequence

import tensorflow as tf

from tfmtl import _errors
from tfmtl.tasks import Task

_FORMS = ("product", "sum")


def check_score(
    tasks: Sequence[Task], weights: Mapping[str, float] | None, form: str
) -> None:
    """Raises a ValueError unless a score can be fused from these tasks."""
    _errors.check_choice("fused_form", form, _FORMS)
    if weights is None:
        return
    names = [name for task in tasks for name in task.outputs]
    if "score" in names:
        raise ValueError(
            "A fused score is the output 'score' of the signature 'rank'. Received: a "
            "task of that name; give the task another."
        )
    check_weights(weights, names)


def check_weights(weights: Mapping[str, float], tasks: Sequence[str]) -> None:
    """Raises a ValueError unless there are weights, finite and of these tasks."""
    if not weights:
        raise ValueError("A fused score needs a task's weight. Received none.")
    for name, weight in weights.items():
        _errors.check_choice("A task in fused_score", name, tasks)
        if not math.isfinite(weight):
            raise ValueError(f"A weight must be finite. Received: {name}={weight!r}.")


def fuse(
    predictions: Mapping[str, tf.Tensor], weights: Mapping[str, float], form: str
) -> tf.Tensor:
    """Returns one score a row: prod_k p_k^w_k or sum_k w_k p_k, PLE's eq. 1.

    Args:
        predictions: {task: float32 (N, 1)}.
        weights: {task: w_k}; the other tasks do not count.
        form: "product" or "sum".

    Returns:
        float32 (N, 1).

    Example:
    >>> p = {"click": tf.constant([[0.25]]), "like": tf.constant([[0.5]])}
    >>> float(fuse(p, {"click": 0.5, "like": 2.0}, "product")[0, 0])
    0.125
    >>> float(fuse(p, {"click": 0.5, "like": 2.0}, "sum")[0, 0])
    1.125
    """
    if form == "sum":
        return tf.add_n([w * predictions[name] for name, w in weights.items()])
    # A regression may predict a little less than 0, which has no power.
    powers = [
        tf.pow(tf.maximum(predictions[name], 0.0), w) for name, w in weights.items()
    ]
    return tf.reduce_prod(tf.concat(powers, axis=1), axis=1, keepdims=True)


def tile(
    inputs: Mapping[str, tf.Tensor], once: Sequence[str] | None = None
) -> dict[str, tf.Tensor]:
    """Repeats what is given once, (1, ...), for each of the N candidates, (N, ...).

    Args:
        inputs: {feature: (1, ...) or (N, ...)}.
        once: The features that may be given once. Defaults to all.

    Returns:
        {feature: (N, ...)}. The graph fails on any other number of values.
    """
    # Few ops for all features: there may be hundreds, and a server prepares each op.
    groups: dict[tuple, list[str]] = {}  # of one type and shape
    for name, tensor in inputs.items():
        groups.setdefault((tensor.dtype, *tensor.shape[1:]), []).append(name)
    names = [name for group in groups.values() for name in group]
    shapes = [tf.shape_n([inputs[n] for n in group]) for group in groups.values()]
    by_group = [tf.stack(group)[:, 0] for group in shapes]
    sizes = tf.concat(by_group, axis=0)
    others = tf.boolean_mask(sizes, tf.not_equal(sizes, 1))
    rows = tf.cond(tf.size(others) > 0, lambda: tf.reduce_max(others), lambda: 1)
    may_be_once = [once is None or name in once for name in names]
    wrong = (sizes != rows) & ((sizes != 1) | tf.logical_not(may_be_once))
    rules = [
        f"{name} must have one value a candidate" + ", or one for all" * may
        for name, may in zip(names, may_be_once, strict=True)
    ]
    broken = tf.strings.reduce_join(tf.boolean_mask(rules, wrong), separator="; ")
    message = tf.strings.join(["rank: ", broken, ". Received values and candidates:"])
    check = tf.debugging.Assert(
        tf.logical_not(tf.reduce_any(wrong)),
        [message, tf.boolean_mask(sizes, wrong), rows],
    )
    with tf.control_dependencies([check]):
        rows = tf.identity(rows)
    tiled = {}
    for group, given in zip(groups.values(), by_group, strict=True):
        parts = _tile([inputs[name] for name in group], given, rows)
        tiled |= zip(group, parts, strict=True)
    return {name: tiled[name] for name in inputs}


def _tile(tensors: list[tf.Tensor], sizes: tf.Tensor, rows: tf.Tensor) -> list:
    """Repeats tensors (1, ...) or (N, ...) of one type and shape to (N, ...)."""
    starts = tf.cumsum(sizes, exclusive=True)[:, tf.newaxis]
    step = tf.range(rows)[tf.newaxis]
    places = starts + tf.where(sizes[:, tf.newaxis] == 1, 0, step)  # (F, N)
    return tf.unstack(tf.gather(tf.concat(tensors, 0), places), num=len(tensors))
