"""What a loss is."""

import dataclasses
from typing import ClassVar

from keras import ops

from tfmtl import _errors
from tfmtl._declaration import Declaration
from tfmtl.losses.links import Link


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(Declaration):
    """What a task learns by, declared: `tfmtl.Task(loss=...)` takes one or several.

    Args:
        weight: Float. The weight among the losses of its task. Defaults to 1.
    """

    weight: float = 1.0

    group: ClassVar[str | None] = None  # the feature by whose ids it compares rows

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    # What a task's calibration is by default: some predict no probability, or no mean.
    calibration: ClassVar[str] = "none"
    can_be_negative: ClassVar[bool] = False
    can_be_calibrated: ClassVar[bool] = True  # False: some of its labels are fake

    def __post_init__(self):
        _errors.check_number(f"weight of the loss {self.name!r}", self.weight)

    def get_config(self) -> dict:
        """Returns the name and every argument."""
        return {"name": self.name, **super().get_config()}

    def check(self, argument: str, ok: bool, rule: str) -> None:
        """Raises a ValueError with the rule unless an argument is `ok`."""
        if not ok:
            raise ValueError(
                f"{argument} of the loss {self.name!r} must be {rule}. Received: "
                f"{getattr(self, argument)!r}."
            )

    def is_between(self, argument: str, least: float, most: float) -> bool:
        """Returns whether an argument is a number strictly between two others."""
        value = getattr(self, argument)
        return _errors.is_number(value) and least < value < most


class RowLoss(Loss):
    """A loss of each row by itself, which says what the logits predict.

    Of a task it is the mean over the rows, by their weights. `logits` is how many
    logits its tower gives; `link` takes a prediction to a score to rank by.
    """

    link: ClassVar[Link]
    logits: ClassVar[int] = 1

    def activate(self, logits):
        """Maps float32 logits (batch, logits) to predictions (batch, 1)."""
        return self.link.forward(logits)

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row.

        Args:
            label: Tensor of shape (batch,), without NaN.
            prediction: Tensor of shape (batch,).
            logits: Tensor of shape (batch, logits), if there are several.

        Returns:
            Tensor of shape (batch,).
        """
        raise NotImplementedError

    def share_kept(self, label):
        """Returns which share of the rows with its label the logs have kept, (batch,).

        What is measured or calibrated on kept rows weighs each by its inverse.
        """
        return ops.ones_like(label)

    def prediction_at(self, mean: float) -> float:
        """Returns the best constant prediction for a mean label."""
        return mean

    def logits_at(self, mean: float) -> list[float]:
        """Returns the logits of the best constant prediction for a mean label.

        Raises:
            ValueError: If the loss cannot predict it, as a probability of 0.
        """
        prediction = self.prediction_at(mean)
        if not self.link.least < prediction < self.link.most:
            raise ValueError(
                f"The loss {self.name!r} cannot predict {prediction!r}: it must lie "
                f"between {self.link.least} and {self.link.most}."
            )
        return [self.link.of_number(prediction)]

    def value(self, label, prediction, weight, groups=None, logits=None):
        """Returns the loss of a batch, a scalar; 0 if all rows weigh 0.

        Args:
            label: Tensor of shape (batch,), without NaN.
            prediction: Tensor of shape (batch,).
            weight: Tensor of shape (batch,).
            groups: Integer tensor of shape (batch,), if the loss has a group.
            logits: Tensor of shape (batch, logits), if there are several.
        """
        return weighted_mean(self.of_rows(label, prediction, logits), weight)


def weighted_mean(values, weight):
    """Returns the mean of values by weights of the same shape; 0 if all weigh 0."""
    # Selected, not multiplied: a loss outside that overflows, times 0, is NaN.
    values = ops.where(weight > 0, values, 0.0)
    return ops.sum(values * weight) / ops.maximum(ops.sum(weight), 1e-9)
