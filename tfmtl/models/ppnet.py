"""PPNet: one network a task, its hidden units scaled by user and item."""

import keras

from tfmtl.layers.structures.shared_bottom import SharedBottom
from tfmtl.models.base import MultiTaskModel
from tfmtl.models.personalization import with_domain


@keras.saving.register_keras_serializable("tfmtl.models")
class PPNet(MultiTaskModel):
    """PEPNet without EPNet: `SharedTop` whose hidden units PPNet scales.

    Any other architecture takes it too: `get("ple")(features, tasks, ppnet={...})`.

    Args:
        domain: String. A categorical feature that PPNet's gates read beside the prior
            features. The paper leaves the domain to EPNet; without EPNet it has to be
            named here if the scales shall depend on it. Defaults to a single domain.
        prior_features: List of strings. Features of the user, the item and its author.
            Defaults to none: the gates depend on the embedding alone.
        units: Tuple of integers. Hidden layers of each task's network below its
            tower's; with the default tower, (64,), the default gives the paper's
            [100, 64]. Defaults to (100,).
        gamma: Float. The largest scale. Defaults to 2.
        hidden_units: Integer. Width of each gate's hidden layer. Defaults to the
            number of its outputs.
        embedding_input: String. How the gates read the embedding: "stop_gradient",
            "gradient" or "none". Defaults to "stop_gradient".
        activation: String or callable of the networks. Defaults to "relu".

    See Also: `tfmtl.layers.PPNet` for the equations.

    References:
        - [PEPNet](https://arxiv.org/abs/2302.01115)
    """

    architecture = "ppnet"
    given = ("ppnet",)

    def __init__(
        self,
        features,
        tasks,
        *,
        domain=None,
        prior_features=(),
        units=(100,),
        gamma=2.0,
        hidden_units=None,
        embedding_input="stop_gradient",
        activation="relu",
        **options,
    ):
        names = [task.name for task in tasks]
        ppnet = {
            "units": units,
            "prior_features": with_domain(features, domain, prior_features),
            "gamma": gamma,
            "hidden_units": hidden_units,
            "embedding_input": embedding_input,
            "activation": activation,
        }
        # Each task's network reads the embedding itself.
        sharing = SharedBottom(names, units=(), name="sharing")
        super().__init__(features, tasks, sharing, ppnet=ppnet, **options)
