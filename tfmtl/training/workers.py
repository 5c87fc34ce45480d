"""Several workers: shares of a loss, sums, and who of them writes."""

import keras
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


def sum_over_replicas(values: list) -> list:
    """Returns what all replicas' tensors, or `tf.IndexedSlices`, add up to.

    None, which every replica must have at the same places, stays.
    """
    if _replicas() == 1 or tf.distribute.in_cross_replica_context():
        return values
    known = [value for value in values if value is not None]
    sums = iter(tf.distribute.get_replica_context().all_reduce("SUM", known))
    return [None if value is None else next(sums) for value in values]


def replica_share():
    """Returns 1 / number of replicas: the share of a loss that all of them add."""
    return 1.0 / _replicas()


def workers(model: keras.Model) -> int:
    """Returns the number of processes that train a model together."""
    resolver = getattr(model.distribute_strategy, "cluster_resolver", None)
    return sum(map(len, resolver.cluster_spec().as_dict().values())) if resolver else 1


def is_first_worker(model: keras.Model) -> bool:
    """Returns whether this process is the one of them that writes files."""
    resolver = getattr(model.distribute_strategy, "cluster_resolver", None)
    if resolver is None or not resolver.task_type:
        return True
    chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == ("chief" if chief else "worker") and (
        resolver.task_id == 0
    )


def _replicas():
    return tf.distribute.get_strategy().num_replicas_in_sync
