"""Shared-Bottom: hard parameter sharing."""

import keras

from tfmtl.layers.structures.shared_bottom import SharedBottom as SharedBottomLayer
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class SharedBottom(MultiTaskModel):
    """One network for all tasks, then one tower a task: y_k = t_k(f(x)).

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        units: Tuple of integers. Layer widths of f. Defaults to (256, 128).
        activation: String or callable. Defaults to "relu".
        dropout: Float. Rate of dropout after each layer. Defaults to 0.
        name: String. Defaults to "shared_bottom".
        **kwargs: `epnet`, `ppnet` and `interactions`, see `MultiTaskModel`.

    See Also: `tfmtl.layers.SharedBottom`.
    """

    def __init__(
        self,
        features,
        tasks,
        units=(256, 128),
        activation="relu",
        dropout=0.0,
        name="shared_bottom",
        **kwargs,
    ):
        names = [task.name for task in tasks]
        sharing = SharedBottomLayer(names, units, activation, dropout, name="sharing")
        super().__init__(features, tasks, sharing, name=name, **kwargs)
