"""Sluice networks."""

import keras

from tfmtl.layers.structures.sluice import Sluice as SluiceLayer
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class Sluice(MultiTaskModel):
    """Cross-stitch between halves of the tasks' layers, with skips to the towers.

    Deviations from the paper: initial values and the penalty's weight, see the layer.

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        units: Tuple of integers. Layer widths of each network, all the same and even.
            Defaults to (128, 128).
        penalty: Float. Weight of the penalty that keeps a task's two subspaces apart.
            Defaults to 1e-3.
        own_weight: Float. A subspace's share of its own activations at the start.
            Defaults to 0.9.
        activation: String or callable. Defaults to "relu".
        name: String. Defaults to "sluice".
        **kwargs: `epnet`, `ppnet` and `interactions`, see `MultiTaskModel`.

    See Also: `tfmtl.layers.Sluice` for the equations.

    References:
        - [Latent Multi-task Architecture Learning](https://arxiv.org/abs/1705.08142)
    """

    def __init__(
        self,
        features,
        tasks,
        units=(128, 128),
        penalty=1e-3,
        own_weight=0.9,
        activation="relu",
        name="sluice",
        **kwargs,
    ):
        names = [task.name for task in tasks]
        sharing = SluiceLayer(
            names,
            units,
            penalty,
            own_weight,
            activation,
            name="sharing",
        )
        super().__init__(features, tasks, sharing, name=name, **kwargs)
