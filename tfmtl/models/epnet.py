"""EPNet: the embedding scaled by the domain, and one network a task."""

import keras

from tfmtl.layers.structures.shared_bottom import SeparateBottoms
from tfmtl.models.base import MultiTaskModel
from tfmtl.models.personalization import with_domain


@keras.saving.register_keras_serializable("tfmtl.models")
class EPNet(MultiTaskModel):
    """PEPNet without PPNet: `SharedTop` whose embedding EPNet scales by the domain.

    Any other architecture takes it too: `get("ple")(features, tasks, epnet={...})`.

    Args:
        domain: String. The categorical feature that tells the domain. Defaults to a
            single domain.
        domain_features: List of strings. Further features that EPNet's gate reads,
            such as statistics of the user or item in the domain. Defaults to none.
        units: Tuple of integers. Hidden layers of each task's network below its
            tower's; with the default tower, (64,), the default gives the paper's
            [100, 64]. Defaults to (100,).
        gamma: Float. The largest scale. Defaults to 2.
        hidden_units: Integer. Width of the gate's hidden layer. Defaults to the number
            of its outputs.
        field_wise: Boolean. One scale a feature instead of one a unit. Defaults to
            False.
        embedding_input: String. How the gate reads the embedding: "stop_gradient",
            "gradient" or "none". Defaults to "stop_gradient".

    See Also: `tfmtl.layers.EPNet` for the equations.

    References:
        - [PEPNet](https://arxiv.org/abs/2302.01115)
    """

    architecture = "epnet"
    structure = SeparateBottoms
    given = ("epnet",)

    def __init__(
        self,
        features,
        tasks,
        *,
        domain=None,
        domain_features=(),
        units=(100,),
        gamma=2.0,
        hidden_units=None,
        field_wise=False,
        embedding_input="stop_gradient",
        **options,
    ):
        epnet = {
            "domain_features": with_domain(features, domain, domain_features),
            "gamma": gamma,
            "hidden_units": hidden_units,
            "field_wise": field_wise,
            "embedding_input": embedding_input,
        }
        super().__init__(features, tasks, units=units, epnet=epnet, **options)
