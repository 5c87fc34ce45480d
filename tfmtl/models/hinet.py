"""HiNet: what the domains know of a row first, then what the tasks make of it."""

import keras

from tfmtl import layers
from tfmtl.models.domain_model import DomainModel


@keras.saving.register_keras_serializable("tfmtl.models")
class HiNet(DomainModel):
    """Hierarchical information extraction Network, for many domains and tasks.

    Deviations from the paper: see the layer; and a task has one tower for all domains,
    the paper's has one a domain.

    See Also: `tfmtl.layers.HiNet` for the equations.

    References:
        - [HiNet](https://arxiv.org/abs/2303.06095)
    """

    architecture = "hinet"
    structure = layers.HiNet
    given = ("domains",)
