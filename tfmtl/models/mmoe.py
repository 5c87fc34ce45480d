"""MMoE: shared experts, one gate a task."""

import keras

from tfmtl.layers.structures.mmoe import MMoE as MMoELayer
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class MMoE(MultiTaskModel):
    """Multi-gate Mixture-of-Experts: each task mixes shared experts by its own gate.

    Deviations from the paper: its experiments have 8 experts of one layer of 16 units;
    the default is 4 of (256, 128), as deep as the other architectures here.

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        experts: Integer, the number of DNN experts, or list of interactions, such as
            ["dnn", {"name": "cross_v2", "depth": 2}]. Defaults to 4.
        expert_units: Tuple of integers. Layer widths of an expert. Defaults to
            (256, 128).
        activation: String or callable of the experts. Defaults to "relu".
        name: String. Defaults to "mmoe".
        **kwargs: `epnet`, `ppnet` and `interactions`, see `MultiTaskModel`.

    See Also: `tfmtl.layers.MMoE` for the equations.

    References:
        - [Multi-gate Mixture-of-Experts](https://doi.org/10.1145/3219819.3220007)
    """

    def __init__(
        self,
        features,
        tasks,
        experts=4,
        expert_units=(256, 128),
        activation="relu",
        name="mmoe",
        **kwargs,
    ):
        names = [task.name for task in tasks]
        sharing = MMoELayer(
            names,
            experts,
            expert_units,
            activation,
            name="sharing",
        )
        super().__init__(features, tasks, sharing, name=name, **kwargs)
