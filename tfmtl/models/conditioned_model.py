"""What the architectures have in common whose weights depend on some features."""

from keras import ops

from tfmtl import _errors
from tfmtl.models.base import MultiTaskModel
from tfmtl.models.personalization import with_domain


class ConditionedModel(MultiTaskModel):
    """A model whose sharing structure reads the embedding of some features twice.

    The structure is called as `structure(inputs, condition)`: all features, and beside
    them those that tell the domain, (batch, width of the condition). Without any the
    condition is `None`, and the structure says what then stands for it.

    Args:
        domain: String. The categorical feature that tells the domain. Defaults to none.
        domain_features: List of strings. Further features of the condition, such as
            statistics of the user or item in the domain. Defaults to none.
    """

    def __init__(self, features, tasks, *, domain=None, domain_features=(), **options):
        if isinstance(domain_features, str):
            raise ValueError(
                "domain_features must be a list of feature names. Received: "
                f"{domain_features!r}."
            )
        names = with_domain(features, domain, domain_features)
        for name in names:
            _errors.check_choice("domain_features", name, [f.name for f in features])
        self.domain_features = tuple(names)
        super().__init__(features, tasks, **options)

    def share(self, vectors, inputs, training=None):
        """Maps {feature: (batch, dim)} to {task: (batch, units)}, by the condition."""
        condition = None
        if self.domain_features:
            parts = [vectors[name] for name in self.domain_features]
            condition = ops.concatenate(parts, axis=-1)  # (B, width of the condition)
        return self.sharing(self.joined(vectors), condition, training=training)
