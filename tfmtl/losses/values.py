"""Losses of values: watch time, price, ratings, counts."""

import dataclasses

from keras import ops

from tfmtl.losses.links import EXP, IDENTITY, SOFTPLUS
from tfmtl.losses.loss import RowLoss

_EPSILON = 1e-7


@dataclasses.dataclass(frozen=True, kw_only=True)
class MSE(RowLoss):
    """Squared error, p = z: (y - p)^2.

    Args:
        weight: Float. The weight among the losses of its task. Defaults to 1.
    """

    name = "mse"
    kinds = ("regression",)
    link = IDENTITY

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row."""
        return ops.square(prediction - label)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Huber(RowLoss):
    """Squared near, linear far, p = z: e^2 / 2 for e = |y - p| <= delta.

    Beyond, delta (e - delta / 2).

    Args:
        delta: Float > 0. Where it goes from squared to linear, in the label's unit.
            Defaults to 1.
        weight: Float. The weight among the losses of its task. Defaults to 1.
    """

    delta: float = 1.0

    name = "huber"
    kinds = ("regression",)
    link = IDENTITY

    def __post_init__(self):
        super().__post_init__()
        self.check("delta", self.is_between("delta", 0, float("inf")), "a number > 0")

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row."""
        error = ops.abs(prediction - label)
        beyond = self.delta * (error - 0.5 * self.delta)
        return ops.where(error <= self.delta, 0.5 * error * error, beyond)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogMSE(RowLoss):
    """Squared error of logarithms, p = softplus(z): (log(1 + y) - log(1 + p))^2.

    As is usual for watch time. p is nearer to the median than to the mean, which is why
    a task is calibrated by "scale" by default.

    Args:
        weight: Float. The weight among the losses of its task. Defaults to 1.
    """

    name = "log_mse"
    kinds = ("regression",)
    link = SOFTPLUS
    calibration = "scale"

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row."""
        label = ops.log1p(ops.maximum(label, 0.0))
        return ops.square(ops.log1p(ops.maximum(prediction, 0.0)) - label)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightedLogistic(RowLoss):
    """YouTube's weighted logistic regression, p = exp(z): -y log s - log(1 - s).

    s = p / (1 + p) = sigmoid(z); the odds p are the expected watch time. There
    unwatched rows alone count as negatives, so that the odds are E[y] / P(not watched);
    here every row does, so that they are E[y] however many rows are watched,
    `space="click"` included.

    Args:
        weight: Float. The weight among the losses of its task. Defaults to 1.

    References:
        - [Deep Neural Networks for YouTube Recommendations](
          https://doi.org/10.1145/2959100.2959190), section 4.2.
    """

    name = "weighted_logistic"
    kinds = ("regression",)
    link = EXP

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row."""
        label = ops.maximum(label, 0.0)
        p = ops.maximum(prediction, _EPSILON)
        return (label + 1) * ops.log1p(p) - label * ops.log(p)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantile(RowLoss):
    """Pinball loss, p = z: max(q e, (q - 1) e) for e = y - p.

    p is the value below which a share q of the labels lies, given the features: 0.5 is
    the median, 0.9 a delivery time that nine of ten keep to.

    Args:
        quantile: Float q in (0, 1). Defaults to 0.5.
        weight: Float. The weight among the losses of its task. Defaults to 1.

    Example:
    >>> import numpy as np
    >>> float(Quantile(quantile=0.75).of_rows(np.float32([3]), np.float32([1]))[0])
    1.5

    References:
        - [Regression Quantiles](https://doi.org/10.2307/1913643)
    """

    quantile: float = 0.5

    name = "quantile"
    kinds = ("regression",)
    link = IDENTITY

    def __post_init__(self):
        super().__post_init__()
        ok = self.is_between("quantile", 0, 1)
        self.check("quantile", ok, "a number between 0 and 1")

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row."""
        error = label - prediction
        return ops.maximum(self.quantile * error, (self.quantile - 1) * error)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tweedie(RowLoss):
    """For values that are mostly 0 and else have a long tail, as revenue; p = exp(z).

        -y p^(1 - r) / (1 - r) + p^(2 - r) / (2 - r)

    Its minimum is the mean whatever the distribution.

    Args:
        power: Float r in (1, 2). The variance grows as the mean to this power: near 1
            as for counts, near 2 as for gamma distributed values. Defaults to 1.5.
        weight: Float. The weight among the losses of its task. Defaults to 1.

    Example:
    >>> import numpy as np
    >>> float(Tweedie().of_rows(np.float32([4]), np.float32([4]))[0])
    8.0

    References:
        - [Insurance Premium Prediction via Gradient Tree-Boosted Tweedie Compound
          Poisson Models](https://arxiv.org/abs/1508.06378)
    """

    power: float = 1.5

    name = "tweedie"
    kinds = ("regression", "count")
    link = EXP

    def __post_init__(self):
        super().__post_init__()
        self.check("power", self.is_between("power", 1, 2), "a number between 1 and 2")

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row."""
        log_p = ops.log(ops.maximum(prediction, _EPSILON))
        to_one = ops.exp((1 - self.power) * log_p) / (1 - self.power)
        to_two = ops.exp((2 - self.power) * log_p) / (2 - self.power)
        return to_two - ops.maximum(label, 0.0) * to_one


@dataclasses.dataclass(frozen=True, kw_only=True)
class Poisson(RowLoss):
    """Half the deviance of counts, p = softplus(z): y log(y / p) - y + p.

    Its minimum is the mean whatever the distribution, so counts may spread more than
    Poisson's; softplus, as one odd row moves it less than an exponential.

    Args:
        weight: Float. The weight among the losses of its task. Defaults to 1.
    """

    name = "poisson"
    kinds = ("count",)
    link = SOFTPLUS

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row."""
        p = ops.maximum(prediction, _EPSILON)
        y = ops.maximum(label, _EPSILON)  # 0 log 0 = 0
        return label * ops.log(y / p) - label + p
