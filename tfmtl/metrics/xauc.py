"""XAUC in `fit`."""

import keras
from keras import ops

from tfmtl.metrics.exact import xauc
from tfmtl.metrics.row_sample import RowSample


@keras.saving.register_keras_serializable("tfmtl")
class XAUC(RowSample):
    """The share of pairs of rows in the order of their labels, in bounded memory.

    Exact while the rows fit (65,536 by default); of more rows, the exact XAUC of a
    sample of them with a standard error of at most 1 / sqrt(rows in the sample), which
    are no fewer than half of what fits: below 0.006.

    Args:
        name: String. Defaults to "xauc".
        domains: Integer. See `StreamingMetric`.
        capacity: Integer. The most rows kept. Defaults to 65,536.
        dtype: String. Defaults to "float32".

    Example:
    >>> metric = XAUC()
    >>> metric.update_state([1, 5, 9], [2, 1, 3])
    >>> round(float(metric.result()), 4)
    0.6667

    See Also: `tfmtl.metrics.exact.xauc` for the definition, `RowSample`.
    """

    mode = "max"

    def __init__(self, name="xauc", domains=None, capacity=1 << 16, dtype="float32"):
        super().__init__(name, domains, capacity, dtype)
        self.seen = self.add_variable(
            (), "zeros", "int64", aggregation="only_first_replica", name="seen"
        )

    def add(self, label, prediction, weight, domain):
        """Samples by the number of the row."""
        # Of the rows that count: those outside must not change what is sampled.
        number = ops.cumsum(ops.cast(weight > 0, "int64"))
        self.add_keyed(label, prediction, weight, domain, key=self.seen + number)
        self.seen.assign_add(ops.sum(ops.cast(weight > 0, "int64")))

    def of_sample(self, label, prediction, weight, key):
        """Returns the exact XAUC."""
        return xauc(label, prediction, weight)
