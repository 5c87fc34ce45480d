"""STAR's partitioned normalisation: batch normalisation by domain."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.domains import one_hot_domains
from tfmtl.layers.blocks.layer import Layer


@keras.saving.register_keras_serializable("tfmtl")
class PartitionedNormalization(Layer):
    """Normalises each row by mean and variance of its domain.

        z' = gamma gamma_d (z - mu_d) / sqrt(var_d + epsilon) + beta + beta_d

    In training mu_d and var_d are those of the domain's rows in the batch, and move the
    ones that are kept; in inference they are the kept ones. Domain d's scale and shift
    start at 1 and 0.

    Deviations from the paper: a batch may hold several domains, its batches are of a
    single one. A domain that training has not met is normalised by the statistics of
    all rows. The first batch sets the kept ones, so that a rare domain is not
    normalised by numbers that no row has.

    Args:
        domains: Integer. Number of domains; ids are in [0, domains).
        momentum: Float. What a batch leaves of the kept statistics. Defaults to 0.99.
        epsilon: Float. Added to the variance. Defaults to 1e-3.

    Call arguments:
        inputs: Tensor of shape (batch, width).
        domain: Integer tensor of shape (batch,), the domain of each row.

    Output shape: (batch, width).

    Example:
    >>> ops = keras.ops
    >>> layer = PartitionedNormalization(2)
    >>> x = ops.array([[1.0], [3.0], [50.0], [50.0]])
    >>> out = layer(x, ops.array([0, 0, 1, 1]), training=True)
    >>> out.numpy().ravel().round(2).tolist()
    [-1.0, 1.0, 0.0, 0.0]

    References:
        - [STAR](https://arxiv.org/abs/2101.11427)
    """

    def __init__(self, domains, momentum=0.99, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        _errors.check_positive("domains", domains)
        _errors.check_ratio("momentum", momentum)
        _errors.check_number("epsilon", epsilon)
        self.domains = domains
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, inputs_shape, domain_shape=None):
        """Creates the scales, the shifts and the kept statistics."""
        _errors.check_rank(self, inputs_shape, 2)
        width = inputs_shape[-1]

        def learnt(name, shape, start):
            return self.add_weight(name=name, shape=shape, initializer=start)

        self.gamma = learnt("gamma", (width,), "ones")
        self.beta = learnt("beta", (width,), "zeros")
        self.domain_gamma = learnt("domain_gamma", (self.domains, width), "ones")
        self.domain_beta = learnt("domain_beta", (self.domains, width), "zeros")

        def kept(name, shape, start):
            return self.add_weight(
                name=name,
                shape=shape,
                initializer=start,
                trainable=False,
                autocast=False,
                aggregation="mean",
            )

        # The last row is that of all domains together.
        self.mean = kept("mean", (self.domains + 1, width), "zeros")
        self.variance = kept("variance", (self.domains + 1, width), "ones")
        self.seen = kept("seen", (self.domains + 1, 1), "zeros")

    def call(self, inputs, domain, training=None):
        """Maps (batch, width) and (batch,) to (batch, width)."""
        x = ops.cast(inputs, "float32")  # a mean in bfloat16 is off by a percent
        chosen = one_hot_domains(domain, self.domains, "float32")  # (B, D)
        statistics = self._of_batch(x, chosen) if training else self._kept()
        mean, variance = (ops.matmul(chosen, s[:-1]) for s in statistics)  # (B, W)
        x = (x - mean) * ops.rsqrt(variance + self.epsilon)
        x = ops.cast(x, self.compute_dtype)
        chosen = ops.cast(chosen, self.compute_dtype)
        gamma = self.gamma * ops.matmul(chosen, self.domain_gamma)
        beta = self.beta + ops.matmul(chosen, self.domain_beta)
        return gamma * x + beta

    def _of_batch(self, x, chosen):
        """Returns mean and variance of the batch, (domains + 1, width); keeps them."""
        ones = ops.ones_like(chosen[:, :1])
        members = ops.transpose(ops.concatenate([chosen, ones], axis=1))  # (D + 1, B)
        rows = ops.sum(members, axis=1, keepdims=True)  # (D + 1, 1)
        members = members / ops.maximum(rows, 1)
        mean = ops.matmul(members, x)
        # Of squares less the squared mean, nothing would be left of a small variance.
        own = ops.matmul(members[:-1], ops.square(x - ops.matmul(chosen, mean[:-1])))
        all_rows = ops.matmul(members[-1:], ops.square(x - mean[-1:]))
        variance = ops.concatenate([own, all_rows], axis=0)
        present = ops.cast(rows > 0, "float32")
        # How much of the batch goes in: all of a domain's first, none without rows.
        part = present * (1 - self.momentum * self.seen)
        for kept, found in ((self.mean, mean), (self.variance, variance)):
            kept.assign(kept + part * (found - kept))
        self.seen.assign(ops.maximum(self.seen, present))
        return mean, variance

    def _kept(self):
        """Returns the kept mean and variance, those of all rows for a domain unseen."""
        return tuple(
            ops.where(self.seen > 0, kept, kept[-1:])
            for kept in (self.mean, self.variance)
        )

    def compute_output_shape(self, inputs_shape, domain_shape):
        """Returns (batch, width)."""
        return tuple(inputs_shape)
