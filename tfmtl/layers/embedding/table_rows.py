"""Which row of a table an id has."""

import functools

import numpy as np
import tensorflow as tf
from keras import ops

from tfmtl.ids import NO_ID, as_integers


def rows_of_table(ids, feature, which=0):
    """Returns the int32 row of a feature's table for each id.

    Args:
        ids: Tensor of any shape, see `tfmtl.ids.as_integers` for its types. Of a
            feature with a `vocabulary`, its values.
        feature: `Categorical` with a vocabulary or buckets.
        which: Integer. Which of the feature's hash functions. Defaults to the first.
    """
    if feature.vocabulary is not None:
        return _rows_of_vocabulary(ids, feature)
    ids = as_integers(ids, feature.name)
    if feature.num_buckets is not None:
        if feature.num_hashes == 1:
            return ops.cast(ops.mod(ids, feature.num_buckets), "int32")
        rows = 1 + hash_bucket(ids, feature.num_buckets - 1, which)
        return ops.where(ops.equal(ids, 0), ops.zeros_like(rows), rows)
    known = ops.logical_and(ids >= 0, ids < feature.vocabulary_size)
    # Keras reads ids modulo 2**31 otherwise; tables stay below that size.
    rows = ops.cast(ops.where(known, ids, ops.zeros_like(ids)), "int32")
    if feature.oov_buckets:
        others = feature.vocabulary_size + hash_bucket(ids, feature.oov_buckets)
        rows = ops.where(known, rows, others)
    return rows


def _rows_of_vocabulary(values, feature):
    """Returns 1 + the place of each value in the vocabulary; 0 for all others."""
    values = tf.convert_to_tensor(values)
    keys = _keys(values, feature)
    known, places = _sorted_keys(feature.vocabulary)
    at = tf.searchsorted(known, tf.reshape(keys, (-1,)))
    at = tf.reshape(tf.minimum(at, len(known) - 1), tf.shape(keys))
    is_known = tf.gather(known, at) == keys
    if values.dtype.is_floating:  # NaN, which is no 0 either
        is_known &= values == values
    rows = tf.where(is_known, tf.gather(places, at), 0)
    if feature.oov_buckets:
        others = feature.vocabulary_size + hash_bucket(keys, feature.oov_buckets)
        missing = values == "" if feature.dtype == "string" else keys == NO_ID
        rows = tf.where(is_known | missing, rows, others)
    return tf.ensure_shape(rows, values.shape)


def _keys(values, feature):
    """Returns an int64 for each value: the integer itself, or a hash of the text."""
    if feature.dtype == "string":
        if values.dtype != tf.string:
            raise ValueError(
                f"Categorical {feature.name!r} takes the texts of its vocabulary. "
                f"Received: {values.dtype.name}."
            )
        return tf.strings.to_hash_bucket_fast(values, 2**63 - 1)
    return tf.cast(as_integers(values, feature.name), tf.int64)


@functools.lru_cache(maxsize=64)
def _sorted_keys(vocabulary):
    """Returns the keys of a vocabulary in order, int64, and the row of each, int32."""
    with tf.init_scope():
        if isinstance(vocabulary[0], str):
            keys = tf.strings.to_hash_bucket_fast(vocabulary, 2**63 - 1).numpy()
        else:
            keys = np.array(vocabulary, np.int64)
    order = np.argsort(keys)
    if len(np.unique(keys)) < len(keys):  # less likely than 1e-6 for a million values
        raise ValueError("Two values of a vocabulary have one hash; rename one.")
    return keys[order], (order + 1).astype(np.int32)


def hash_bucket(ids, buckets, which=0):
    """Returns an int32 bucket in [0, buckets) for each id, by one of many functions.

    Mixes the bits of id + (which + 1) c as SplitMix64 does, by shifts and products
    modulo 2**64. Buckets of different functions are independent of each other, and of
    patterns in the ids.

    Args:
        ids: Integer tensor.
        buckets: Integer. Number of buckets.
        which: Integer. Which function. Defaults to the first.

    Example:
    >>> hash_bucket(tf.constant([1, 2, 3]), 1000).numpy()
    array([232,  55, 526], dtype=int32)

    References:
        - Steele et al., Fast splittable pseudorandom number generators, 2014.
    """
    x = tf.cast(tf.cast(ids, tf.int64), tf.uint64)
    x += tf.constant((which + 1) * 0x9E3779B97F4A7C15 % 2**64, tf.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = tf.bitwise.bitwise_xor(x, _shift(x, shift))
        x *= tf.constant(factor, tf.uint64)
    x = tf.bitwise.bitwise_xor(x, _shift(x, 31))
    # The modulo of signed integers is the one that every device has.
    return tf.cast(tf.cast(_shift(x, 1), tf.int64) % buckets, tf.int32)


def _shift(x, bits):
    return tf.bitwise.right_shift(x, tf.constant(bits, tf.uint64))
