"""How a tower's logit becomes a prediction, and back."""

import dataclasses
import math
from collections.abc import Callable

from keras import ops

_EPSILON = 1e-7
_LARGEST_LOGIT = 80.0  # whose exponential is still a float32


@dataclasses.dataclass(frozen=True)
class Link:
    """A rising function of the logit, whose values lie between `least` and `most`.

    Args:
        forward: Maps a float32 tensor of logits to predictions.
        inverse: Maps a float32 tensor of predictions to finite logits.
        of_number: The inverse for a Python float, strictly between the bounds.
        least: Float. What every prediction is above. Defaults to none.
        most: Float. What every prediction is below. Defaults to none.
    """

    forward: Callable
    inverse: Callable
    of_number: Callable
    least: float = -math.inf
    most: float = math.inf


def _logit(p):
    p = ops.clip(p, _EPSILON, 1 - _EPSILON)
    return ops.log(p) - ops.log1p(-p)


def _softplus_inverse(p):
    p = ops.maximum(p, _EPSILON)
    return p + ops.log(-ops.expm1(-p))


IDENTITY = Link(lambda z: z, lambda p: p, lambda p: p)
SIGMOID = Link(
    ops.sigmoid, _logit, lambda p: math.log(p) - math.log1p(-p), least=0, most=1
)
SOFTPLUS = Link(
    ops.softplus,
    _softplus_inverse,
    lambda p: p + math.log(-math.expm1(-p)),
    least=0,
)
EXP = Link(
    lambda z: ops.exp(ops.minimum(z, _LARGEST_LOGIT)),
    lambda p: ops.log(ops.maximum(p, _EPSILON)),
    math.log,
    least=0,
)
