"""Architectures by name."""

from tfmtl import _errors
from tfmtl.models import own
from tfmtl.models.adasparse import AdaSparse
from tfmtl.models.aitm import AITM
from tfmtl.models.apg import APG
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
from tfmtl.models.hinet import HiNet
from tfmtl.models.m2m import M2M
from tfmtl.models.m3oe import M3oE
from tfmtl.models.mt_phn import MTPHN
from tfmtl.models.pepnet import PEPNet
from tfmtl.models.ppnet import PPNet
from tfmtl.models.resflow import ResFlow
from tfmtl.models.sar_net import SARNet
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
        SARNet,
        HiNet,
        M3oE,
        M2M,
        AdaSparse,
        APG,
    )
}

__all__ = [
    "AITM",
    "APG",
    "CGC",
    "DBMTL",
    "DCRNN",
    "DEPHN",
    "ESCM2",
    "ESMM",
    "M2M",
    "MTPHN",
    "PLE",
    "SNR",
    "STAR",
    "STEM",
    "AdaSparse",
    "AdaTT",
    "Asymmetric",
    "CrossStitch",
    "Customized",
    "EPNet",
    "HiNet",
    "HoME",
    "M3oE",
    "MLMMoE",
    "MMoE",
    "MultiTaskModel",
    "OMoE",
    "PEPNet",
    "PPNet",
    "ResFlow",
    "SARNet",
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
