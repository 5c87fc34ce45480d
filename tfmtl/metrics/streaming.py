"""What the metrics of `fit` have in common: rows in, a number out, or one a domain."""

import keras
from keras import ops

from tfmtl import _errors


class StreamingMetric(keras.metrics.Metric):
    """A metric of rows that come in batches, over all rows or apart for each domain.

    Rows of weight 0 change nothing, whatever they hold. A result without rows is NaN.

    Args:
        name: String. The key in the logs.
        domains: Integer. The number of domains; `result` is then a dict {"name=0":
            value, "name=1": ...} of the rows with that id. Defaults to one result for
            all rows.
        dtype: String. Defaults to "float32", also under mixed precision.
    """

    # Whether more is better, "max" or "min", as Keras's callbacks name it.
    mode = None

    def __init__(self, name, domains=None, dtype="float32"):
        if domains is not None:
            _errors.check_positive("domains", domains)
        super().__init__(name=name, dtype=dtype)
        self.domains = domains

    def update_state(self, y_true, y_pred, sample_weight=None, domain=None):
        """Takes in rows.

        Args:
            y_true: Tensor of shape (batch,) or (batch, 1).
            y_pred: Tensor of the same number of elements.
            sample_weight: Tensor of the same number of elements. Defaults to 1.
            domain: Integer tensor of the same number of elements, ids in [0, domains).
                Needed if, and only if, the metric is by domain.
        """
        self.add(*self.rows(y_true, y_pred, sample_weight, domain))

    def rows(self, y_true, y_pred, sample_weight=None, domain=None):
        """Returns label, prediction, weight (float32) and domain, each (batch,)."""
        if (domain is None) != (self.domains is None):
            raise ValueError(
                f"Metric {self.name!r} with domains={self.domains} must be given "
                f"`domain` if, and only if, it is by domain. Received: {domain!r}."
            )
        label, prediction = (
            ops.reshape(ops.cast(x, "float32"), (-1,)) for x in (y_true, y_pred)
        )
        weight = ops.ones_like(label)
        if sample_weight is not None:
            weight = ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
            zeros = ops.zeros_like(label)  # NaN times 0 is NaN
            label = ops.where(weight > 0, label, zeros)
            prediction = ops.where(weight > 0, prediction, zeros)
        if domain is None:
            domain = ops.zeros_like(label, dtype="int32")
        return label, prediction, weight, ops.reshape(ops.cast(domain, "int32"), (-1,))

    def add(self, label, prediction, weight, domain):
        """Takes in what `rows` returns."""
        raise NotImplementedError

    def values(self):
        """Returns the metric of each domain, (domains,) or (1,)."""
        raise NotImplementedError

    def result(self):
        """Returns the metric of all rows seen, or {"name=domain": metric}."""
        values = ops.unstack(self.values(), self.domains or 1)
        if self.domains is None:
            return values[0]
        return {f"{self.name}={i}": value for i, value in enumerate(values)}

    def get_config(self):
        """Returns every argument."""
        return {**super().get_config(), "domains": self.domains}
