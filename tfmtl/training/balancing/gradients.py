"""Gradients as matrices of tasks by numbers, those of tables by their rows alone."""

import tensorflow as tf


def stack(gradients):
    """Returns a variable's gradients as a matrix, and the ids of its rows.

    Args:
        gradients: List [tasks] of tensors, `tf.IndexedSlices` or None.

    Returns:
        Tensor of shape (tasks, numbers); ids (ids,) if all gradients are
        `tf.IndexedSlices`, whose values are then summed over equal ids, else None.

    Example:
    >>> a = tf.IndexedSlices(tf.constant([[1.0], [2.0]]), tf.constant([5, 5]))
    >>> b = tf.IndexedSlices(tf.constant([[3.0], [4.0]]), tf.constant([7, 5]))
    >>> matrix, ids = stack([a, b, None])
    >>> matrix.numpy().tolist(), ids.numpy().tolist()
    ([[3.0, 0.0], [4.0, 3.0], [0.0, 0.0]], [5, 7])
    """
    known = [g for g in gradients if g is not None]
    ids = None
    if all(isinstance(g, tf.IndexedSlices) for g in known):
        ids, places = tf.unique(tf.concat([g.indices for g in known], axis=0))
        places = tf.split(places, [tf.size(g.indices) for g in known])
        known = [
            tf.math.unsorted_segment_sum(g.values, place, tf.size(ids))
            for g, place in zip(known, places, strict=True)
        ]
    known = iter([tf.reshape(tf.convert_to_tensor(g), (-1,)) for g in known])
    rows = [None if g is None else next(known) for g in gradients]
    zero = tf.zeros_like(next(row for row in rows if row is not None))
    return tf.stack([zero if row is None else row for row in rows]), ids


def unstack(stacked, weights, gradients):
    """Returns the weighted sum of gradients that `stack` has made a matrix of."""
    matrix, ids = stacked
    total = tf.linalg.matvec(matrix, weights, transpose_a=True)
    like = next(g for g in gradients if g is not None)
    if ids is None:
        return tf.reshape(total, tf.shape(like))
    values = tf.reshape(total, tf.concat([[-1], tf.shape(like.values)[1:]], axis=0))
    return tf.IndexedSlices(values, ids, like.dense_shape)


def multiply(gradient, factor):
    """Returns a gradient times a number; `tf.IndexedSlices` stay so."""
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(
            gradient.values * factor, gradient.indices, gradient.dense_shape
        )
    return gradient * factor


def add(a, b):
    """Returns the sum of two gradients, each a tensor, `tf.IndexedSlices` or None."""
    if a is None or b is None:
        return b if a is None else a
    sparse = [isinstance(g, tf.IndexedSlices) for g in (a, b)]
    if all(sparse):
        return tf.IndexedSlices(
            tf.concat([a.values, b.values], axis=0),
            tf.concat([a.indices, b.indices], axis=0),
            a.dense_shape,
        )
    if any(sparse):
        rows, dense = (a, b) if sparse[0] else (b, a)
        return tf.tensor_scatter_nd_add(dense, rows.indices[:, None], rows.values)
    return a + b
