"""The area under the ROC curve, fit for rare actions."""

import keras
from keras import ops

from tfmtl.metrics.streaming import StreamingMetric

_BINS = 4096
_LIMIT = 16.0


@keras.saving.register_keras_serializable("tfmtl")
class AUC(StreamingMetric):
    """Area under the ROC curve, from histograms over the logit of the score.

    AUC = P(score of a positive > score of a negative) + P(equal) / 2

    Scores are counted in 4096 bins of equal width over logits between -16 and 16, and
    scores in one bin count as equal: the error is at most half the share of pairs that
    lie in one bin, in practice below 1e-3. Equal widths over probabilities, as in
    `keras.metrics.AUC`, would put all scores of a rare action into one bin.

    The result is NaN, not 0, while one of the classes has not been seen.

    Args:
        name: String. Defaults to "auc".
        domains: Integer. The number of domains, if the AUC of each is wanted; see
            `StreamingMetric`. Defaults to one AUC.
        dtype: String. Defaults to "float32".

    Example:
    >>> metric = AUC()
    >>> metric.update_state([0, 0, 1, 1], [0.001, 0.003, 0.002, 0.004])
    >>> float(metric.result())
    0.75

    See Also: `tfmtl.metrics.exact.auc`.
    """

    mode = "max"

    def __init__(self, name="auc", domains=None, dtype="float32"):
        super().__init__(name, domains, dtype)
        self.counts = self.add_variable(
            shape=((domains or 1) * 2 * _BINS,), initializer="zeros", name="counts"
        )

    def add(self, label, prediction, weight, domain):
        """Counts scores."""
        p = ops.clip(prediction, 1e-7, 1 - 1e-7)
        place = (ops.log(p) - ops.log1p(-p) + _LIMIT) / (2 * _LIMIT)
        bins = ops.cast(ops.clip(place, 0, 1) * (_BINS - 1), "int32")
        bins = bins + _BINS * (ops.cast(label > 0.5, "int32") + 2 * domain)
        self.counts.assign_add(
            ops.segment_sum(weight, bins, num_segments=self.counts.shape[0])
        )

    def by_bin(self):
        """Returns the weights of negatives and positives, (domains, 2, bins)."""
        return ops.reshape(self.counts, (-1, 2, _BINS))

    def values(self):
        """Returns the AUC of each domain."""
        counts = self.by_bin()
        negative, positive = counts[:, 0], counts[:, 1]  # (domains, bins)
        below = ops.cumsum(negative, axis=-1) - 0.5 * negative
        pairs = ops.sum(negative, axis=-1) * ops.sum(positive, axis=-1)
        won = ops.sum(positive * below, axis=-1)
        return ops.where(pairs > 0, won / ops.maximum(pairs, 1e-9), float("nan"))
