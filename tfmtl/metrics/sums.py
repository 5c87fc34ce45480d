"""Metrics that are a function of sums over rows; exact, whatever the batches.

Up to float32, that is: a relative error of about 1e-5 over millions of rows.
"""

import keras
from keras import ops

from tfmtl.metrics.streaming import StreamingMetric

_EPSILON = 1e-7


class _Sums(StreamingMetric):
    """Sums `terms` of the rows, times their weights, and the weights."""

    default_name = None
    terms_of_row = 1

    def __init__(self, name=None, domains=None, dtype="float32"):
        super().__init__(name or self.default_name, domains, dtype)
        self.sums = self.add_variable(
            shape=(domains or 1, 1 + self.terms_of_row),
            initializer="zeros",
            name="sums",
        )

    def add(self, label, prediction, weight, domain):
        """Adds the rows up."""
        terms = [ops.ones_like(weight), *self.terms(label, prediction)]
        terms = ops.stack(terms, axis=-1) * ops.expand_dims(weight, -1)
        if self.domains is None:
            total = ops.sum(terms, axis=0, keepdims=True)
        else:
            total = ops.segment_sum(terms, domain, num_segments=self.domains)
        self.sums.assign_add(total)

    def values(self):
        """Returns the metric of each domain; NaN of no rows."""
        return self.from_means(
            *(self._ratio(i + 1, 0) for i in range(self.terms_of_row))
        )

    def _ratio(self, a, b):
        a, b = self.sums[:, a], self.sums[:, b]
        return ops.where(b > 0, a / ops.where(b > 0, b, 1.0), float("nan"))

    def terms(self, label, prediction):
        """Returns a tuple of tensors (batch,)."""
        raise NotImplementedError

    def from_means(self, mean):
        """Maps the mean of each term, (domains,), to the metric."""
        return mean


def _bce(label, prediction):
    p = ops.clip(prediction, _EPSILON, 1 - _EPSILON)
    return -(label * ops.log(p) + (1 - label) * ops.log1p(-p))


@keras.saving.register_keras_serializable("tfmtl")
class LogLoss(_Sums):
    """The mean of -log p(label), with p kept 1e-7 away from 0 and 1.

    Args:
        name: String. Defaults to "logloss".
        domains: Integer. See `StreamingMetric`.
        dtype: String. Defaults to "float32".

    Example:
    >>> metric = LogLoss()
    >>> metric.update_state([1, 0, 1], [0.5, 0.5, 0.1], [1, 1, 0])
    >>> round(float(metric.result()), 4)
    0.6931
    """

    mode = "min"
    default_name = "logloss"

    def terms(self, label, prediction):
        """Returns each row's loss."""
        return (_bce(label, prediction),)


@keras.saving.register_keras_serializable("tfmtl")
class NormalizedEntropy(_Sums):
    """The log-loss over that of always predicting the mean label; NaN of one class.

    NE = log-loss / -(q log q + (1 - q) log(1 - q)),  q = mean label

    Args:
        name: String. Defaults to "ne".
        domains: Integer. See `StreamingMetric`; each domain has its own q.
        dtype: String. Defaults to "float32".

    References:
        - [He et al., 2014](https://doi.org/10.1145/2648584.2648589), eq. 3.
    """

    mode = "min"
    default_name = "ne"
    terms_of_row = 2

    def terms(self, label, prediction):
        """Returns each row's label and loss."""
        return label, _bce(label, prediction)

    def from_means(self, label, loss):
        """Divides the loss by the entropy of the label."""
        both = ops.logical_and(label > 0, label < 1)
        q = ops.where(both, label, 0.5)
        background = -(q * ops.log(q) + (1 - q) * ops.log1p(-q))
        return ops.where(both, loss / background, float("nan"))


