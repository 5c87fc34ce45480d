"""Architectures by name."""

from tfmtl import _errors
from tfmtl.models import own
from tfmtl.models.aitm import AITM
from tfmtl.models.architectures import (
    CGC,
    DBMTL,
    PLE,
    SNR,
    AdaTT,
    Asymmetric,
    CrossStitch,
    Customized,
    HoME,
    MLMMoE,
    MMoE,
    OMoE,
    SharedBottom,
    Sluice,
)
from tfmtl.models.base import MultiTaskModel
from tfmtl.models.dcrnn import DCRNN
from tfmtl.models.dephn import DEPHN
from tfmtl.models.epnet import EPNet
from tfmtl.models.escm2 import ESCM2
from tfmtl.models.esmm import ESMM
from tfmtl.models.mt_phn import MTPHN
from tfmtl.models.pepnet import PEPNet
from tfmtl.models.ppnet import PPNet
from tfmtl.models.resflow import ResFlow
from tfmtl.models.shared_top import SharedTop
from tfmtl.models.single_task import SingleTask
from tfmtl.models.specific_top import SpecificTop
from tfmtl.models.star import STAR
from tfmtl.models.stem import STEM

_REGISTRY = {
    model.architecture: model
    for model in (
        SingleTask,
        SharedBottom,
        Asymmetric,
        Customized,
        CrossStitch,
        Sluice,
        SNR,
        OMoE,
        MMoE,
        MLMMoE,
        CGC,
        PLE,
        AdaTT,
        STEM,
        HoME,
        ESMM,
        ESCM2,
        AITM,
        DBMTL,
        ResFlow,
        DCRNN,
        DEPHN,
        MTPHN,
        EPNet,
        PPNet,
        PEPNet,
        SharedTop,
        SpecificTop,
        STAR,
    )
}

__all__ = [
    "AITM",
    "CGC",
    "DBMTL",
    "DCRNN",
    "DEPHN",
    "ESCM2",
    "ESMM",
    "MTPHN",
    "PLE",
    "SNR",
    "STAR",
    "STEM",
    "AdaTT",
    "Asymmetric",
    "CrossStitch",
    "Customized",
    "EPNet",
    "HoME",
    "MLMMoE",
    "MMoE",
    "MultiTaskModel",
    "OMoE",
    "PEPNet",
    "PPNet",
    "ResFlow",
    "SharedBottom",
    "SharedTop",
    "SingleTask",
    "Sluice",
    "SpecificTop",
    "get",
    "names",
    "options",
]


def names() -> list[str]:
    """Returns the names of all architectures.

    Example:
    >>> "ple" in names()
    True
    """
    return list(_REGISTRY)


def get(name: str) -> type[MultiTaskModel]:
    """Returns the architecture of a name.

    Args:
        name: String. One of `names()`, or "module:Class", a registered subclass of
            `MultiTaskModel` of your own.

    Raises:
        ValueError: If there is no such architecture; the message gives the nearest.

    Example:
    >>> get("ple").__name__
    'PLE'
    """
    if own.is_own(name):
        return own.load(name)
    _errors.check_choice("architecture", name, _REGISTRY)
    return _REGISTRY[name]


def options(name: str) -> list[str]:
    """Returns the names of the options of an architecture.

    Args:
        name: String. As for `get`.

    Raises:
        ValueError: If there is no such architecture.

    Example:
    >>> options("shared_bottom")
    ['units', 'activation', 'dropout', 'name', 'epnet', 'ppnet', 'interactions']
    """
    return [k for k in get(name).arguments() if k not in ("features", "tasks")]
