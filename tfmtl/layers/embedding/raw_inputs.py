"""What stands in the inputs of an embedding, as ids and numbers of one shape."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfmtl.features import Numeric, NumericSequence, Vector, column_of
from tfmtl.ids import as_integers


def read(feature, owner, inputs):
    """Returns (B,) ids or numbers, a (B, L) list or a (B, dim) vector.

    Args:
        feature: The feature.
        owner: The feature in whose table its ids are looked up; None of numbers.
        inputs: Dict {name: tensor}.
    """
    x = tf.convert_to_tensor(column_of(feature.name, inputs))
    if feature.shape:
        if x.shape[1:] != feature.shape:
            raise ValueError(
                f"{type(feature).__name__} {feature.name!r} must have shape "
                f"(batch, {feature.shape[0]}). Received: {tuple(x.shape)}."
            )
    elif x.shape.rank is not None and x.shape[1:] not in ((), (1,), (None,)):
        raise ValueError(
            f"{type(feature).__name__} {feature.name!r} must have shape (batch,) "
            f"or (batch, 1). Received: {tuple(x.shape)}."
        )
    if isinstance(feature, Vector | NumericSequence):
        return x
    if isinstance(feature, Numeric):
        return x if x.shape.rank == 1 else tf.reshape(x, (-1,))
    if owner.vocabulary is None:
        x = as_integers(x, feature.name)
    if feature.shape or x.shape.rank == 1:
        return x
    return tf.reshape(x, (-1,))


def read_weights(feature, inputs, dtype):
    """Returns the (B, L) weights of several values, of a dtype.

    They are 0 where they are not above 0, or not finite.
    """
    weights = tf.convert_to_tensor(column_of(feature.weights, inputs))
    if weights.shape[1:] != feature.shape:
        raise ValueError(
            f"Weights {feature.weights!r} of {feature.name!r} must have shape "
            f"(batch, {feature.max_length}). Received: {tuple(weights.shape)}."
        )
    weights = ops.cast(weights, _wide(dtype))
    counts = ops.logical_and(ops.isfinite(weights), weights > 0)
    weights = ops.where(counts, weights, ops.zeros_like(weights))
    return tf.saturate_cast(weights, dtype)


def scaled_numbers(features, x, dtype):
    """Returns numbers (F, B) less their mean over their deviation, in float32 or wider.

    Args:
        features: List of `Numeric`.
        x: Dict {name: tensor (B,)}.
        dtype: String. In which is computed afterwards.
    """
    # All at once: a few ops, however many the features.
    numbers = ops.stack([ops.cast(x[f.name], _wide(dtype)) for f in features])
    if any(f.normalization for f in features):
        pairs = [f.normalization or (0.0, 1.0) for f in features]
        means, deviations = np.array(pairs, _wide(dtype)).T[..., None]  # (F, 1) each
        numbers = (numbers - means) / deviations
    return numbers


def finite_numbers(features, x, dtype):
    """Returns {name: (B, 1)}: scaled numbers, 0 where they are not finite."""
    if not features:
        return {}
    numbers = ops.expand_dims(scaled_numbers(features, x, dtype), -1)  # (F, B, 1)
    known = ops.isfinite(numbers)
    numbers = ops.where(known, numbers, ops.zeros_like(numbers))
    numbers = ops.unstack(tf.saturate_cast(numbers, dtype))
    return {f.name: n for f, n in zip(features, numbers, strict=True)}


def _wide(dtype):
    return keras.backend.result_type(dtype, "float32")
