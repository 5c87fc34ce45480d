"""The weights, of sum 1, at which a combination of gradients is shortest."""

import tensorflow as tf


def minimise_on_simplex(products, present, linear=0.0, least=0.0):
    """Returns argmin_w linear . w + sqrt(w' M w) over w >= least of sum 1.

    Pairwise Frank-Wolfe: each step moves weight from the task where the gradient is
    largest to the one where it is smallest, as much as is best along that line, which
    has a closed form. For two tasks the first step is exact. There are 64 steps, or 16
    a task, which come within a millionth of the least for up to 20 tasks, and within a
    hundredth for 30 of very different lengths.

    Args:
        products: Tensor of shape (tasks, tasks). M, inner products.
        present: Boolean tensor of shape (tasks,). Tasks that take part; the others'
            weight is 0, and if there are none, so is every one.
        linear: Tensor of shape (tasks,). Defaults to 0.
        least: Float. The least weight of a task that takes part. Defaults to 0.

    Returns:
        Tensor of shape (tasks,).

    Example:
    >>> products = tf.constant([[1.0, 0.0], [0.0, 4.0]])
    >>> minimise_on_simplex(products, tf.constant([True, True])).numpy().tolist()
    [0.800000011920929, 0.20000000298023224]
    """
    tasks = products.shape[0]
    known = tf.cast(present, "float32")
    linear = tf.broadcast_to(tf.cast(linear, "float32"), (tasks,))
    # In units of the longest gradient, for squares of squares.
    longest = tf.reduce_max(tf.linalg.diag_part(products) * known)
    longest = tf.where(longest > 0, longest, 1.0)
    products, linear = products / longest, linear / tf.sqrt(longest)

    def move(w):
        towards = tf.linalg.matvec(products, w)
        square = tf.tensordot(w, towards, 1)
        slope = linear * tf.sqrt(tf.maximum(square, 0.0)) + towards
        to = tf.one_hot(tf.argmin(tf.where(present, slope, float("inf"))), tasks)
        movable = present & (w > least)
        away = tf.one_hot(tf.argmax(tf.where(movable, slope, -float("inf"))), tasks)
        d = to - away
        most = tf.maximum(tf.reduce_sum(away * w) - least, 0.0)
        # linear . w + q t + sqrt(square + 2 b t + c t^2) is least at t = u - b / c.
        q = tf.tensordot(linear, d, 1)
        b = tf.tensordot(towards, d, 1)
        c = tf.tensordot(d, tf.linalg.matvec(products, d), 1)
        c = tf.maximum(c, 1e-20)
        apart = tf.sqrt(tf.maximum(square / c - (b / c) ** 2, 0.0))
        bends = c > q * q
        u = -q * apart / tf.sqrt(tf.where(bends, 1 - q * q / c, 1.0) * c)
        t = tf.where(bends, u - b / c, -tf.sign(q) * float("inf"))
        return tf.maximum(w + tf.clip_by_value(t, 0.0, most) * d, 0.0)

    start = known / tf.maximum(tf.reduce_sum(known), 1.0)
    (found,) = tf.while_loop(
        lambda w: True,
        lambda w: (move(w),),
        (start,),
        maximum_iterations=max(64, 16 * tasks),
    )
    return found * known
