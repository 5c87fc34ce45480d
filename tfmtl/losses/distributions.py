"""Losses whose logits are a whole distribution, of which the mean is predicted."""

import dataclasses
import math

from keras import ops

from tfmtl.losses.links import EXP, IDENTITY
from tfmtl.losses.loss import RowLoss

_LEAST_SIGMA = 1e-3
_LARGEST_LOG = 60.0  # whose exponential, squared, is still a float32


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZILN(RowLoss):
    """Zero-inflated log-normal: for revenue, which mostly is 0 and else spreads widely.

        -log(1 - p)                                            if y = 0
        -log p + log(y s sqrt(2 pi)) + (log y - m)^2 / (2 s^2)  else

    of three logits, p = sigmoid(z_1), m = z_2, s = softplus(z_3). The prediction is the
    mean, p exp(m + s^2 / 2). A label below 0 counts as 0.

    Args:
        weight: Float. The weight among the losses of its task. Defaults to 1.

    References:
        - [A Deep Probabilistic Model for Customer Lifetime Value Prediction](
          https://arxiv.org/abs/1912.07753), eq. 2 to 5.
    """

    name = "ziln"
    kinds = ("regression",)
    link = EXP
    logits = 3
    can_be_negative = True

    def activate(self, logits):
        """Maps logits (batch, 3) to means (batch, 1)."""
        sigma = _sigma(logits[:, 2:])
        log_mean = logits[:, 1:2] + ops.square(sigma) / 2
        return ops.sigmoid(logits[:, :1]) * ops.exp(ops.minimum(log_mean, _LARGEST_LOG))

    def logits_at(self, mean: float) -> list[float]:
        """Returns logits of p = 1/2 and s = 1 whose mean is the given."""
        (log_mean,) = super().logits_at(mean)
        return [0.0, log_mean + math.log(2) - 0.5, math.log(math.e - 1)]

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row."""
        paid = label > 0
        log_y = ops.log(ops.where(paid, label, 1.0))
        sigma = _sigma(logits[:, 2])
        error = (log_y - logits[:, 1]) / sigma
        spread = log_y + ops.log(sigma) + 0.5 * math.log(2 * math.pi)
        log_p = -ops.softplus(-logits[:, 0])
        log_rest = -ops.softplus(logits[:, 0])
        return ops.where(paid, spread + ops.square(error) / 2 - log_p, -log_rest)


def _sigma(z):
    return ops.maximum(ops.softplus(z), _LEAST_SIGMA)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ordinal(RowLoss):
    """For ratings, whose levels have an order but no distances: one logit a step.

        sum_k BCE(1[y >= k], sigmoid(z_k)),  k from lowest + 1 to highest

    The prediction is the mean level, lowest + sum_k sigmoid(z_k). A label between two
    levels counts as the lower one.

    Args:
        highest: Integer. The highest level. Defaults to 5.
        lowest: Integer. The lowest level. Defaults to 1.
        weight: Float. The weight among the losses of its task. Defaults to 1.

    References:
        - [A Neural Network Approach to Ordinal Regression](
          https://arxiv.org/abs/0704.1028)
    """

    highest: int = 5
    lowest: int = 1

    name = "ordinal"
    kinds = ("regression", "count")
    link = IDENTITY

    def __post_init__(self):
        super().__post_init__()
        ok = isinstance(self.lowest, int) and isinstance(self.highest, int)
        ok = ok and 1 <= self.highest - self.lowest <= 100
        self.check("highest", ok, "an integer, 1 to 100 above the integer `lowest`")

    @property
    def logits(self) -> int:
        """One for each level above the lowest."""
        return self.highest - self.lowest

    def activate(self, logits):
        """Maps logits (batch, logits) to mean levels (batch, 1)."""
        return self.lowest + ops.sum(ops.sigmoid(logits), axis=-1, keepdims=True)

    def logits_at(self, mean: float) -> list[float]:
        """Returns equal logits whose mean level is the given."""
        share = (mean - self.lowest) / self.logits
        if not 0 < share < 1:
            raise ValueError(
                f"The loss 'ordinal' cannot predict {mean!r}: it must lie between the "
                f"levels {self.lowest} and {self.highest}."
            )
        return [math.log(share) - math.log1p(-share)] * self.logits

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row."""
        levels = ops.arange(self.lowest + 1, self.highest + 1, dtype="float32")
        reached = ops.cast(ops.expand_dims(label, -1) >= levels, "float32")
        return ops.sum(ops.softplus(logits) - reached * logits, axis=-1)
