"""Losses of probabilities."""

import dataclasses
import math

from keras import ops

from tfmtl import _errors
from tfmtl.losses.links import SIGMOID
from tfmtl.losses.loss import RowLoss

_EPSILON = 1e-7


def _cross_entropy(label, p):
    p = ops.clip(p, _EPSILON, 1 - _EPSILON)
    return -(label * ops.log(p) + (1 - label) * ops.log(1 - p))


@dataclasses.dataclass(frozen=True, kw_only=True)
class BCE(RowLoss):
    """Binary cross-entropy, p = sigmoid(z): -y log p - (1 - y) log(1 - p).

    Args:
        label_smoothing: Float s in [0, 1). The label is y (1 - s) + s / 2: labels that
            are wrong now and then bend the model less. Predictions then lie nearer to
            1/2 than the rates, so that the task is calibrated by "platt" by default.
            Defaults to 0.
        negative_rate: Float r in (0, 1]. Which share of the negatives the logs have
            kept. The loss is that of p' = p / (p + r (1 - p)), the probability among
            the kept rows, so that p is the probability among all: what is served needs
            no correction. A calibration weighs kept negatives by 1 / r, and so does the
            pipeline's Evaluator; metrics in `fit` are of the kept rows, where
            "calibration" is about r. Defaults to 1.
        weight: Float. The weight among the losses of its task. Defaults to 1.

    Example:
    >>> loss = BCE(negative_rate=0.1)  # 0.2 of all rows are 0.714 of the kept ones
    >>> import numpy as np
    >>> round(float(loss.of_rows(np.float32([1]), np.float32([0.2]))[0]), 4)
    0.3365

    References:
        - [Practical Lessons from Predicting Clicks on Ads at Facebook](
          https://doi.org/10.1145/2648584.2648589), section 6.3, on `negative_rate`.
    """

    label_smoothing: float = 0.0
    negative_rate: float = 1.0

    name = "bce"
    kinds = ("binary",)
    link = SIGMOID

    def __post_init__(self):
        super().__post_init__()
        ok = self.label_smoothing == 0 or self.is_between("label_smoothing", 0, 1)
        self.check("label_smoothing", ok, "a number in [0, 1)")
        ok = self.negative_rate == 1 or self.is_between("negative_rate", 0, 1)
        self.check("negative_rate", ok, "a number in (0, 1]")

    @property
    def calibration(self) -> str:
        """The calibration that a task has by default."""
        return "platt" if self.label_smoothing else "none"

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row."""
        if self.label_smoothing:
            label = label * (1 - self.label_smoothing) + self.label_smoothing / 2
        if self.negative_rate < 1:
            kept = self.negative_rate * (1 - prediction)
            prediction = prediction / (prediction + kept)
        return _cross_entropy(label, prediction)

    def share_kept(self, label):
        """Returns which share of the rows with its label the logs have kept."""
        return self.negative_rate + (1 - self.negative_rate) * label

    def prediction_at(self, mean: float) -> float:
        """Returns the probability among all rows for a mean label of the kept ones."""
        positives = self.negative_rate * mean
        return positives / (1 - mean + positives)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Focal(RowLoss):
    """Focal loss: what is predicted well already counts less, as easy negatives.

        -a y (1 - p)^gamma log p - (1 - a) (1 - y) p^gamma log(1 - p),  p = sigmoid(z)

    Its p is no probability: too near to 1/2, and with an `alpha` moved besides. So a
    task is calibrated by "platt" by default.

    Args:
        gamma: Float >= 0. 0 is cross-entropy. Defaults to 2.
        alpha: Float a in (0, 1). The weight of positives, 1 - a that of negatives.
            Defaults to none, where both weigh 1.
        weight: Float. The weight among the losses of its task. Defaults to 1.

    Example:
    >>> import numpy as np
    >>> round(float(Focal().of_rows(np.float32([1]), np.float32([0.5]))[0]), 4)
    0.1733

    References:
        - [Focal Loss for Dense Object Detection](https://arxiv.org/abs/1708.02002),
          eq. 4 and 5.
    """

    gamma: float = 2.0
    alpha: float | None = None

    name = "focal"
    kinds = ("binary",)
    link = SIGMOID
    calibration = "platt"

    def __post_init__(self):
        super().__post_init__()
        _errors.check_number("gamma of the loss 'focal'", self.gamma)
        ok = self.alpha is None or self.is_between("alpha", 0, 1)
        self.check("alpha", ok, "a number between 0 and 1")

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row."""
        p = ops.clip(prediction, _EPSILON, 1 - _EPSILON)
        positive = ops.power(1 - p, self.gamma) * label
        negative = ops.power(p, self.gamma) * (1 - label)
        if self.alpha is not None:
            positive, negative = self.alpha * positive, (1 - self.alpha) * negative
        return -positive * ops.log(p) - negative * ops.log(1 - p)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delayed(RowLoss):
    """Cross-entropy of labels of which some positives have not come yet.

    A row is known for the time e, see `Task.elapsed`. Delays of positives are
    exponential with mean D, so of those of its kind a share F has come by then:

        F = 1 - exp(-e / D)
        -y log p - (1 - y) log(1 - F p),  p = sigmoid(z)

    A young negative says little, and an old one what it says under `bce`: the gradient
    of a negative is that of `bce` times F (1 - p) / (1 - F p). Metrics take what has
    not come for negatives; judge the model by rows that are old enough. For the same
    reason a task has no calibration.

    Deviations from the paper: one mean of delays for all rows, given and not learnt,
    so that the delays of positives have no term.

    Args:
        delay: Float D above 0, in the unit of the task's `elapsed`. The mean time from
            the row to its positive label, in rows that are old enough.
        weight: Float. The weight among the losses of its task. Defaults to 1.

    Example:
    >>> import numpy as np
    >>> loss = Delayed(delay=3600.0)
    >>> round(float(loss.share_seen(np.float32(1800.0))), 4)  # after half an hour
    0.3935

    References:
        - [Modeling Delayed Feedback in Display Advertising](
          https://doi.org/10.1145/2623330.2623634), eq. 5 to 8.
    """

    delay: float

    name = "delayed"
    can_be_calibrated = False
    kinds = ("binary",)
    link = SIGMOID

    def __post_init__(self):
        super().__post_init__()
        self.check("delay", self.is_between("delay", 0, math.inf), "a number above 0")

    def share_seen(self, elapsed):
        """Returns which share of the positives has come after a time >= 0."""
        return -ops.expm1(-elapsed / self.delay)

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row; the prediction of a negative is p F."""
        return _cross_entropy(label, prediction)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeNegativeWeighted(RowLoss):
    """Cross-entropy for logs whose positives come late.

    Rows are learnt from as they are shown, as negatives; a positive is logged again,
    with label 1, when it comes. So every positive is in the logs as a negative too, and
    a share b = p / (1 + p) of the rows is positive. Weights undo it:

        -y (1 + p) log p - (1 - y) (1 - p) (1 + p) log(1 - p),  p = sigmoid(z)

    where the weights' p are constants to the gradient. Metrics of such rows take the
    fake negatives for true ones; judge the model by rows that are old enough. For the
    same reason a task has no calibration.

    Args:
        weight: Float. The weight among the losses of its task. Defaults to 1.

    Example:
    >>> import numpy as np
    >>> loss = FakeNegativeWeighted()
    >>> round(float(loss.of_rows(np.float32([1]), np.float32([0.5]))[0]), 4)
    1.0397

    References:
        - [Addressing Delayed Feedback for Continuous Training with Neural Networks in
          CTR Prediction](https://arxiv.org/abs/1907.06558), section 3.2.
    """

    name = "fake_negative_weighted"
    can_be_calibrated = False
    kinds = ("binary",)
    link = SIGMOID

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row."""
        p = ops.clip(prediction, _EPSILON, 1 - _EPSILON)
        fixed = ops.stop_gradient(p)
        positive = label * (1 + fixed) * ops.log(p)
        return -positive - (1 - label) * (1 - fixed) * (1 + fixed) * ops.log(1 - p)

    def prediction_at(self, mean: float) -> float:
        """Returns the probability for a share of positives, fake negatives included."""
        return min(mean / (1 - mean), 1 - _EPSILON) if mean < 1 else 1 - _EPSILON
