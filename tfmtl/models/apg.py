"""APG: a network whose weights are made for each row."""

import keras

from tfmtl import layers
from tfmtl.models.conditioned_model import ConditionedModel


@keras.saving.register_keras_serializable("tfmtl.models")
class APG(ConditionedModel):
    """Adaptive Parameter Generation: the network below the towers is made by row.

    Deviations from the paper: see the layer. Without `domain` and `domain_features`
    each layer's weights are made of its own input, the paper's "self-wise" condition.

    See Also: `tfmtl.layers.APG` for the equations.

    References:
        - [APG](https://arxiv.org/abs/2203.16218)
    """

    architecture = "apg"
    structure = layers.APG
