"""PEPNet: embedding scaled by the domain, task networks by user and item."""

import keras

from tfmtl.layers.structures.shared_bottom import SharedBottom
from tfmtl.models.base import MultiTaskModel
from tfmtl.models.personalization import with_domain


@keras.saving.register_keras_serializable("tfmtl.models")
class PEPNet(MultiTaskModel):
    """Parameter and Embedding Personalized Network, for many domains and tasks.

        E, the embedding -> EPNet -> O_ep -> one network a task, scaled by PPNet

    EPNet scales the embedding by the domain, PPNet the hidden units of every task's
    network by user, item and author. Both around any other architecture:
    `get("ple")(features, tasks, epnet={...}, ppnet={...})`.

    Reconstruction: the width of the gates' hidden layers is not given in the paper;
    `tfmtl.layers.GateNU` says what we take.

    Args:
        domain: String. The categorical feature that tells the domain. Defaults to a
            single domain.
        domain_features: List of strings. Further features that EPNet's gate reads,
            such as statistics of the user or item in the domain. Defaults to none.
        prior_features: List of strings. Features of the user, the item and its author,
            which PPNet's gates read. Defaults to none: the gates depend on the scaled
            embedding alone.
        units: Tuple of integers. Hidden layers of each task's network below its
            tower's; with the default tower, (64,), the default gives the paper's
            [100, 64]. Defaults to (100,).
        gamma: Float. The largest scale of all gates. Defaults to 2.
        hidden_units: Integer. Width of each gate's hidden layer. Defaults to the
            number of its outputs.
        field_wise: Boolean. Whether EPNet has one scale a feature instead of one a
            unit. Defaults to False.
        embedding_input: String. How the gates read the embedding: "stop_gradient",
            "gradient" or "none". Defaults to "stop_gradient".
        activation: String or callable of the networks. Defaults to "relu".

    See Also: `tfmtl.layers.EPNet` and `tfmtl.layers.PPNet` for the equations.

    References:
        - [PEPNet](https://arxiv.org/abs/2302.01115)
    """

    architecture = "pepnet"
    given = ("epnet", "ppnet")

    def __init__(
        self,
        features,
        tasks,
        *,
        domain=None,
        domain_features=(),
        prior_features=(),
        units=(100,),
        gamma=2.0,
        hidden_units=None,
        field_wise=False,
        embedding_input="stop_gradient",
        activation="relu",
        **options,
    ):
        names = [task.name for task in tasks]
        gates = {
            "gamma": gamma,
            "hidden_units": hidden_units,
            "embedding_input": embedding_input,
        }
        epnet = {
            "domain_features": with_domain(features, domain, domain_features),
            "field_wise": field_wise,
            **gates,
        }
        ppnet = {
            "units": units,
            "prior_features": prior_features,
            "activation": activation,
            **gates,
        }
        # Each task's network reads the scaled embedding itself.
        sharing = SharedBottom(names, units=(), name="sharing")
        super().__init__(features, tasks, sharing, epnet=epnet, ppnet=ppnet, **options)
