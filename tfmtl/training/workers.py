"""What a model needs so that several workers learn as one would."""

import tensorflow as tf
from keras import ops


class LearnsOnWorkers:
    """Lets `fit` and `evaluate` run under `tf.distribute`, over several hosts too.

    Keras 3.15 runs `MirroredStrategy`, but two of its steps do not know that the
    replicas may live in several processes (`MultiWorkerMirroredStrategy`): this class
    replaces them. Make, compile and load the model in the strategy's scope.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing: the model has its weights from the start.

        Keras's own averages a batch over the workers to learn its shape, which fails
        for a dict of features.
        """

    def get_metrics_result(self):
        """Returns {metric: scalar}, or for one of several replicas {metric: (1,)}.

        Keras averages the replicas' results over their first axis, for progress bars
        and callbacks of batches. An epoch's result is that of all rows.
        """
        results = super().get_metrics_result()
        if _replicas() == 1 or tf.distribute.in_cross_replica_context():
            return results
        return {name: ops.reshape(value, (1,)) for name, value in results.items()}


def replica_shares(amounts):
    """Returns which share of each task's rows this replica has; 1 if it is alone.

    Replicas add up their gradients. So the mean over the rows of all of them is the
    sum of each one's mean, times its share.

    Args:
        amounts: {task: scalar tensor}, the weights of the rows of this replica.

    Returns:
        {task: float or scalar tensor}.

    Example:
    >>> replica_shares({"click": ops.ones(())})
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
