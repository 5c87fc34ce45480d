"""How a layer takes what belongs to each row's own domain."""

import math

import keras
from keras import ops


def one_hot_domains(domain, domains: int, dtype: str):
    """Returns which domain a row is of, (batch, domains) of 0 and 1.

    Args:
        domain: Integer tensor of shape (batch,), in [0, domains).
        domains: Integer. Number of domains.
        dtype: String. Type of the result.

    Raises:
        ValueError: If the domains are no integers.
    """
    found = keras.backend.standardize_dtype(domain.dtype)
    if "int" not in found:  # 257 would be another number in bfloat16
        raise ValueError(f"domain must be a tensor of integers. Received: {found}.")
    return ops.one_hot(domain, domains, dtype=dtype)


def of_own_domain(x, chosen):
    """Returns of each row what is its own domain's.

    Products with 0 and 1 instead of a gather: the gradient of every other domain's
    part is 0, and there is no scatter to wait for.

    Args:
        x: Tensor of shape (batch, domains, ...).
        chosen: Tensor of shape (batch, domains), from `one_hot_domains`.

    Returns:
        Tensor of shape (batch, ...).
    """
    more = x.shape[2:]
    x = ops.reshape(x, (-1, x.shape[1], math.prod(more)))
    x = ops.squeeze(ops.matmul(ops.expand_dims(chosen, 1), x), 1)
    return ops.reshape(x, (-1, *more))
