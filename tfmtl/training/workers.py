"""Shares of a loss, so that several workers learn as one would."""

import tensorflow as tf


def replica_shares(amounts):
    """Returns which share of each task's rows this replica has; 1 if it is alone.

    Replicas add up their gradients. So the mean over the rows of all of them is the
    sum of each one's mean, times its share.

    Args:
        amounts: {task: scalar tensor}, the weights of the rows of this replica.

    Returns:
        {task: float or scalar tensor}.

    Example:
    >>> replica_shares({"click": tf.ones(())})
    {'click': 1.0}
    """
    if _replicas() == 1 or tf.distribute.in_cross_replica_context():
        return dict.fromkeys(amounts, 1.0)
    own = tf.stack([tf.cast(amount, "float32") for amount in amounts.values()])
    total = tf.distribute.get_replica_context().all_reduce("SUM", own)
    shares = tf.unstack(own / tf.maximum(total, 1e-9))
    return dict(zip(amounts, shares, strict=True))


def replica_share():
    """Returns 1 / number of replicas: the share of a loss that all of them add."""
    return 1.0 / _replicas()


def _replicas():
    return tf.distribute.get_strategy().num_replicas_in_sync
