"""Architectures by name."""

from tfmtl import _errors
from tfmtl.models.aitm import AITM
from tfmtl.models.asymmetric import Asymmetric
from tfmtl.models.base import MultiTaskModel
from tfmtl.models.cgc import CGC
from tfmtl.models.cross_stitch import CrossStitch
from tfmtl.models.customized import Customized
from tfmtl.models.dcrnn import DCRNN
from tfmtl.models.dephn import DEPHN
from tfmtl.models.epnet import EPNet
from tfmtl.models.esmm import ESMM
from tfmtl.models.ml_mmoe import MLMMoE
from tfmtl.models.mmoe import MMoE
from tfmtl.models.mt_phn import MTPHN
from tfmtl.models.omoe import OMoE
from tfmtl.models.pepnet import PEPNet
from tfmtl.models.ple import PLE
from tfmtl.models.ppnet import PPNet
from tfmtl.models.shared_bottom import SharedBottom
from tfmtl.models.shared_top import SharedTop
from tfmtl.models.single_task import SingleTask
from tfmtl.models.sluice import Sluice
from tfmtl.models.snr import SNR
from tfmtl.models.specific_top import SpecificTop

_REGISTRY = {
    "single_task": SingleTask,
    "shared_bottom": SharedBottom,
    "asymmetric": Asymmetric,
    "customized": Customized,
    "cross_stitch": CrossStitch,
    "sluice": Sluice,
    "snr": SNR,
    "omoe": OMoE,
    "mmoe": MMoE,
    "ml_mmoe": MLMMoE,
    "cgc": CGC,
    "ple": PLE,
    "esmm": ESMM,
    "aitm": AITM,
    "dcrnn": DCRNN,
    "dephn": DEPHN,
    "mt_phn": MTPHN,
    "epnet": EPNet,
    "ppnet": PPNet,
    "pepnet": PEPNet,
    "shared_top": SharedTop,
    "specific_top": SpecificTop,
}

__all__ = [
    "AITM",
    "CGC",
    "DCRNN",
    "DEPHN",
    "ESMM",
    "MTPHN",
    "PLE",
    "SNR",
    "Asymmetric",
    "CrossStitch",
    "Customized",
    "EPNet",
    "MLMMoE",
    "MMoE",
    "MultiTaskModel",
    "OMoE",
    "PEPNet",
    "PPNet",
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
        name: String. One of `names()`.

    Raises:
        ValueError: If there is no such architecture; the message gives the nearest.

    Example:
    >>> get("ple").__name__
    'PLE'
    """
    _errors.check_choice("architecture", name, _REGISTRY)
    return _REGISTRY[name]


def options(name: str) -> list[str]:
    """Returns the names of the options of an architecture.

    Args:
        name: String. One of `names()`.

    Raises:
        ValueError: If there is no such architecture.

    Example:
    >>> options("shared_bottom")
    ['units', 'activation', 'dropout', 'name', 'epnet', 'ppnet', 'interactions']
    """
    given = ("features", "tasks")
    return [key for key in get(name).arguments() if key not in given]
