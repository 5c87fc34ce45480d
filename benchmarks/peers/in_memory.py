"""Batches in memory, for libraries on TensorFlow."""

import tensorflow as tf


def trained(model, case: dict, columns: dict, labels: dict) -> tuple:
    """Returns what `worker.serve` wants of a compiled Keras model.

    Args:
        model: The model.
        case: Its `batch` counts.
        columns: {feature: array (rows, ...)}.
        labels: {task: array (rows, ...)}.
    """
    data = dataset(columns, labels, case["batch"], drop_remainder=True)
    examples = int(data.cardinality()) * case["batch"]
    return model.count_params(), examples, lambda: model.fit(data, epochs=1, verbose=0)


def dataset(x: dict, y: dict, batch: int, drop_remainder: bool = False):
    """Returns a `tf.data.Dataset` of (x, y), batched before the first epoch.

    tf.data's tuner is off: there is nothing to tune here, and as it wakes 10, 30, ...
    630, 1270 ms after an epoch has begun, it can hold up the end until it wakes again.

    Args:
        x: {feature: array (rows, ...)}.
        y: {task: array (rows, ...)}.
        batch: Rows of a batch.
        drop_remainder: Whether to leave out a last batch of fewer rows.
    """
    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    rows = tf.data.Dataset.from_tensor_slices((x, y))
    batches = rows.batch(batch, drop_remainder=drop_remainder)
    return batches.cache().prefetch(2).with_options(untuned)
