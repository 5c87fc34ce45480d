"""From TFRecords to batches that `fit` takes."""

import glob
import math
import os
from collections.abc import Sequence as Items

import numpy as np
import tensorflow as tf

from tfmtl.features import (
    Categorical,
    Feature,
    Sequence,
    check_features,
    input_specs,
)
from tfmtl.tasks import Task, check_tasks, columns_beside

_PARSED = 8192  # rows, about, that are parsed at a time
# No branch below depends on a tensor: AutoGraph would take its second for nothing.
_as_it_stands = tf.autograph.experimental.do_not_convert


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
    shard: tuple[int, int] | None = None,
) -> tf.data.Dataset:
    """Reads TFRecords of `tf.Example` with named features.

    The records must hold every feature under its name (int64 ids, float numbers), every
    label and every column of a space, row weight or duration (float, NaN = missing), as
    the pipeline's Transform writes them. A record holds one row, or the same columns of
    many rows one after the other, which are read several times faster.

    Args:
        files: A glob pattern, or a list of paths. Names in ".gz" are gzip files.
        features: List of features.
        tasks: List of `Task`.
        batch_size: Rows of a batch.
        shuffle: Rows that are read ahead and put in random order; 0 keeps the order of
            the files. Several files are read at a time, in random order too.
        seed: Of the shuffling; each epoch differs, but two runs do not. Files are then
            read in turn; without a seed, whichever is ready.
        drop_remainder: Whether a last batch that is not full is left out. One size of
            batches saves a compilation in training.
        rows: Rows in all files, if known: Keras then knows the steps of an epoch
            from the start, and does not take the end of the first for missing data.
        start: Batches that are done with. The dataset is then endless, epoch after
            epoch, for `fit(steps_per_epoch=...)`, and goes on behind them. The order
            of an epoch follows from `seed` and its number alone, so that a `fit` that
            was killed sees what it would have seen. Without `rows`, what is done with
            is read again to be skipped.
        shard: (i, n): only the i-th of n shares is read, for the i-th of n workers,
            from 0. With n files or more it is every n-th file, else every n-th record.
            `rows` are those of the share. Defaults to all.

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
    shard = _checked_shard(shard)
    if len(names) >= shard[1]:
        names, shard = names[shard[0] :: shard[1]], (0, 1)

    inputs = input_specs(features)
    spec, is_label = _spec(inputs, tasks)
    vocabularies = _vocabularies(features)
    records_at_once = max(1, _PARSED // _rows_of_first(names[0], compression, spec))

    @_as_it_stands
    def parse(records):
        columns = _columns(records, spec)
        # An id that int32 cannot hold stays one that the vocabulary lacks.
        for shape in {spec[name][0] for name in vocabularies}:
            group = [name for name in vocabularies if spec[name][0] == shape]
            sizes = np.reshape(
                [vocabularies[n] for n in group], (-1, 1, *[1] * len(shape))
            )
            ids = tf.clip_by_value(tf.stack([columns[n] for n in group]), -1, sizes)
            ids = tf.unstack(tf.cast(ids, tf.int32), num=len(group))
            columns |= zip(group, ids, strict=True)
        labels = {name: columns[name] for name in is_label}
        return {name: columns[name] for name in inputs}, labels

    @_as_it_stands
    def permute(columns, seed):
        count = tf.shape(tf.nest.flatten(columns)[0])[0]
        order = tf.random.experimental.stateless_shuffle(tf.range(count), [seed, 0])
        return tf.nest.map_structure(lambda column: tf.gather(column, order), columns)

    @_as_it_stands
    def records_of(file):
        return tf.data.TFRecordDataset(file, compression).shard(shard[1], shard[0])

    if shard[1] > 1 and not any(True for n in names for _ in records_of(n).take(1)):
        raise ValueError(
            f"Share {shard[0]} of {shard[1]} holds no record, as there are fewer than "
            "shares. Take fewer of them."
        )

    def batches(seed):
        """One epoch."""
        dataset = tf.data.Dataset.from_tensor_slices(names)
        if shuffle:
            dataset = dataset.shuffle(len(names), seed=seed).interleave(
                records_of,
                cycle_length=4,
                # Record by record, threads take longer to take turns than to read.
                block_length=64,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=seed is not None,
            )
        else:
            dataset = dataset.flat_map(records_of)
        dataset = dataset.batch(records_at_once)
        dataset = dataset.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
        if shuffle:
            # To permute columns costs a tenth of what it costs to shuffle records.
            seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
            dataset = tf.data.Dataset.zip(dataset.rebatch(shuffle), seeds).map(permute)
            dataset = dataset.prefetch(1)  # read on while these rows are learnt from
        return dataset.rebatch(batch_size, drop_remainder=drop_remainder)

    steps = None
    if rows is not None:
        steps = rows // batch_size if drop_remainder else -(-rows // batch_size)
    if start is None:
        dataset = batches(seed)
        if steps is not None:
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    else:
        epoch, done = divmod(start, steps) if steps else (0, start)

        @_as_it_stands
        def batches_of(epoch):
            # Of this function's graph alone: the order shall not depend on the global
            # seed. (And a global seed of 0 with a tensor for a seed is an error.)
            tf.random.set_seed(1)
            # The factor keeps apart the epochs of neighbouring seeds.
            return batches(None if seed is None else seed * 1_000_003 + epoch)

        dataset = tf.data.Dataset.range(epoch, tf.int64.max).flat_map(batches_of)
        dataset = dataset.skip(done)
    options = tf.data.Options()
    # Under tf.distribute, workers share out each batch, and not the files: so they
    # learn as one worker would with the whole batch.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)


def _checked_shard(shard):
    """Returns (i, n); (0, 1) of None."""
    if shard is None:
        return 0, 1
    are_numbers = isinstance(shard, tuple | list) and all(
        isinstance(n, int) for n in shard
    )
    if not are_numbers or len(shard) != 2 or not 0 <= shard[0] < shard[1]:
        raise ValueError(
            "`shard` must be (i, n), the i-th of n shares, from 0. Received: "
            f"{shard!r}."
        )
    return tuple(shard)


def _rows_of_first(file, compression, spec):
    """Returns the rows in the first record of a file; 1 if it has none."""
    for record in tf.data.TFRecordDataset(file, compression).take(1):
        first = next(iter(_columns(record[None], spec).values()))
        return max(1, len(first))
    return 1


def _columns(records, spec):
    """Parses records, of one row each or of many, to {name: (rows, *shape)}."""
    # Few ops a column: there may be hundreds. `tf.io.parse_example` makes more.
    parsed = tf.raw_ops.ParseExampleV2(
        serialized=records,
        names=[],
        sparse_keys=[],
        dense_keys=[],
        ragged_keys=list(spec),
        dense_defaults=[],
        num_sparse=0,
        sparse_types=[],
        ragged_value_types=[dtype for _, dtype in spec.values()],
        ragged_split_types=[tf.int64] * len(spec),
        dense_shapes=[],
    )
    columns = {
        name: tf.reshape(values, (-1, *shape)) if shape else values
        for (name, (shape, _)), values in zip(
            spec.items(), parsed.ragged_values, strict=True
        )
    }
    lengths = [math.prod(shape) for shape, _ in spec.values()]
    sizes = tf.stack([tf.size(column) for column in columns.values()]) // lengths
    first, wrong = next(iter(columns)), sizes != sizes[0]
    tf.debugging.Assert(
        tf.logical_not(tf.reduce_any(wrong)),
        [
            f"Every record must hold as many values of each column as of {first!r}, or "
            "as many times its length. Missing in some, or of another length?",
            tf.boolean_mask(list(columns), wrong),
        ],
    )
    return columns


def _spec(inputs, tasks):
    """Returns {column: (shape of a row, dtype)}, and the columns beside the labels."""
    spec = {name: (shape, tf.as_dtype(of)) for name, (shape, of) in inputs.items()}
    columns = [*(task.label for task in tasks), *columns_beside(tasks)]
    is_label = [name for name in dict.fromkeys(columns) if name not in spec]
    spec |= {name: ((), tf.float32) for name in is_label}
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
