"""PLE: shared and task experts, extracted progressively."""

import keras

from tfmtl.layers.structures.ple import PLE as PLELayer
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class PLE(MultiTaskModel):
    """Progressive Layered Extraction.

    Deviations from the paper: number and width of experts are not given there. Two
    levels are its own choice for all models of several levels.

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        shared_experts: Integer, the number of DNN experts of each level, or list of
            interactions, such as ["dnn", {"name": "cross_v2", "depth": 2}]. Defaults
            to 1.
        task_experts: The same for each task, or dict {task: the same}. Defaults to 1.
        expert_units: Tuple of tuples of integers. One entry a level: the layer widths
            of its experts. Defaults to ((256,), (128,)).
        activation: String or callable of the experts. Defaults to "relu".
        name: String. Defaults to "ple".
        **kwargs: `epnet`, `ppnet` and `interactions`, see `MultiTaskModel`.

    See Also: `tfmtl.layers.PLE` for the equations.

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
    """

    def __init__(
        self,
        features,
        tasks,
        shared_experts=1,
        task_experts=1,
        expert_units=((256,), (128,)),
        activation="relu",
        name="ple",
        **kwargs,
    ):
        names = [task.name for task in tasks]
        sharing = PLELayer(
            names,
            shared_experts,
            task_experts,
            expert_units,
            activation,
            name="sharing",
        )
        super().__init__(features, tasks, sharing, name=name, **kwargs)
