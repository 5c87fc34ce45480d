"""M2M: weights that are made of what is known of the scenario."""

import keras

from tfmtl import layers
from tfmtl.models.conditioned_model import ConditionedModel


@keras.saving.register_keras_serializable("tfmtl.models")
class M2M(ConditionedModel):
    """Multi-scenario, multi-task Meta learning.

    Reconstruction and deviations from the paper: see the layer. A task's own tower
    stands on the meta tower, and its loss is the one that it declares, the paper's is
    Poisson's.

    See Also: `tfmtl.layers.M2M` for the equations.

    References:
        - [M2M](https://arxiv.org/abs/2201.06814)
    """

    architecture = "m2m"
    structure = layers.M2M
