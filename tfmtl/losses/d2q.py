"""Watch time by its quantile among videos of about one length."""

import dataclasses

import numpy as np
from keras import ops

from tfmtl import _errors
from tfmtl.losses.links import IDENTITY
from tfmtl.losses.loss import RowLoss


@dataclasses.dataclass(frozen=True, kw_only=True)
class D2Q(RowLoss):
    """Duration-deconfounded quantiles: (Phi_g(y) - q)^2, q = sigmoid(z).

    Phi_g is the distribution of watch times among the training rows of group g, videos
    of about one length. So a model learns how long a video is watched for its length,
    and not that long ones are watched longer. The prediction is Phi_g^-1(q), in
    seconds.

    Between two levels, Phi_g and its inverse are linear; of several levels of one
    value, such as those of 0 seconds, the label is the middle.

    Deviations from the paper: one network for all groups, which reads the group as a
    feature (its Res-D2Q adds the duration to the last layer).

    Args:
        group: String. The categorical feature of the group; a row without a duration is
            of group 0.
        levels: Array of shape (ids of the group, n + 1), each row the quantiles of
            0, 1/n, ..., 1 of the watch times of a group, see `quantile_levels`.
        weight: Float. The weight among the losses of its task. Defaults to 1.

    Example:
    >>> loss = D2Q(group="length", levels=[[0, 60], [0, 10], [0, 100]])
    >>> float(loss.quantile(np.float32([5.0]), np.array([1]))[0])
    0.5
    >>> float(loss.label_at(np.float32([0.5]), np.array([2]))[0])
    50.0

    References:
        - [Deconfounding Duration Bias in Watch-time Prediction for Video
          Recommendation](https://arxiv.org/abs/2206.06003), section 3.3.
    """

    group: str
    levels: tuple[tuple[float, ...], ...]

    name = "d2q"
    kinds = ("regression",)
    link = IDENTITY

    def __post_init__(self):
        super().__post_init__()
        self.check("group", isinstance(self.group, str), "the name of a feature")
        levels = np.asarray(self.levels, np.float64)
        if levels.ndim != 2 or levels.shape[1] < 2 or (np.diff(levels) < 0).any():
            raise ValueError(
                "levels of the loss 'd2q' must be rows of two or more rising numbers, "
                f"one a group. Received: an array of shape {levels.shape}."
            )
        object.__setattr__(self, "levels", tuple(map(tuple, levels.tolist())))

    def activate(self, logits):
        """Maps logits (batch, 1) to quantiles (batch, 1)."""
        return ops.sigmoid(logits)

    def logits_at(self, mean: float) -> list[float]:
        """Returns the logit of the median, whatever the mean."""
        return [0.0]

    def quantile(self, label, groups):
        """Returns Phi_g(label), (batch,), of labels and groups (batch,)."""
        levels = self._levels(groups)  # (B, n + 1)
        label = ops.expand_dims(label, -1)
        below = ops.sum(ops.cast(levels < label, "int32"), axis=-1)
        last = ops.sum(ops.cast(levels <= label, "int32"), axis=-1) - 1
        # The levels from `below` to `last` are the label; if none is, it lies between
        # `last` and `below`, the one behind it.
        most = levels.shape[1] - 1
        low, high = (ops.clip(i, 0, most) for i in (last, below))
        left, right = (_at(levels, i) for i in (low, high))
        width = ops.where(right > left, right - left, 1.0)
        share = ops.clip((label[:, 0] - left) / width, 0.0, 1.0)
        between = ops.cast(low, "float32") + share * ops.cast(high - low, "float32")
        middle = ops.cast(below + last, "float32") / 2
        return ops.where(below <= last, middle, between) / most

    def label_at(self, quantile, groups):
        """Returns Phi_g^-1(quantile), (batch,)."""
        levels = self._levels(groups)
        most = levels.shape[1] - 1
        place = ops.clip(quantile, 0.0, 1.0) * most
        low = ops.clip(ops.cast(place, "int32"), 0, most - 1)
        left, right = _at(levels, low), _at(levels, low + 1)
        return left + (place - ops.cast(low, "float32")) * (right - left)

    def value(self, label, prediction, weight, groups=None, logits=None):
        """Returns the loss of a batch; `logits` are the quantiles, (batch, 1)."""
        return super().value(self.quantile(label, groups), logits[:, 0], weight)

    def of_rows(self, label, prediction, logits=None):
        """Returns the loss of each row, of quantiles."""
        return ops.square(label - prediction)

    def _levels(self, groups):
        table = ops.convert_to_tensor(np.float32(self.levels))
        # An id that is not in the table, as of a batch of zeros, is group 0.
        known = ops.logical_and(groups >= 0, groups < len(self.levels))
        return ops.take(table, ops.where(known, groups, 0), axis=0)


def _at(levels, places):
    """Returns the level of each row's place, (batch,)."""
    return ops.take_along_axis(levels, ops.expand_dims(places, -1), axis=1)[:, 0]


def quantile_levels(values, groups, size: int, intervals: int = 100) -> np.ndarray:
    """Returns the quantiles of the values of each group, (size, intervals + 1).

    Args:
        values: Array (rows,) of finite numbers, such as watch times; NaN is left out.
        groups: Integer array (rows,), from 0 to size - 1.
        size: Integer. How many groups there are. One without values has those of all.
        intervals: Integer. Defaults to 100.

    Example:
    >>> quantile_levels([0.0, 10.0, 5.0], [1, 1, 2], size=3, intervals=2)[1].tolist()
    [0.0, 5.0, 10.0]
    """
    _errors.check_positive("intervals", intervals)
    values, groups = np.asarray(values, np.float64), np.asarray(groups)
    known = ~np.isnan(values)
    values, groups = values[known], groups[known]
    at = np.linspace(0, 1, intervals + 1)
    if not len(values):
        return np.zeros((size, intervals + 1))
    of_all = np.quantile(values, at)
    found = [values[groups == group] for group in range(size)]
    return np.stack([np.quantile(v, at) if len(v) else of_all for v in found])
