"""Softmax over several classes."""

import dataclasses
import math

from keras import ops

from tfmtl.losses.links import IDENTITY
from tfmtl.losses.loss import RowLoss

_MOST = 1000
_STEEPEST = 50.0  # ratio of neighbouring classes' logarithms


@dataclasses.dataclass(frozen=True, kw_only=True)
class Softmax(RowLoss):
    """Cross-entropy over classes 0 to K - 1, of one logit each: -log p_y.

        p_k = exp(z_k) / sum_j exp(z_j)

    The prediction is the mean class, sum_k k p_k, which means something where classes
    are levels; beside it the model gives each class's probability.

    Args:
        classes: Integer K in [2, 1000]. Defaults to 2.
        label_smoothing: Float s in [0, 1). The label's class has the share
            1 - s + s / K and the others s / K each. Defaults to 0.
        weight: Float. The weight among the losses of its task. Defaults to 1.

    Example:
    >>> import numpy as np
    >>> z = np.float32([[0, 0, np.log(2)]])  # p is 1/4, 1/4, 1/2
    >>> float(Softmax(classes=3).activate(z)[0, 0])
    1.25
    >>> round(float(Softmax(classes=3).of_rows(np.float32([2]), None, z)[0]), 4)
    0.6931
    """

    classes: int = 2
    label_smoothing: float = 0.0

    name = "softmax"
    kinds = ("classes",)
    link = IDENTITY

    def __post_init__(self):
        super().__post_init__()
        ok = isinstance(self.classes, int) and 2 <= self.classes <= _MOST
        self.check("classes", ok, f"an integer from 2 to {_MOST}")
        ok = self.label_smoothing == 0 or self.is_between("label_smoothing", 0, 1)
        self.check("label_smoothing", ok, "a number in [0, 1)")

    @property
    def logits(self) -> int:
        """One for each class."""
        return self.classes

    def activate(self, logits):
        """Maps logits (batch, classes) to mean classes (batch, 1)."""
        numbers = ops.arange(self.classes, dtype="float32")
        return ops.sum(ops.softmax(logits) * numbers, axis=-1, keepdims=True)

    def logits_at(self, mean: float) -> list[float]:
        """Returns the logits of the most even probabilities with this mean class.

        They fall or rise by the same step from each class to the next.
        """
        if not 0 < mean < self.classes - 1:
            raise ValueError(
                f"The loss 'softmax' cannot predict {mean!r}: it must lie between the "
                f"classes 0 and {self.classes - 1}."
            )
        low, high = -_STEEPEST, _STEEPEST
        for _ in range(60):
            step = (low + high) / 2
            odds = [
                math.exp(min(step, 0) * k + max(step, 0) * (k + 1 - self.classes))
                for k in range(self.classes)
            ]
            found = sum(k * odd for k, odd in enumerate(odds)) / sum(odds)
            low, high = (step, high) if found < mean else (low, step)
        return [step * k for k in range(self.classes)]

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row."""
        of_class = ops.one_hot(ops.cast(label, "int32"), self.classes)
        share = of_class * (1 - self.label_smoothing)
        share = share + self.label_smoothing / self.classes
        return ops.sum(-share * ops.log_softmax(logits), axis=-1)
