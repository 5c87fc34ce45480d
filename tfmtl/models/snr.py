"""SNR: sub-network routing."""

import keras

from tfmtl.layers.structures.snr import SNR as SNRLayer
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class SNR(MultiTaskModel):
    """Levels of sub-networks whose connections learn to be on or off.

    Deviations from the paper: sizes and the penalty's weight, see the layer.

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        subnetworks: Integer. Sub-networks of each level. Defaults to 4.
        units: Tuple of tuples of integers. One entry a level: the layer widths of its
            sub-networks. Defaults to ((256,), (128,)).
        connection: "trans" (a matrix for each connection) or "aver". Defaults to
            "trans".
        penalty: Float. Weight of the expected number of open connections. Defaults to
            1e-4.
        activation: String or callable. Defaults to "relu".
        name: String. Defaults to "snr".
        **kwargs: `epnet`, `ppnet` and `interactions`, see `MultiTaskModel`.

    See Also: `tfmtl.layers.SNR` for the equations.

    References:
        - [SNR](https://doi.org/10.1609/aaai.v33i01.3301216)
    """

    def __init__(
        self,
        features,
        tasks,
        subnetworks=4,
        units=((256,), (128,)),
        connection="trans",
        penalty=1e-4,
        activation="relu",
        name="snr",
        **kwargs,
    ):
        names = [task.name for task in tasks]
        sharing = SNRLayer(
            names,
            subnetworks,
            units,
            connection,
            penalty,
            activation,
            name="sharing",
        )
        super().__init__(features, tasks, sharing, name=name, **kwargs)
