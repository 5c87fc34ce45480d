"""The area under the ROC curve, fit for rare actions."""

import keras
from keras import ops

_BINS = 4096
_LIMIT = 16.0


@keras.saving.register_keras_serializable("tfmtl")
class AUC(keras.metrics.Metric):
    """Area under the ROC curve, from histograms over the logit of the score.

    AUC = P(score of a positive > score of a negative) + P(equal) / 2

    Scores are counted in 4096 bins of equal width over logits between -16 and 16, and
    scores in one bin count as equal. Equal widths over probabilities, as in
    `keras.metrics.AUC`, would put all scores of a rare action into one bin.

    The result is NaN, not 0, while one of the classes has not been seen.

    Args:
        name: String. Defaults to "auc".

    Example:
    >>> metric = AUC()
    >>> metric.update_state([0, 0, 1, 1], [0.001, 0.003, 0.002, 0.004])
    >>> float(metric.result())
    0.75
    """

    def __init__(self, name="auc", dtype="float32"):
        super().__init__(name=name, dtype=dtype)
        self.counts = self.add_variable(
            shape=(2 * _BINS,), initializer="zeros", name="counts"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts scores.

        Args:
            y_true: Tensor of shape (batch,) or (batch, 1), labels 0 or 1.
            y_pred: Tensor of the same number of elements, probabilities.
            sample_weight: Tensor of the same number of elements; rows of weight 0 do
                not count. Defaults to 1.
        """
        label = ops.reshape(ops.cast(y_true, "float32"), (-1,))
        p = ops.clip(ops.reshape(ops.cast(y_pred, "float32"), (-1,)), 1e-7, 1 - 1e-7)
        place = (ops.log(p) - ops.log1p(-p) + _LIMIT) / (2 * _LIMIT)
        bins = ops.cast(ops.clip(place, 0, 1) * (_BINS - 1), "int32")
        bins = bins + _BINS * ops.cast(label > 0.5, "int32")
        weight = ops.ones_like(label)
        if sample_weight is not None:
            weight = ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        self.counts.assign_add(ops.segment_sum(weight, bins, num_segments=2 * _BINS))

    def result(self):
        """Returns the AUC of all scores seen, or NaN."""
        negative, positive = ops.split(self.counts, 2)
        below = ops.cumsum(negative) - 0.5 * negative
        pairs = ops.sum(negative) * ops.sum(positive)
        won = ops.sum(positive * below)
        return ops.where(pairs > 0, won / ops.maximum(pairs, 1e-9), float("nan"))

    def get_config(self):
        """Returns every argument."""
        return {"name": self.name, "dtype": self.dtype}
