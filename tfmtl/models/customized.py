"""Customized sharing: a shared network beside each task's own."""

import keras

from tfmtl.layers.structures.asymmetric import Customized as CustomizedLayer
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class Customized(MultiTaskModel):
    """Each task's tower reads the shared network and the task's own.

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        units: Tuple of integers. Layer widths of each network. Defaults to (256, 128).
        activation: String or callable. Defaults to "relu".
        dropout: Float. Rate of dropout after each layer. Defaults to 0.
        name: String. Defaults to "customized".
        **kwargs: `epnet`, `ppnet` and `interactions`, see `MultiTaskModel`.

    See Also: `tfmtl.layers.Customized` for the equations.

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
    """

    def __init__(
        self,
        features,
        tasks,
        units=(256, 128),
        activation="relu",
        dropout=0.0,
        name="customized",
        **kwargs,
    ):
        names = [task.name for task in tasks]
        sharing = CustomizedLayer(
            names,
            units,
            activation,
            dropout,
            name="sharing",
        )
        super().__init__(features, tasks, sharing, name=name, **kwargs)
