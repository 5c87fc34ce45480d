"""Losses of the order within a batch; they come beside a loss of rows."""

import dataclasses

from keras import ops

from tfmtl.losses.loss import Loss

_KINDS = ("binary", "regression", "count")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankingLoss(Loss):
    """A loss of the order of a batch's rows, or of those with the same id.

    Scores z are the tower's logits, or what the task's link makes of a prediction that
    a chain of tasks multiplies. Rows of weight 0 are left out.

    Args:
        group: String. A categorical feature, such as the user or the request: only rows
            with the same id are compared, and none whose id is missing or unknown.
            Batches must hold several rows of an id. Defaults to the whole batch.
        weight: Float. The weight among the losses of its task. Defaults to 1.
    """

    group: str | None = None

    kinds = _KINDS

    def __post_init__(self):
        super().__post_init__()
        ok = self.group is None or isinstance(self.group, str)
        self.check("group", ok, "the name of a categorical feature")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairwise(RankingLoss):
    """RankNet: the mean over pairs with y_i > y_j of log(1 + exp(z_j - z_i)).

    Beside "bce" it lifts the AUC of rare actions, whose positives else drown; with a
    group, the user AUC. A pair weighs d_i d_j. Time and memory grow as the square of
    the batch.

    Args:
        group: String. See `RankingLoss`. Defaults to the whole batch.
        weight: Float. The weight among the losses of its task. Defaults to 1.

    Example:
    >>> import numpy as np
    >>> y, z = np.float32([1, 0, 1]), np.float32([2, 0, 0])
    >>> round(float(Pairwise().value(y, z, np.ones(3, "float32"))), 4)
    0.41

    References:
        - [Learning to Rank using Gradient Descent](
          https://doi.org/10.1145/1102351.1102363)
        - [Joint Optimization of Ranking and Calibration with Contextualized Hybrid
          Model](https://arxiv.org/abs/2208.06164), section 2, on the combination.
    """

    name = "pairwise"

    def value(self, label, score, weight, groups=None):
        """Returns the mean over pairs, a scalar; 0 without any.

        Args:
            label: Tensor of shape (batch,), without NaN.
            score: Tensor of shape (batch,).
            weight: Tensor of shape (batch,).
            groups: Integer tensor of shape (batch,). Defaults to one group.
        """
        above = ops.expand_dims(label, 1) > ops.expand_dims(label, 0)
        if groups is not None:
            same = ops.equal(ops.expand_dims(groups, 1), ops.expand_dims(groups, 0))
            above = ops.logical_and(above, same)
        pair = ops.expand_dims(weight, 1) * ops.expand_dims(weight, 0)
        pair = ops.where(above, pair, 0.0)
        loss = ops.softplus(ops.expand_dims(score, 0) - ops.expand_dims(score, 1))
        loss = ops.sum(ops.where(pair > 0, pair * loss, 0.0))
        return loss / ops.maximum(ops.sum(pair), 1e-9)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listwise(RankingLoss):
    """Softmax over the rows of a group: the mean over positives of

        log(sum_j d_j exp(z_j)) - z_i,    j over the rows of i's group

    by d_i y_i, so that counts and values are graded relevances (those below 0 are 0).

    Args:
        group: String. See `RankingLoss`. Defaults to the whole batch.
        weight: Float. The weight among the losses of its task. Defaults to 1.

    Example:
    >>> import numpy as np
    >>> y, z = np.float32([1, 0, 0, 0]), np.zeros(4, "float32")
    >>> round(float(Listwise().value(y, z, np.ones(4, "float32"))), 4)  # log 4
    1.3863

    References:
        - [Learning to Rank: From Pairwise Approach to Listwise Approach](
          https://doi.org/10.1145/1273496.1273513), with one position.
    """

    name = "listwise"

    def value(self, label, score, weight, groups=None):
        """Returns the mean over positives, a scalar; 0 without any.

        Args:
            label: Tensor of shape (batch,), without NaN.
            score: Tensor of shape (batch,).
            weight: Tensor of shape (batch,).
            groups: Integer tensor of shape (batch,). Defaults to one group.
        """
        rows = ops.shape(score)[0]
        if groups is None:
            places = ops.zeros_like(score, dtype="int32")
        else:
            places = _places(groups)
        known = weight > 0
        score = ops.where(known, score, 0.0)
        most = ops.segment_max(ops.where(known, score, -1e30), places, rows)
        shifted = score - ops.stop_gradient(ops.take(most, places))
        terms = ops.where(known, weight * ops.exp(ops.minimum(shifted, 0.0)), 0.0)
        sums = ops.take(ops.segment_sum(terms, places, rows), places)
        loss = ops.log(ops.maximum(sums, 1e-30)) - shifted
        relevance = weight * ops.maximum(label, 0.0)
        loss = ops.sum(ops.where(relevance > 0, relevance * loss, 0.0))
        return loss / ops.maximum(ops.sum(relevance), 1e-9)


def _places(groups):
    """Numbers the ids of a batch: equal ones alike, from 0 to at most batch - 1."""
    order = ops.argsort(groups)
    ids = ops.take(groups, order)
    changes = ops.cast(ops.not_equal(ids[1:], ids[:-1]), "int32")
    numbers = ops.concatenate([ops.zeros_like(changes[:1]), ops.cumsum(changes)])
    return ops.take(numbers, ops.argsort(order))
