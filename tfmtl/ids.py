"""Ids of any type, as the integers that name rows of tables and groups of rows."""

import tensorflow as tf

# What stands for a missing integer where 0 may be a value, as of a vocabulary.
NO_ID = -(2**63)

# Bits of a whole number that a float of the type holds exactly.
_EXACT_BITS = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}


def as_integers(ids, name: str):
    """Returns ids as int32 or int64, in which an id is the same whatever its type was.

    Integers and booleans keep their value, but that uint64 keeps its 64 bits: an id of
    2**63 or more becomes the negative one that `ids.astype("int64")` gives in NumPy.
    Narrower integers are widened, so that an id may be compared with the size of any
    table.

    Floats, such as a pandas column with gaps has, must be whole and below 2**24 in
    float32, 2**53 in float64: from there on ids that differ are one number. NaN is 0,
    missing.

    Args:
        ids: Tensor of integers, booleans or floats, of any shape.
        name: String. What the ids are of, for the message.

    Raises:
        ValueError: If a float is no id. Inside a graph it is an
            `InvalidArgumentError`; a graph that XLA compiles cannot refuse it, and
            takes it for 0.

    Example:
    >>> as_integers(tf.constant([3.0, float("nan")]), "item").numpy()
    array([3, 0])
    >>> as_integers(tf.constant([2**64 - 1], tf.uint64), "item").numpy()
    array([-1])
    """
    ids = tf.convert_to_tensor(ids)
    if ids.dtype in (tf.int32, tf.int64):
        return ids
    if ids.dtype == tf.uint64:
        return tf.bitcast(ids, tf.int64)
    if not ids.dtype.is_floating:
        return tf.cast(ids, tf.int64)
    bits = _EXACT_BITS[ids.dtype.name]
    is_id = (tf.abs(ids) < 2.0**bits) & (tf.round(ids) == ids)  # False for NaN
    allowed = is_id | tf.math.is_nan(ids)
    rule = (
        f"Ids of type {ids.dtype.name} must be whole numbers below 2**{bits}, from "
        f"where on ids that differ are one number. Give {name!r} as int64. Received:"
    )
    refused = tf.reduce_max(tf.abs(tf.where(allowed, tf.zeros_like(ids), ids)))
    if not tf.executing_eagerly():
        tf.debugging.Assert(tf.reduce_all(allowed), [rule, refused])
    elif not tf.reduce_all(allowed):
        raise ValueError(f"{rule} {float(refused)!r}.")
    return tf.cast(tf.where(is_id, ids, tf.zeros_like(ids)), tf.int64)
