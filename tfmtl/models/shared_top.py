"""Shared top: all domains share everything, PEPNet's backbone."""

import keras

from tfmtl.features import check_domain
from tfmtl.layers.structures.shared_bottom import SeparateBottoms
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class SharedTop(MultiTaskModel):
    """One embedding, and above it one network a task; all domains share both.

    The tasks meet in the embedding only. PEPNet is this model with EPNet and PPNet
    around it, and its paper compares with it.

    Reconstruction: the paper names the baseline "shared embedding, shared top towers"
    and gives two hidden layers of [100, 64] for all models; that nothing else is
    shared is our reading.

    Args:
        domain: String. The categorical feature that tells the domain, an input like
            any other here. Defaults to a single domain.
        units: Tuple of integers. Hidden layers of each task's network below its
            tower's; with the default tower, (64,), the default gives the paper's
            [100, 64]. Defaults to (100,).

    See Also: `SpecificTop`, whose towers belong to one domain each.

    References:
        - [PEPNet](https://arxiv.org/abs/2302.01115), table 2.
    """

    architecture = "shared_top"
    structure = SeparateBottoms

    def __init__(self, features, tasks, *, domain=None, units=(100,), **options):
        check_domain(features, domain)
        super().__init__(features, tasks, units=units, **options)
