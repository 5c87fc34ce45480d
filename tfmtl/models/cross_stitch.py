"""Cross-stitch networks."""

import keras

from tfmtl.layers.structures.cross_stitch import CrossStitch as CrossStitchLayer
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class CrossStitch(MultiTaskModel):
    """One network a task, mixed linearly after each layer by learnt numbers.

    Deviations from the paper: units after every dense layer, see the layer.

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        units: Tuple of integers. Layer widths of each network. Defaults to (256, 128).
        own_weight: Float. A task's share of its own activations at the start; the
            rest is spread over the other tasks. Defaults to 0.9.
        activation: String or callable. Defaults to "relu".
        name: String. Defaults to "cross_stitch".
        **kwargs: `epnet`, `ppnet` and `interactions`, see `MultiTaskModel`.

    See Also: `tfmtl.layers.CrossStitch` for the equations.

    References:
        - [Cross-stitch Networks](https://arxiv.org/abs/1604.03539)
    """

    def __init__(
        self,
        features,
        tasks,
        units=(256, 128),
        own_weight=0.9,
        activation="relu",
        name="cross_stitch",
        **kwargs,
    ):
        names = [task.name for task in tasks]
        sharing = CrossStitchLayer(
            names,
            units,
            own_weight,
            activation,
            name="sharing",
        )
        super().__init__(features, tasks, sharing, name=name, **kwargs)
