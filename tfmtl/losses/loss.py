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

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    # What a task's calibration is by default: some predict no probability, or no mean.
    calibration: ClassVar[str] = "none"

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
    """A loss of each row by itself, which says what the logit predicts.

    Of a task it is the mean over the rows, by their weights.
    """

    link: ClassVar[Link]

    def of_rows(self, label, prediction):
        """Returns the loss of each row.

        Args:
            label: Tensor of shape (batch,), without NaN.
            prediction: Tensor of shape (batch,).

        Returns:
            Tensor of shape (batch,).
        """
        raise NotImplementedError

    def prediction_at(self, mean: float) -> float:
        """Returns the best constant prediction for a mean label."""
        return mean

    def value(self, label, prediction, weight, groups=None):
        """Returns the mean over the rows by weight, a scalar; 0 if all weigh 0."""
        # Selected, not multiplied: a loss outside that overflows, times 0, is NaN.
        loss = ops.where(weight > 0, self.of_rows(label, prediction), 0.0)
        return ops.sum(loss * weight) / ops.maximum(ops.sum(weight), 1e-9)
