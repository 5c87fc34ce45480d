"""From TFRecords to batches that `fit` takes."""

import glob
import os
from collections.abc import Sequence as Items

import tensorflow as tf

from tfmtl.features import Categorical, Feature, Sequence, check_features
from tfmtl.tasks import Task, check_tasks


def read(
    files: str | Items[str],
    features: list[Feature],
    tasks: list[Task],
    batch_size: int,
    shuffle: int = 0,
    seed: int | None = None,
    drop_remainder: bool = False,
    rows: int | None = None,
    start: int | None = None,
) -> tf.data.Dataset:
    """Reads TFRecords of `tf.Example` with named features.

    The records must hold every feature under its name (int64 ids, float numbers), every
    label and every column of a space, row weight or duration (float, NaN = missing), as
    the pipeline's Transform writes them.

    Args:
        files: A glob pattern, or a list of paths. Names in ".gz" are gzip files.
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        batch_size: Rows of a batch.
        shuffle: Records in the shuffle buffer; 0 keeps the order of the files.
        seed: Of the shuffling; each epoch differs, but two runs do not. Files are then
            read in turn; without a seed, whichever is ready.
        drop_remainder: Whether a last batch that is not full is left out. One size of
            batches saves a compilation in training.
        rows: Records in all files, if known: Keras then knows the steps of an epoch
            from the start, and does not take the end of the first for missing data.
        start: Batches that are done with. The dataset is then endless, epoch after
            epoch, for `fit(steps_per_epoch=...)`, and goes on behind them. The order
            of an epoch follows from `seed` and its number alone, so that a `fit` that
            was killed sees what it would have seen. Without `rows`, what is done with
            is read again to be skipped.

    Returns:
        A dataset of (features, labels), dicts of tensors. Ids of a vocabulary are
        int32, those of buckets, which may be of any size, int64.

    Raises:
        FileNotFoundError: If no file is there.
        ValueError: If plain and gzip files are mixed, or a shuffled order shall go on
            that no seed tells.
    """
    check_features(features)
    check_tasks(tasks)
    if isinstance(files, str | os.PathLike):
        files, pattern = sorted(glob.glob(os.fspath(files))), files
        if not files:
            raise FileNotFoundError(f"No file matches {pattern!r}.")
    zipped = {os.fspath(file).endswith(".gz") for file in files}
    if len(zipped) != 1:
        raise ValueError(
            "Files must be all gzip (.gz) or all plain, and at least one. Received: "
            f"{list(files)}."
        )
    compression = "GZIP" if zipped.pop() else ""
    if start is not None and shuffle and seed is None:
        raise ValueError(
            "`start` needs a `seed`: without one, the order before it is not known."
        )
    names = [os.fspath(file) for file in files]

    def batches(seed):
        dataset = tf.data.Dataset.from_tensor_slices(names)
        if shuffle:
            dataset = dataset.shuffle(len(names), seed=seed).interleave(
                lambda file: tf.data.TFRecordDataset(file, compression),
                cycle_length=4,
                # Record by record, threads take longer to take turns than to read.
                block_length=64,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=seed is not None,
            )
            # Serialized records shuffle several times faster than parsed ones.
            dataset = dataset.shuffle(shuffle, seed=seed)
        else:
            dataset = dataset.flat_map(
                lambda file: tf.data.TFRecordDataset(file, compression)
            )
        if rows is not None:
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(rows))
        return dataset.batch(batch_size, drop_remainder=drop_remainder)

    if start is None:
        dataset = batches(seed)
    else:
        epoch, done = 0, start
        if rows is not None:
            steps = rows // batch_size if drop_remainder else -(-rows // batch_size)
            epoch, done = divmod(start, steps)

        def batches_of(epoch):
            # Of this function's graph alone: the order shall not depend on the global
            # seed. (And a global seed of 0 with a tensor for a seed is an error.)
            tf.random.set_seed(1)
            # The factor keeps apart the epochs of neighbouring seeds.
            return batches(None if seed is None else seed * 1_000_003 + epoch)

        dataset = tf.data.Dataset.range(epoch, tf.int64.max).flat_map(batches_of)
        dataset = dataset.skip(done)
    spec, is_label = _spec(features, tasks)
    vocabularies = _vocabularies(features)

    def parse(records):
        row = tf.io.parse_example(records, spec)
        for name, size in vocabularies.items():
            # An id that int32 cannot hold stays one that the vocabulary lacks.
            row[name] = tf.cast(tf.clip_by_value(row[name], -1, size), tf.int32)
        labels = {name: row[name] for name in is_label}
        return {f.name: row[f.name] for f in features}, labels

    options = tf.data.Options()
    # Under tf.distribute, workers share out each batch, and not the files: so they
    # learn as one worker would with the whole batch.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    return (
        dataset.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )


def _spec(features, tasks):
    """Returns the parsing spec, and the names in it that go with the labels."""
    spec = {f.name: tf.io.FixedLenFeature(f.shape, f.dtype) for f in features}
    names = {task.name for task in tasks}
    columns = [task.label for task in tasks]
    columns += [task.space for task in tasks if task.space not in names]
    columns += [column for t in tasks for column in (t.row_weight, t.duration)]
    is_label = [name for name in dict.fromkeys(columns) if name and name not in spec]
    spec |= {name: tf.io.FixedLenFeature((), tf.float32) for name in is_label}
    return spec, is_label


def _vocabularies(features):
    """Returns {feature: vocabulary size} where an id outside is just unknown."""
    plain = {
        feature.name: feature.vocabulary_size
        for feature in features
        if isinstance(feature, Categorical) and feature.has_plain_ids
    }
    sequences = [feature for feature in features if isinstance(feature, Sequence)]
    return plain | {f.name: plain[f.of] for f in sequences if f.of in plain}