@keras.saving.register_keras_serializable("tfmtl")
class Calibration(_Sums):
    """The sum of predictions over the sum of labels; NaN where labels sum to 0.

    1 is right on average; above 1 the model predicts too much.

    Args:
        name: String. Defaults to "calibration".
        domains: Integer. See `StreamingMetric`.
        dtype: String. Defaults to "float32".

    Example:
    >>> metric = Calibration(domains=2)
    >>> metric.update_state([1, 0, 1, 0], [0.4, 0.2, 1, 1], domain=[0, 0, 1, 1])
    >>> {name: round(float(value), 4) for name, value in metric.result().items()}
    {'calibration=0': 0.6, 'calibration=1': 2.0}

    References:
        - [He et al., 2014](https://doi.org/10.1145/2648584.2648589), section 2.
    """

    default_name = "calibration"
    terms_of_row = 2

    def terms(self, label, prediction):
        """Returns each row's label and prediction."""
        return label, prediction

    def values(self):
        """Divides the sum of predictions by that of labels."""
        return self._ratio(2, 1)


@keras.saving.register_keras_serializable("tfmtl")
class MeanAbsoluteError(_Sums):
    """The mean of |prediction - label|.

    Unlike Keras's own, NaN and not 0 without rows.

    Args:
        name: String. Defaults to "mae".
        domains: Integer. See `StreamingMetric`.
        dtype: String. Defaults to "float32".
    """

    mode = "min"
    default_name = "mae"

    def terms(self, label, prediction):
        """Returns each row's error."""
        return (ops.abs(prediction - label),)


@keras.saving.register_keras_serializable("tfmtl")
class RootMeanSquaredError(_Sums):
    """The root of the mean of (prediction - label)^2.

    Args:
        name: String. Defaults to "rmse".
        domains: Integer. See `StreamingMetric`.
        dtype: String. Defaults to "float32".
    """

    mode = "min"
    default_name = "rmse"

    def terms(self, label, prediction):
        """Returns each row's squared error."""
        return (ops.square(prediction - label),)

    def from_means(self, squared):
        """Takes the root."""
        return ops.sqrt(squared)


@keras.saving.register_keras_serializable("tfmtl")
class PoissonDeviance(_Sums):
    """The mean of 2 (y log(y / p) - y + p) of counts y, p kept above 1e-7.

    Args:
        name: String. Defaults to "deviance".
        domains: Integer. See `StreamingMetric`.
        dtype: String. Defaults to "float32".
    """

    mode = "min"
    default_name = "deviance"

    def terms(self, label, prediction):
        """Returns each row's deviance."""
        p = ops.maximum(prediction, _EPSILON)
        y = ops.maximum(label, _EPSILON)  # 0 log 0 = 0
        return (2 * (label * ops.log(y / p) - label + p),)


class _OfClasses(_Sums):
    """A metric of logits (batch, classes), in the place of predictions."""

    def rows(self, y_true, y_pred, sample_weight=None, domain=None):
        """Returns label, logits, weight and domain."""
        logits = ops.cast(y_pred, "float32")
        first = logits[:, 0]
        label, _, weight, domain = super().rows(y_true, first, sample_weight, domain)
        counts = ops.expand_dims(weight > 0, -1)
        return label, ops.where(counts, logits, 0.0), weight, domain


@keras.saving.register_keras_serializable("tfmtl")
class Accuracy(_OfClasses):
    """The share of rows whose likeliest class is the label; of logits (batch, classes).

    Args:
        name: String. Defaults to "accuracy".
        domains: Integer. See `StreamingMetric`.
        dtype: String. Defaults to "float32".

    Example:
    >>> metric = Accuracy()
    >>> metric.update_state([1, 0], [[0.0, 2.0, 1.0], [0.0, 0.5, 0.0]])
    >>> float(metric.result())
    0.5
    """

    mode = "max"
    default_name = "accuracy"

    def terms(self, label, logits):
        """Returns whether each row's class is found."""
        found = ops.argmax(logits, axis=-1)
        return (ops.cast(ops.equal(ops.cast(found, "float32"), label), "float32"),)


@keras.saving.register_keras_serializable("tfmtl")
class CrossEntropy(_OfClasses):
    """The mean of -log p(label), by logits (batch, classes).

    Args:
        name: String. Defaults to "cross_entropy".
        domains: Integer. See `StreamingMetric`.
        dtype: String. Defaults to "float32".
    """

    mode = "min"
    default_name = "cross_entropy"

    def terms(self, label, logits):
        """Returns each row's loss."""
        of_class = ops.one_hot(ops.cast(label, "int32"), logits.shape[-1])
        return (-ops.sum(of_class * ops.log_softmax(logits), axis=-1),)
