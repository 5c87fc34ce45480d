"""Messages between replicas: which rows each one wants, and the rows it is given."""

import tensorflow as tf

_GROUP = 7_400_000  # names the replicas to TensorFlow; far from what itself counts
# A message is padded to one of these sizes: four between a power of two and the next.
_SIZES = sorted(
    {-(-(2**power) * part // 4) for power in range(30) for part in range(4, 8)}
)


def replicas() -> int:
    """Returns how many replicas share what is sharded, under the strategy in scope."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def look_up(table, rows, count):
    """Returns the rows of a table of which each replica has a part.

    Row r is row r // count of replica r % count. Each replica asks the others for the
    different rows that it needs, and is sent their values; the gradients go back the
    same way, so that each has those of its own rows from all of them.

    Args:
        table: Variable (rows of this replica, width).
        rows: int32 tensor (n,) of rows of the whole table.
        count: Integer. The number of replicas. All of them call this.

    Returns:
        Tensor (n, width).
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync != count:
        return _refused(table, rows)
    return exchange(table, rows, count, _all_to_all)


def of_all_replicas(values):
    """Returns the tensors (n, ...) of all replicas, one behind the other.

    Outside of a replica's step, as when a model is made, what is given.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    # Of a dataset's own tensor the strategy does not know on which device it is.
    return context.all_gather(tf.identity(values), axis=0)


def _refused(table, rows):
    """Raises, or lets a graph raise when it runs: a model is traced when it is made."""
    message = (
        "Sharded tables are looked up by all replicas at once: in fit, evaluate and "
        "predict, or a function given to strategy.run. Elsewhere, load the saved model "
        "outside of the strategy's scope, where its tables are whole."
    )
    if tf.executing_eagerly():
        raise ValueError(message)
    with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
        return tf.zeros((tf.size(rows), table.shape[1]), table.dtype)


def exchange(table, rows, count, all_to_all):
    """Returns what `look_up` does, by way of a function for messages.

    Args:
        table: Variable (rows of this replica, width).
        rows: int32 tensor (n,) of rows of the whole table.
        count: Integer. The number of replicas.
        all_to_all: Function of a tensor (count, size, ...), the same size on all
            replicas, that sends x[i] to replica i and returns what all have sent.
    """
    places, wanted = requests(rows, count, all_to_all)
    size = tf.shape(wanted)[1]
    wanted = tf.reshape(all_to_all(wanted), (-1,))
    asked = tf.where(wanted >= 0)[:, 0]
    values = tf.gather(table, tf.gather(wanted, asked))  # (m, width)
    flat, message = (count * size, table.shape[1]), (count, size, table.shape[1])

    @tf.custom_gradient
    def answer(values):
        sent = tf.scatter_nd(asked[:, None], values, tf.cast(flat, tf.int64))
        found = tf.reshape(all_to_all(tf.reshape(sent, message)), flat)

        def backward(gradient):
            sums = tf.math.unsorted_segment_sum(gradient, places, count * size)
            back = all_to_all(tf.reshape(sums, message))
            return tf.gather(tf.reshape(back, flat), asked)

        return tf.gather(found, places), backward

    return answer(values)


def requests(rows, count, all_to_all):
    """Returns what a replica asks for, and where it finds the answers.

    Args: see `exchange`.

    Returns:
        Tensors places (n,), of each of the rows in the answers (count * size, width),
        and wanted (count, size), the rows of each replica, -1 where there is none.
    """
    rows, which = tf.unique(rows)
    owners = rows % count
    # In the order of their owners.
    order = tf.concat(tf.dynamic_partition(tf.range(tf.size(rows)), owners, count), 0)
    numbers = tf.math.bincount(owners, minlength=count, maxlength=count)
    most = all_to_all(tf.repeat(tf.reduce_max(numbers)[None, None], count, 0))
    size = _padded(tf.reduce_max(most))
    owners = tf.gather(owners, order)
    starts = tf.gather(tf.cumsum(numbers, exclusive=True), owners)
    places = (owners * size + tf.range(tf.size(rows)) - starts)[:, None]
    wanted = tf.tensor_scatter_nd_update(
        tf.fill((count * size,), -1), places, tf.gather(rows, order) // count
    )
    places = tf.scatter_nd(order[:, None], places[:, 0], tf.shape(rows))
    return tf.gather(places, which), tf.reshape(wanted, (count, size))


def _padded(size):
    """Returns the least of `_SIZES` that is enough."""
    return tf.gather(_SIZES, tf.searchsorted(_SIZES, [size])[0])


def _all_to_all(x):
    """Sends x[i] to replica i; returns what they sent, in their order.

    TensorFlow wants all messages with one key to have one shape, for as long as a
    process lives. So the key is made of the shape. It can serve several messages, as
    each waits for the one before it.
    """
    width = x.shape[2] if x.shape.rank == 3 else 0
    kind = (width * 64 + x.dtype.as_datatype_enum) * 128
    return tf.raw_ops.CollectiveAllToAllV2(
        input=x,
        group_size=x.shape[0],
        group_key=_GROUP + x.shape[0],
        instance_key=kind + tf.searchsorted(_SIZES, [tf.shape(x)[1]])[0],
        ordering_token=[],
    )
