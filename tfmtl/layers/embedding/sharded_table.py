"""A table of which every replica holds some rows."""

import contextlib
import functools

import keras
import numpy as np
import tensorflow as tf

from tfmtl.layers.embedding.exchange import look_up, replicas
from tfmtl.layers.embedding.initial_rows import PART

_keeps_rows = True


@contextlib.contextmanager
def only_sending():
    """In this context a worker reads no whole table, but sends its rows to the others.

    So it need not have the memory. All that is read has no rows.
    """
    global _keeps_rows
    _keeps_rows = False
    try:
        yield
    finally:
        _keeps_rows = True


class ShardedTable(keras.Variable):
    """The rows of a table, or of its slots, that the replica of this process holds.

    Row r of the whole table is row r // replicas of replica r % replicas. `shape` is
    that of one replica's part; `numpy` and `assign`, which Keras saves and loads by,
    speak of the whole, so that files do not depend on the number of replicas.

    Made in the scope of a strategy with several processes of one replica each. Each has
    a variable of its own, like one that is mirrored, but with other values.

    Args:
        parts: Function that returns an iterator of arrays (n, width), which are the
            rows of the table one after another.
        rows: Integer. Rows of the whole table.
        width: Integer. Numbers in a row.
        **kwargs: Of `keras.Variable`: `dtype`, `trainable`, `name`.
    """

    def __init__(self, parts, rows, width, **kwargs):
        self.rows = rows
        self.replicas = replicas()
        self._strategy = tf.distribute.get_strategy()
        self._parts = parts
        local = len(self._strategy.extended.worker_devices)
        if local > 1:
            raise ValueError(
                "Sharded tables are for workers with one replica each. Received: "
                f"{type(self._strategy).__name__} with {local} of them in a process. "
                "Start a process for each device, under MultiWorkerMirroredStrategy, "
                "or leave out `sharded`."
            )
        self._number = _number(self._strategy)
        part = -(-rows // self.replicas)
        super().__init__("zeros", shape=(part, width), autocast=False, **kwargs)

    def _initialize_with_initializer(self, initializer):
        super()._initialize_with_initializer(initializer)
        start = 0
        with tf.init_scope():
            for values in self._parts():
                self.write(start, values)
                start += len(values)
        self._parts = None

    def look_up(self, rows):
        """Returns {name: vectors (..., width)} by one exchange; all replicas call this.

        Args:
            rows: Dict {name: int32 tensor of rows of the whole table}.
        """
        flat = tf.concat([tf.reshape(r, (-1,)) for r in rows.values()], 0)
        found = look_up(self.value, flat, self.replicas)
        sizes = [tf.size(r) for r in rows.values()]
        vectors = {}
        for name, part in zip(rows, tf.split(found, sizes), strict=True):
            shape, width = rows[name].shape, self.shape[1]
            part = tf.reshape(part, tf.concat([tf.shape(rows[name]), [width]], 0))
            vectors[name] = tf.ensure_shape(part, (*shape, width))
        return vectors

    def own(self, rows):
        """Returns which of some rows of the whole table this replica has, as its own.

        Args:
            rows: int32 tensor (n,).
        """
        own = rows % self.replicas == self._number
        return tf.boolean_mask(rows, own) // self.replicas

    def slot(self, name, start, width=None):
        """Returns a variable with a number, or numbers, for each row.

        Args:
            name: String.
            start: Initializer of Keras, or its name.
            width: Integer. Numbers for a row. Defaults to those of the table.
        """
        width = width or self.shape[1]
        start = keras.initializers.get(start)

        def parts():
            for first in range(0, self.rows, PART):
                yield start((min(PART, self.rows - first), width), self.dtype)

        return ShardedTable(
            parts, self.rows, width, dtype=self.dtype, trainable=False, name=name
        )

    def read(self, start, stop):
        """Returns rows [start, stop) of the whole table; all replicas call this."""
        run, local = self._strategy.run, self._strategy.experimental_local_results

        @functools.partial(tf.function, autograph=False, reduce_retracing=True)
        def gather(first, size):
            return local(run(_gather, args=(self.value, first, size)))[0]

        found = np.empty(
            (stop - start if _keeps_rows else 0, self.shape[1]), self.dtype
        )
        piece = max(1, PART // self.replicas)
        for first in range(start // self.replicas, -(-stop // self.replicas), piece):
            size = min(piece, self.shape[0] - first)
            rows = gather(tf.constant(first), tf.constant(size)).numpy()
            at = first * self.replicas - start
            rows = rows[max(0, -at) : max(0, len(found) - at)]
            at = max(0, at)
            found[at : at + len(rows)] = rows
        return found

    def write(self, start, values):
        """Sets rows from `start` on of the whole table to `values` (n, width)."""
        skipped = (self._number - start) % self.replicas
        own = np.asarray(values)[skipped :: self.replicas]
        first = (start + skipped) // self.replicas
        (variable,) = self._strategy.experimental_local_results(self.value)
        for i in range(0, len(own), PART):
            part = own[i : i + PART]
            variable[first + i : first + i + len(part)].assign(part)

    def numpy(self):
        """Returns the whole table; all replicas call this."""
        return self.read(0, self.rows)

    def __array__(self, dtype=None, copy=None):
        """Returns the whole table; all replicas call this."""
        return self.numpy().astype(dtype or self.dtype, copy=False)

    def assign(self, value):
        """Sets the whole table; each replica keeps its rows."""
        shape = (self.rows, self.shape[1])
        if tuple(value.shape) != shape:
            raise ValueError(
                f"The whole table {self.path!r} has shape {shape}. Received: "
                f"{tuple(value.shape)}."
            )
        self.write(0, value)
        return value


def read_rows(variable, rows) -> np.ndarray:
    """Returns rows of a weight or of a sharded table, which all replicas then call.

    Args:
        variable: `keras.Variable` or `ShardedTable`.
        rows: Slice, or `...` for all of a weight.
    """
    if isinstance(variable, ShardedTable):
        return variable.read(rows.start, rows.stop)
    return variable.value[rows].numpy()


def write_rows(variable, rows, values) -> None:
    """Sets rows of a weight or of a sharded table, in every replica.

    Args:
        variable: `keras.Variable` or `ShardedTable`.
        rows: Slice, or `...` for all of a weight.
        values: Array of their shape.
    """
    if isinstance(variable, ShardedTable):
        variable.write(rows.start, values)
        return
    values = keras.ops.convert_to_tensor(values, variable.dtype)
    # Of several replicas each has a variable of its own.
    for own in getattr(variable.value, "values", [variable.value]):
        own[rows].assign(values)


def _number(strategy):
    """Returns which of all replicas that of this process is."""

    def number():
        context = tf.distribute.get_replica_context()
        return tf.identity(context.replica_id_in_sync_group)

    with tf.init_scope():
        found = tf.function(lambda: strategy.run(number), autograph=False)()
    return int(strategy.experimental_local_results(found)[0])


def _gather(table, first, size):
    """Returns the rows that stand at [first, first + size) of all replicas."""
    own = table[first : first + size]
    context = tf.distribute.get_replica_context()
    of_all = context.all_gather(own[:, None], axis=1)  # (size, replicas, width)
    return tf.reshape(of_all, (-1, own.shape[1]))
