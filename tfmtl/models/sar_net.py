"""SAR-Net: experts of the domain and of all, above a scale and shift by domain."""

import keras

from tfmtl import layers
from tfmtl.models.domain_model import DomainModel


@keras.saving.register_keras_serializable("tfmtl.models")
class SARNet(DomainModel):
    """Scenario-Aware Ranking Network.

    Reconstruction and deviations from the paper: see the layer. Each task has a gate
    and a tower, which all domains share.

    See Also: `tfmtl.layers.SARNet` for the equations.

    References:
        - [SAR-Net](https://arxiv.org/abs/2110.06475)
    """

    architecture = "sar_net"
    structure = layers.SARNet
    given = ("domains",)
