"""The area under the precision-recall curve, of rare actions."""

import keras
from keras import ops

from tfmtl.metrics.auc import AUC


@keras.saving.register_keras_serializable("tfmtl")
class PRAUC(AUC):
    """Average precision, from the histograms of `AUC`.

        AP = sum_i w_i precision(s_i) / W_1  over positive rows i

    Scores in one of 4096 bins count as equal, so that it is up to a few thousandths
    below the exact one. NaN while no positive row has been seen.

    Args:
        name: String. Defaults to "pr_auc".
        domains: Integer. See `StreamingMetric`.
        dtype: String. Defaults to "float32".

    Example:
    >>> metric = PRAUC()
    >>> metric.update_state([1, 0, 1, 0], [0.8, 0.6, 0.4, 0.2])
    >>> round(float(metric.result()), 4)
    0.8333

    See Also: `tfmtl.metrics.exact.pr_auc`.
    """

    def __init__(self, name="pr_auc", domains=None, dtype="float32"):
        super().__init__(name, domains, dtype)

    def values(self):
        """Returns the average precision of each domain."""
        counts = self.by_bin()
        positive, rows = counts[:, 1], ops.sum(counts, axis=1)  # (domains, bins)
        found, at_least = (
            ops.flip(ops.cumsum(ops.flip(x, -1), axis=-1), -1) for x in (positive, rows)
        )
        precision = found / ops.maximum(at_least, 1e-9)
        total = ops.sum(positive, axis=-1)
        mean = ops.sum(positive * precision, axis=-1) / ops.maximum(total, 1e-9)
        return ops.where(total > 0, mean, float("nan"))
