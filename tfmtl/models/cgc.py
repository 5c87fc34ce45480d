"""CGC: shared and task experts, one level of PLE."""

import keras

from tfmtl.layers.structures.ple import CGC as CGCLayer
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class CGC(MultiTaskModel):
    """Customized Gate Control: each task mixes its own experts and the shared ones.

    Deviations from the paper: its experts have one layer; here two by default, as deep
    as the two levels of PLE.

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        shared_experts: Integer, the number of DNN experts, or list of interactions,
            such as ["dnn", {"name": "cross_v2", "depth": 2}]. Defaults to 1.
        task_experts: The same for each task, or dict {task: the same}. Defaults to 1.
        expert_units: Tuple of integers. Layer widths of an expert. Defaults to
            (256, 128).
        activation: String or callable of the experts. Defaults to "relu".
        name: String. Defaults to "cgc".
        **kwargs: `epnet`, `ppnet` and `interactions`, see `MultiTaskModel`.

    See Also: `tfmtl.layers.CGC` for the equations.

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
    """

    def __init__(
        self,
        features,
        tasks,
        shared_experts=1,
        task_experts=1,
        expert_units=(256, 128),
        activation="relu",
        name="cgc",
        **kwargs,
    ):
        names = [task.name for task in tasks]
        sharing = CGCLayer(
            names,
            shared_experts,
            task_experts,
            expert_units,
            activation=activation,
            name="sharing",
        )
        super().__init__(features, tasks, sharing, name=name, **kwargs)
