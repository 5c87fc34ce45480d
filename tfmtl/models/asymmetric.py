"""Asymmetric sharing: one task's network helps the others."""

import keras

from tfmtl.layers.structures.asymmetric import Asymmetric as AsymmetricLayer
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class Asymmetric(MultiTaskModel):
    """One task's network is seen by all; the others keep theirs to themselves.

    Deviations from the paper: see the layer for more than two tasks.

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        source: String. The task whose network all others see. Defaults to the first.
        units: Tuple of integers. Layer widths of each network. Defaults to (256, 128).
        fuse: "concat", "sum" or "mean" of the source's and the task's own. Defaults to
            "concat".
        activation: String or callable. Defaults to "relu".
        dropout: Float. Rate of dropout after each layer. Defaults to 0.
        name: String. Defaults to "asymmetric".
        **kwargs: `epnet`, `ppnet` and `interactions`, see `MultiTaskModel`.

    See Also: `tfmtl.layers.Asymmetric` for the equations.

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
    """

    def __init__(
        self,
        features,
        tasks,
        source=None,
        units=(256, 128),
        fuse="concat",
        activation="relu",
        dropout=0.0,
        name="asymmetric",
        **kwargs,
    ):
        names = [task.name for task in tasks]
        sharing = AsymmetricLayer(
            names,
            source,
            units,
            fuse,
            activation,
            dropout,
            name="sharing",
        )
        super().__init__(features, tasks, sharing, name=name, **kwargs)
