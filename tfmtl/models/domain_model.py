"""What the architectures for several domains have in common."""

from keras import ops

from tfmtl.features import check_domain
from tfmtl.layers.embedding.table_rows import rows_of_table
from tfmtl.models.base import MultiTaskModel


class DomainModel(MultiTaskModel):
    """A model whose sharing structure reads each row's domain.

    The structure takes `domains`, their number, which a subclass names in `given`, and
    is called as `structure(inputs, domain)`, domain being integers (batch,).

    Args:
        domain: String. The categorical feature that tells the domain; each row of its
            table is one, row 0 that of missing and unknown ids. Defaults to a single
            domain.
    """

    def __init__(self, features, tasks, *, domain=None, **options):
        self.domain = check_domain(features, domain)
        self.domains = self.domain.table_size if self.domain else 1
        super().__init__(features, tasks, domains=self.domains, **options)

    def share(self, vectors, inputs, training=None):
        """Maps {feature: (batch, dim)} to {task: (batch, units)}, by domain."""
        domain = domain_rows(self.domain, inputs)
        return self.sharing(self.joined(vectors), domain, training=training)


def domain_rows(domain, inputs):
    """Returns the domain of each row, integers (batch,).

    Args:
        domain: `Categorical`, or None for a single domain.
        inputs: Dict {feature: tensor}.
    """
    if domain is None:
        first = next(iter(inputs.values()))
        return ops.zeros(ops.shape(first)[:1], "int32")
    return rows_of_table(ops.reshape(inputs[domain.name], (-1,)), domain)
