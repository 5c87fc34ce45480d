"""STAR: one network of star topology for all domains."""

import keras

from tfmtl import layers
from tfmtl.layers.structures.ple import SHARED
from tfmtl.models.domain_model import DomainModel, domain_rows


@keras.saving.register_keras_serializable("tfmtl.models")
class STAR(DomainModel):
    """Star Topology Adaptive Recommender: a shared network times the domain's own.

        logit_k = t_{k,d}(h_d(z)) + v_k s(z)

    where every layer of h and of the tower t_k is a star, d is the row's domain, and s
    the auxiliary network, which reads the domain's embedding like any other.

    Deviations from the paper: it has one task; here h and s serve all tasks, and each
    has a tower t_k of its own.

    Args:
        ppnet: Dict of options of `tfmtl.layers.PPNet`, which takes over the hidden
            layers of the towers, for all domains. Defaults to none.

    See Also: `tfmtl.layers.STAR` for the equations.

    References:
        - [STAR](https://arxiv.org/abs/2101.11427)
    """

    architecture = "star"
    structure = layers.STAR
    given = ("domains",)

    def __init__(self, features, tasks, *, activation="relu", **options):
        # The base builds the towers and calls the model, so these come first.
        self.activation = activation
        self.auxiliary_logits = {}
        super().__init__(features, tasks, activation=activation, **options)

    def make_tower(self, task, units, logits=1):
        """Returns a task's tower, of star topology."""
        if self.sharing.auxiliary:
            self.auxiliary_logits[task] = keras.layers.Dense(
                logits, use_bias=False, name=f"{task}_auxiliary"
            )
        return layers.StarTower(
            self.domains, units, self.activation, logits, name=f"{task}_tower"
        )

    def score(self, shared, inputs):
        """Maps {task: (batch, units)} to logits, the auxiliary network's added."""
        rows = domain_rows(self.domain, inputs)
        logits = {
            name: tower(shared[name], rows) for name, tower in self.towers.items()
        }
        for name, auxiliary in self.auxiliary_logits.items():
            logits[name] = logits[name] + auxiliary(shared[SHARED])
        return logits
