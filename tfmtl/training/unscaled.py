"""A warning, once, of numbers that a network learns badly from."""

import functools
import warnings

import numpy as np
import tensorflow as tf

from tfmtl.features import Feature, Numeric

_FAR = 10.0
# Of a column that is scaled by its mean and deviation, 1 % at most is beyond 10. In a
# small batch that may be one value, which alone says nothing.
_SHARE = 0.05
_LISTED = 5


def warn_if_unscaled(x: dict, features: list[Feature], step: tf.Tensor) -> None:
    """Warns at the first step if numbers that are used as they are lie far beyond 10.

    A comparison a step is all that it costs afterwards.

    Args:
        x: Dict {feature: tensor}, a batch.
        features: List of features.
        step: Integer tensor. Steps that were done; at 0 the numbers are looked at.
    """
    names = [f.name for f in features if isinstance(f, Numeric) and not f.is_scaled]
    if not names:
        return

    def look():
        columns = [tf.cast(tf.reshape(x[name], (-1,)), "float64") for name in names]
        # In Python, for a graph cannot warn.
        tf.numpy_function(functools.partial(_warn, names), columns, [])
        return True

    tf.cond(tf.equal(step, 0), look, lambda: False)


def _warn(names: list[str], *columns: np.ndarray) -> None:
    found = []
    for name, column in zip(names, columns, strict=True):
        known = column[np.isfinite(column)]
        if np.sum(np.abs(known) > _FAR) > max(1, _SHARE * known.size):
            found.append(f"{name!r} (median {np.median(known):.4g})")
    if found:
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        warnings.warn(
            "Numbers that are used as they are should lie around 0 with a spread of "
            f"about 1. In the first batch, more than {_SHARE:.0%} are beyond "
            f"{_FAR:g} in: {', '.join(found[:_LISTED])}{more}. Training may start at a "
            "huge loss, or learn nothing. Scale them, or declare "
            "Numeric(name, normalization=(mean, std)) or Numeric(name, "
            "boundaries=tfmtl.quantile_boundaries(column)).",
            stacklevel=2,
        )
