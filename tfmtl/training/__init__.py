"""What goes into `fit` beside the model, and what comes before it."""

import inspect

from tfmtl import _errors
from tfmtl.training.balancing.aligned_mtl import AlignedMTL
from tfmtl.training.balancing.cagrad import CAGrad
from tfmtl.training.balancing.decay import Decay
from tfmtl.training.balancing.dwa import DWA
from tfmtl.training.balancing.famo import FAMO
from tfmtl.training.balancing.gradient_balancing import GradientBalancing
from tfmtl.training.balancing.gradient_sum import GradientSum
from tfmtl.training.balancing.gradnorm import GradNorm
from tfmtl.training.balancing.imtl_g import IMTLG
from tfmtl.training.balancing.loss_weighting import (
    Fixed,
    LossWeighting,
    WeightingEpochs,
)
from tfmtl.training.balancing.metabalance import MetaBalance
from tfmtl.training.balancing.mgda import MGDA
from tfmtl.training.balancing.nash_mtl import NashMTL
from tfmtl.training.balancing.pcgrad import PCGrad
from tfmtl.training.balancing.uncertainty import Uncertainty
from tfmtl.training.checkpoints import Checkpoints
from tfmtl.training.monitor import better
from tfmtl.training.stop_on_nan import StopOnNaN
from tfmtl.training.validate_averages import ValidateAverages
from tfmtl.training.warm_start import warm_start

_WEIGHTINGS = {
    "fixed": Fixed,
    "decay": Decay,
    "uncertainty": Uncertainty,
    "dwa": DWA,
    "gradient_sum": GradientSum,
    "gradnorm": GradNorm,
    "pcgrad": PCGrad,
    "metabalance": MetaBalance,
    "mgda": MGDA,
    "cagrad": CAGrad,
    "nash_mtl": NashMTL,
    "imtl_g": IMTLG,
    "aligned_mtl": AlignedMTL,
    "famo": FAMO,
}

__all__ = [
    "DWA",
    "FAMO",
    "IMTLG",
    "MGDA",
    "AlignedMTL",
    "CAGrad",
    "Checkpoints",
    "Decay",
    "Fixed",
    "GradNorm",
    "GradientBalancing",
    "GradientSum",
    "LossWeighting",
    "MetaBalance",
    "NashMTL",
    "PCGrad",
    "StopOnNaN",
    "Uncertainty",
    "ValidateAverages",
    "WeightingEpochs",
    "better",
    "warm_start",
    "weighting",
    "weightings",
]


def weightings() -> list[str]:
    """Returns the names of all strategies of weighing the tasks.

    Example:
    >>> "pcgrad" in weightings()
    True
    """
    return list(_WEIGHTINGS)


def weighting(name: str, **options) -> LossWeighting:
    """Returns a new strategy of weighing the tasks, for `compile`.

    Args:
        name: String. One of `weightings()`.
        **options: Of the strategy.

    Raises:
        ValueError: If there is no such strategy or option; the message gives the
            nearest.

    Example:
    >>> weighting("dwa", temperature=1.5).temperature
    1.5
    """
    _errors.check_choice("loss weighting", name, _WEIGHTINGS)
    strategy = _WEIGHTINGS[name]
    known = {*inspect.signature(strategy).parameters} - {"kwargs"}
    if issubclass(strategy, GradientBalancing):
        known |= {*inspect.signature(GradientBalancing).parameters} - {"kwargs"}
    for key in options:
        _errors.check_choice(f"An option of {name}", key, sorted(known))
    return strategy(**options)
