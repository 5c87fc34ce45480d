"""AdaSparse: a network whose units are pruned and scaled by the domain."""

import keras

from tfmtl import layers
from tfmtl.models.conditioned_model import ConditionedModel


@keras.saving.register_keras_serializable("tfmtl.models")
class AdaSparse(ConditionedModel):
    """One network below all towers, of which every domain uses the units it needs.

    Reconstruction and deviations from the paper: see the layer. The paper has one task;
    here each has a tower of its own, which is not pruned.

    See Also: `tfmtl.layers.AdaSparse` for the equations.

    References:
        - [AdaSparse](https://arxiv.org/abs/2206.13108)
    """

    architecture = "adasparse"
    structure = layers.AdaSparse
