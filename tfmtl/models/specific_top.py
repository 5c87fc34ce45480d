"""Specific top: domains share the embedding, and have towers of their own."""

import keras

from tfmtl import _errors
from tfmtl.features import check_domain
from tfmtl.layers.structures.domain_tower import DomainTower
from tfmtl.layers.structures.shared_bottom import SharedBottom
from tfmtl.models.base import MultiTaskModel
from tfmtl.models.domain_model import domain_rows


@keras.saving.register_keras_serializable("tfmtl.models")
class SpecificTop(MultiTaskModel):
    """One embedding for all domains, and above it one network a task and domain.

        y_k = t_{k,d}(e(x)),  d the row's domain

    A row moves the towers of its own domain only. Id 0, "missing or unknown", has a
    tower too, which has learnt nothing unless the training data hold such rows.

    Reconstruction: the paper names the baseline "domain-specific towers" and gives
    two hidden layers of [100, 64] for all models; the rest is our reading.

    Args:
        domain: String. The categorical feature that tells the domain; each row of its
            table has towers. Defaults to a single domain.
        units: Tuple of integers. Hidden layers of each tower below those that the task
            declares; with its default, (64,), the default gives the paper's [100, 64].
            Defaults to (100,).
        activation: String or callable of the hidden layers. Defaults to "relu".
        ppnet: Dict of options of `tfmtl.layers.PPNet`, which takes over the layers that
            the task declares, for all domains, below those of `units`. Defaults to
            none.

    See Also: `tfmtl.layers.DomainTower`; `SharedTop`, whose towers all domains share.

    References:
        - [PEPNet](https://arxiv.org/abs/2302.01115), table 2.
    """

    architecture = "specific_top"

    def __init__(
        self,
        features,
        tasks,
        *,
        domain=None,
        units=(100,),
        activation="relu",
        **options,
    ):
        # The base builds the towers and calls the model, so these come first.
        self.domain = check_domain(features, domain)
        self.units = _errors.check_units("units", units)
        self.activation = activation
        names = [task.name for task in tasks]
        sharing = SharedBottom(names, units=(), name="sharing")
        super().__init__(features, tasks, sharing, **options)

    def make_tower(self, task, units, logits=1):
        """Returns the towers of a task, one a domain."""
        domains = self.domain.table_size if self.domain else 1
        units = (*self.units, *units)
        return DomainTower(
            domains, units, self.activation, logits, name=f"{task}_tower"
        )

    def score(self, shared, inputs):
        """Maps {task: (batch, units)} to logits, each row by its domain's towers."""
        rows = domain_rows(self.domain, inputs)  # (B,)
        return {name: tower(shared[name], rows) for name, tower in self.towers.items()}
