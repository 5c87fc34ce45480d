"""M3oE: experts of all, of the domains and of the tasks, fused on two levels."""

import keras

from tfmtl import layers
from tfmtl.models.domain_model import DomainModel, domain_rows


@keras.saving.register_keras_serializable("tfmtl.models")
class M3oE(DomainModel):
    """Multi-domain, multi-task Mixture-of-Experts; a tower for each task and domain.

    Deviations from the paper: see the layer; and no layer normalisation in the towers.

    Args:
        ppnet: Dict of options of `tfmtl.layers.PPNet`, which takes over the hidden
            layers of the towers, for all domains. Defaults to none.

    See Also: `tfmtl.layers.M3oE` for the equations.

    References:
        - [M3oE](https://arxiv.org/abs/2404.18465)
    """

    architecture = "m3oe"
    structure = layers.M3oE
    given = ("domains",)

    def __init__(self, features, tasks, *, activation="relu", **options):
        self.activation = activation  # which the base needs to build the towers
        super().__init__(features, tasks, activation=activation, **options)

    def make_tower(self, task, units, logits=1):
        """Returns the towers of a task, one a domain."""
        return layers.DomainTower(
            self.domains, units, self.activation, logits, name=f"{task}_tower"
        )

    def score(self, shared, inputs):
        """Maps {task: (batch, units)} to logits, each row by its domain's towers."""
        rows = domain_rows(self.domain, inputs)
        return {task: tower(shared[task], rows) for task, tower in self.towers.items()}
