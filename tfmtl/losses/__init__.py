"""What tasks learn by: `tfmtl.Task(loss=...)` takes one, several, or names of them.

A task's first loss says what is predicted, a probability or a value; a `RankingLoss`,
of the order of rows, comes beside it.
"""

import dataclasses
from collections.abc import Mapping

from tfmtl import _errors
from tfmtl.losses.binary import BCE, Delayed, FakeNegativeWeighted, Focal
from tfmtl.losses.classes import Softmax
from tfmtl.losses.d2q import D2Q, quantile_levels
from tfmtl.losses.distributions import ZILN, Ordinal
from tfmtl.losses.loss import Loss, RowLoss
from tfmtl.losses.ranking import JRC, Listwise, Pairwise, RankingLoss
from tfmtl.losses.values import (
    MSE,
    Huber,
    LogMSE,
    Poisson,
    Quantile,
    Tweedie,
    WeightedLogistic,
)

__all__ = [
    "BCE",
    "D2Q",
    "JRC",
    "MSE",
    "ZILN",
    "Delayed",
    "FakeNegativeWeighted",
    "Focal",
    "Huber",
    "Listwise",
    "LogMSE",
    "Loss",
    "Ordinal",
    "Pairwise",
    "Poisson",
    "Quantile",
    "RankingLoss",
    "RowLoss",
    "Softmax",
    "Tweedie",
    "WeightedLogistic",
    "get",
    "names",
    "quantile_levels",
]

_CLASSES = {
    loss.name: loss
    for loss in (
        BCE,
        Focal,
        Delayed,
        FakeNegativeWeighted,
        JRC,
        MSE,
        Huber,
        LogMSE,
        WeightedLogistic,
        Quantile,
        Poisson,
        Tweedie,
        ZILN,
        Ordinal,
        D2Q,
        Softmax,
        Pairwise,
        Listwise,
    )
}


def names(kind: str) -> list[str]:
    """Returns the losses that a task of a kind can have, its default first.

    Example:
    >>> names("count")
    ['poisson', 'tweedie', 'ordinal', 'pairwise', 'listwise']
    """
    return [name for name, loss in _CLASSES.items() if kind in loss.kinds]


def get(given: str | Mapping | Loss, kind: str, what: str = "loss") -> Loss:
    """Returns a loss by its name, or by a dict of its name and arguments.

    Args:
        given: String, dict with the key "name", or a `Loss`, which is returned.
        kind: String. The kind of the task.
        what: String. What messages call it. Defaults to "loss".

    Raises:
        ValueError: If tasks of the kind have no such loss, or it no such argument.

    Example:
    >>> get({"name": "huber", "delta": 2}, kind="regression")
    Huber(weight=1.0, delta=2)
    """
    if isinstance(given, Loss):
        _errors.check_choice(what, given.name, names(kind))
        return given
    arguments = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = arguments.pop("name", None)
    _errors.check_choice(what, name, names(kind))
    known = [field.name for field in dataclasses.fields(_CLASSES[name])]
    for key in arguments:
        _errors.check_choice(f"An argument of the loss {name!r}", key, known)
    return _CLASSES[name](**arguments)
