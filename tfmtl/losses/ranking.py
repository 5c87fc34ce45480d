"""Losses of the order of rows within a batch, or of a group in it."""

import dataclasses

from keras import ops

from tfmtl import _errors
from tfmtl.losses.binary import BCE
from tfmtl.losses.links import SIGMOID
from tfmtl.losses.loss import Loss, RowLoss, weighted_mean

_KINDS = ("binary", "regression", "count")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankingLoss(Loss):
    """A loss of the order of rows, which comes beside one that says what is predicted.

    Scores z are what the link of the task's first loss makes of predictions: logits,
    also of a probability that a chain of tasks has multiplied. Rows of weight 0 are
    left out.

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
        _check_group(self)

    def value(self, label, score, weight, groups=None):
        """Returns the loss of a batch, a scalar; 0 where there is nothing to order.

        Args:
            label: Tensor of shape (batch,), without NaN.
            score: Tensor of shape (batch,).
            weight: Tensor of shape (batch,).
            groups: Integer tensor of shape (batch,). Defaults to one group.
        """
        return self.of_order(label, score, _known(weight, groups), groups)

    def of_order(self, label, score, weight, groups):
        """Returns what `value` does, of rows that weigh 0 where their id is unknown."""
        raise NotImplementedError


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

    def of_order(self, label, score, weight, groups):
        """Returns the mean over pairs."""
        above = ops.expand_dims(label, 1) > ops.expand_dims(label, 0)
        if groups is not None:
            same = ops.equal(ops.expand_dims(groups, 1), ops.expand_dims(groups, 0))
            above = ops.logical_and(above, same)
        pair = ops.expand_dims(weight, 1) * ops.expand_dims(weight, 0)
        pair = ops.where(above, pair, 0.0)
        loss = ops.softplus(ops.expand_dims(score, 0) - ops.expand_dims(score, 1))
        return weighted_mean(loss, pair)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listwise(RankingLoss):
    """Softmax over the rows of a group, of which positives shall have the most.

    The mean over rows, by d_i y_i, of log(sum_j d_j exp(z_j)) - z_i, j over the rows of
    i's group. So counts and values are graded relevances; those below 0 are 0.

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

    def of_order(self, label, score, weight, groups):
        """Returns the mean over positives."""
        relevance = weight * ops.maximum(label, 0.0)
        return weighted_mean(_log_share(score, weight, groups), relevance)


@dataclasses.dataclass(frozen=True, kw_only=True)
class JRC(RowLoss):
    """Joint ranking and calibration: two logits, z_1 if the label is 1 and z_0 if 0.

        L = alpha L_ce + (1 - alpha) L_rank,    p = exp(z_1) / (exp(z_0) + exp(z_1))
        L_rank = mean_i log(sum_j d_j exp(z_{y_i, j})) - z_{y_i, i}

    over the rows j of i's group. L_ce is cross-entropy: p stays a probability, for
    which L_rank has a degree of freedom of its own.

    Args:
        group: String. A categorical feature, such as the user or the request: only rows
            with the same id are compared. Rows whose id is missing or unknown are in
            L_ce alone. Defaults to the whole batch.
        alpha: Float in [0, 1]. Defaults to 0.5.
        weight: Float. The weight among the losses of its task. Defaults to 1.

    References:
        - [Joint Optimization of Ranking and Calibration with Contextualized Hybrid
          Model](https://arxiv.org/abs/2208.06164), eq. 4 to 8.
    """

    group: str | None = None
    alpha: float = 0.5

    name = "jrc"
    kinds = ("binary",)
    link = SIGMOID
    logits = 2

    def __post_init__(self):
        super().__post_init__()
        _errors.check_ratio("alpha of the loss 'jrc'", self.alpha)
        _check_group(self)

    def activate(self, logits):
        """Maps logits (batch, 2) to probabilities (batch, 1)."""
        return ops.sigmoid(logits[:, 1:] - logits[:, :1])

    def logits_at(self, mean: float) -> list[float]:
        """Returns logits of 0 and 1 whose probability is the mean label."""
        return [0.0, *super().logits_at(mean)]

    def value(self, label, prediction, weight, groups=None, logits=None):
        """Returns the loss of a batch, a scalar."""
        cross_entropy = BCE().value(label, prediction, weight)
        known = _known(weight, groups)
        total = 0.0
        for of_class, rows in ((0, 1 - label), (1, label)):
            loss = _log_share(logits[:, of_class], known, groups)
            total += ops.sum(ops.where(known * rows > 0, known * rows * loss, 0.0))
        rank = total / ops.maximum(ops.sum(known), 1e-9)
        return self.alpha * cross_entropy + (1 - self.alpha) * rank


def _known(weight, groups):
    """Returns the weights, 0 for rows of id 0: missing or unknown is many, not one."""
    return weight if groups is None else ops.where(groups != 0, weight, 0.0)


def _check_group(loss):
    ok = loss.group is None or isinstance(loss.group, str)
    loss.check("group", ok, "the name of a categorical feature")


def _log_share(score, weight, groups):
    """Returns log(sum_j d_j exp(z_j)) - z_i, j over the rows of i's group, (batch,)."""
    rows = ops.shape(score)[0]
    if groups is None:
        places = ops.zeros_like(score, dtype="int32")
    else:
        places = _places(groups)
    counts = weight > 0
    score = ops.where(counts, score, 0.0)
    most = ops.segment_max(ops.where(counts, score, -1e30), places, rows)
    shifted = score - ops.stop_gradient(ops.take(most, places))
    terms = ops.where(counts, weight * ops.exp(ops.minimum(shifted, 0.0)), 0.0)
    sums = ops.take(ops.segment_sum(terms, places, rows), places)
    return ops.log(ops.maximum(sums, 1e-30)) - shifted


def _places(groups):
    """Numbers the ids of a batch: equal ones alike, from 0 to at most batch - 1."""
    order = ops.argsort(groups)
    ids = ops.take(groups, order)
    changes = ops.cast(ops.not_equal(ids[1:], ids[:-1]), "int32")
    first = ops.zeros_like(ids[:1], dtype="int32")
    numbers = ops.concatenate([first, ops.cumsum(changes)])
    return ops.take(numbers, ops.argsort(order))
