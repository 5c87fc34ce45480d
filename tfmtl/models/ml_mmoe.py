"""ML-MMoE: MMoE of several levels."""

import keras

from tfmtl.layers.structures.ml_mmoe import MLMMoE as MLMMoELayer
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class MLMMoE(MultiTaskModel):
    """MMoE whose experts read gated mixes of the experts below.

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        experts: Integer, the number of DNN experts of each level, or list of
            interactions, such as ["dnn", {"name": "cross_v2", "depth": 2}]. Defaults
            to 4.
        expert_units: Tuple of tuples of integers. One entry a level: the layer widths
            of its experts. Defaults to ((256,), (128,)).
        activation: String or callable of the experts. Defaults to "relu".
        name: String. Defaults to "ml_mmoe".
        **kwargs: `epnet`, `ppnet` and `interactions`, see `MultiTaskModel`.

    See Also: `tfmtl.layers.MLMMoE` for the equations.

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
    """

    def __init__(
        self,
        features,
        tasks,
        experts=4,
        expert_units=((256,), (128,)),
        activation="relu",
        name="ml_mmoe",
        **kwargs,
    ):
        names = [task.name for task in tasks]
        sharing = MLMMoELayer(
            names,
            experts,
            expert_units,
            activation,
            name="sharing",
        )
        super().__init__(features, tasks, sharing, name=name, **kwargs)
