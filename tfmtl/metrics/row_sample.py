"""A bounded sample of rows, for metrics that compare rows with each other."""

import numpy as np
import tensorflow as tf
from keras import ops

from tfmtl.metrics.streaming import StreamingMetric

_CAPACITY = 1 << 16
# Fibonacci hashing: the odd number next to 2^64 / golden ratio, as a signed integer.
_SPREAD = 0x9E3779B97F4A7C15 - (1 << 64)
_OFFSET = 0x5DEECE66D5DEECE6  # so that id 0 is not the one that is always kept


class RowSample(StreamingMetric):
    """Keeps all rows of a sample of keys, so few that they fit.

    A key is kept if its hash starts with h zero bits. h is 0 until the rows do not fit;
    then it grows by one and the rows of every second key go. So a key has all its rows
    in the sample or none, however the rows are spread over batches, and which keys are
    in depends neither on labels nor, but for a key that has more rows than fit by
    itself and goes, on how many rows a key has.

    The metric is computed from the rows by NumPy when Keras asks for it at the end of
    an epoch or of `evaluate`. Inside a compiled step it is NaN; so it is in a progress
    bar until the epoch ends, and in what `train_on_batch` returns. Under
    `tf.distribute`, it is that of the first replica's rows.

    Args:
        name: String.
        domains: Integer. See `StreamingMetric`.
        capacity: Integer. The most rows kept, of 24 bytes each. Defaults to 65,536.
        dtype: String. Defaults to "float32".
    """

    def __init__(self, name, domains=None, capacity=_CAPACITY, dtype="float32"):
        super().__init__(name, domains, dtype)
        self.capacity = capacity

        def variable(name, shape, dtype):
            return self.add_variable(
                shape, "zeros", dtype, aggregation="only_first_replica", name=name
            )

        # The last place takes what is not kept.
        self.keys = variable("keys", (capacity + 1,), "int64")
        self.kept = variable("rows", (capacity + 1, 4), "float32")
        self.filled = variable("filled", (), "int32")
        self.zero_bits = variable("zero_bits", (), "int64")

    def add_keyed(self, label, prediction, weight, domain, key):
        """Takes in what `rows` returns, and the integer key of each row."""
        key = (ops.cast(key, "int64") * _SPREAD ^ _OFFSET) & np.int64(2**63 - 1)
        rows = [label, prediction, weight, ops.cast(domain, "float32")]
        counts = weight > 0

        def do_not_fit(_):
            wanted = ops.logical_and(counts, self._is_sampled(key))
            more = ops.sum(ops.cast(wanted, "int32"))
            return ops.logical_and(
                self.filled + more > self.capacity, self.zero_bits < 63
            )

        tf.while_loop(do_not_fit, self._thin_out, [0])
        wanted = ops.logical_and(counts, self._is_sampled(key))
        self._keep(self.keys, self.kept, wanted, key, ops.stack(rows, axis=-1))

    def _is_sampled(self, key):
        return ops.equal(tf.bitwise.right_shift(key, 63 - self.zero_bits), 0)

    def _keep(self, keys, kept, wanted, new_keys, new_rows):
        """Writes what is wanted of the new rows behind the old ones."""
        wanted = ops.cast(wanted, "int32")
        place = ops.convert_to_tensor(self.filled) + ops.cumsum(wanted) - 1
        # More rows than fit can only be those of a key whose hash is 0.
        place = ops.where(wanted == 1, ops.minimum(place, self.capacity), self.capacity)
        place = ops.expand_dims(place, -1)
        self.keys.assign(ops.scatter_update(keys, place, new_keys))
        self.kept.assign(ops.scatter_update(kept, place, new_rows))
        self.filled.assign(ops.minimum(self.filled + ops.sum(wanted), self.capacity))

    def _thin_out(self, step):
        self.zero_bits.assign_add(1)
        stays = ops.logical_and(
            ops.arange(self.capacity + 1) < self.filled, self._is_sampled(self.keys)
        )
        self.filled.assign(0)
        nothing = [ops.zeros_like(x) for x in (self.keys, self.kept)]
        self._keep(*nothing, stays, self.keys, self.kept)
        return [step + 1]

    def values(self):
        """Returns the metric of each domain, or NaN inside a compiled step."""
        if not tf.executing_eagerly():
            return ops.full((self.domains or 1,), float("nan"))
        filled = int(self.filled)
        rows = np.asarray(self.kept)[:filled].astype(np.float64)
        keys = np.asarray(self.keys)[:filled]
        parts = [rows[:, 3] == domain for domain in range(self.domains or 1)]
        values = [self.of_sample(*rows[part, :3].T, keys[part]) for part in parts]
        return ops.convert_to_tensor(values, "float32")

    def of_sample(self, label, prediction, weight, key):
        """Returns the metric of the rows given, NumPy arrays (rows,)."""
        raise NotImplementedError

    def get_config(self):
        """Returns every argument."""
        return {**super().get_config(), "capacity": self.capacity}
