"""Serialized `tf.Example`s -> Arrow record batches, whatever features they hold.

`tf.io.parse_example` reads a batch at once, but must be told each feature's name and
the one kind of list that it is. Both are learnt from the records, in a pass that looks
at no value. Records in which a feature is of another kind than before get a record
batch of their own, so each column has one type.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import tensorflow as tf
from google.protobuf.message import DecodeError

# What a Feature may hold: its type in TensorFlow, and that of a column's items.
_KINDS = {
    "bytes_list": (tf.string, pa.large_binary()),
    "float_list": (tf.float32, pa.float32()),
    "int64_list": (tf.int64, pa.int64()),
}


class Decoded(NamedTuple):
    """What a list of records holds.

    Attributes:
        batches: (int64 (rows,): which of the records they are, the rows), in the
            records' order. A column is a feature, as lists; null where a record has
            none. They are sorted by their names.
        errors: {which of the records: why it is no `tf.Example`}.
    """

    batches: list[tuple[np.ndarray, pa.RecordBatch]]
    errors: dict[int, str]


def decode(records: Sequence[bytes]) -> Decoded:
    """Decodes serialized `tf.Example`s; see `Decoded`."""
    try:
        return Decoded([(np.arange(len(records)), _parse(records))], {})
    except (tf.errors.InvalidArgumentError, DecodeError):
        groups, errors = _groups(records)  # ten times as long
    parsed = [
        _parse([records[place] for place, of in groups.items() if of == group])
        for group in range(max(groups.values(), default=-1) + 1)
    ]
    batches, done = [], Counter()
    for group, run in itertools.groupby(groups, groups.__getitem__):
        places = np.array(list(run))
        start, done[group] = done[group], done[group] + len(places)
        batches.append((places, parsed[group][start : done[group]]))
    return Decoded(batches, errors)


def _groups(records: Sequence[bytes]) -> tuple[dict[int, int], dict[int, str]]:
    """Groups of records in which each feature is of one kind, and those that are none.

    Returns:
        {record: the number of its group}, {record: why it cannot be read}.
    """
    groups: dict[int, int] = {}
    errors: dict[int, str] = {}
    of_groups: list[dict[str, str]] = []
    for place, record in enumerate(records):
        try:
            kinds, _ = _features([record])
            # TensorFlow's parser may refuse what protobuf's takes.
            tf.io.parse_example([record], {"": tf.io.VarLenFeature(tf.string)})
        except (tf.errors.InvalidArgumentError, DecodeError) as error:
            errors[place] = str(error)
            continue
        group = 0
        while group < len(of_groups) and not _agree(of_groups[group], kinds):
            group += 1
        if group == len(of_groups):
            of_groups.append({})
        of_groups[group].update(kinds)
        groups[place] = group
    return groups, errors


def _agree(known: dict[str, str], kinds: dict[str, str]) -> bool:
    return all(known.get(name, kind) == kind for name, kind in kinds.items())


def _parse(records: Sequence[bytes]) -> pa.RecordBatch:
    """Decodes records in which each feature is of one kind."""
    kinds, counts = _features(records)
    columns = {name: pa.nulls(len(records)) for name in sorted(counts)}
    specs = {
        name: tf.io.RaggedFeature(_KINDS[kind][0], row_splits_dtype=tf.int64)
        for name, kind in kinds.items()
    }
    parsed = tf.io.parse_example(list(records), specs) if specs else {}
    for name, ragged in parsed.items():
        offsets = ragged.row_splits.numpy()
        is_missing = np.diff(offsets) == 0
        if is_missing.sum() > len(records) - counts[name]:
            # In some records, the feature is there without a value.
            for place in np.flatnonzero(is_missing):
                is_missing[place] = name not in _features(records[place : place + 1])[0]
        columns[name] = pa.LargeListArray.from_arrays(
            offsets,
            _array(ragged.values, _KINDS[kinds[name]][1]),
            mask=pa.array(is_missing) if is_missing.any() else None,
        )
    rows = pa.nulls(len(records), pa.struct([]))  # whose number counts without columns
    batch = pa.RecordBatch.from_struct_array(rows)
    for name, column in columns.items():
        batch = batch.append_column(name, column)
    return batch


def _features(records: Sequence[bytes]) -> tuple[dict[str, str], Counter[str]]:
    """Each feature's kind where it is first seen, and how many records have it.

    A feature may have no list at all: then it has no kind.
    """
    kinds: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for record in records:
        features = tf.train.Example.FromString(record).features.feature
        counts.update(iter(features))  # not its values
        if len(counts) > len(kinds):
            for name in counts.keys() - kinds.keys():
                # To ask for what is not there would add it.
                if name in features and (kind := features[name].WhichOneof("kind")):
                    kinds[name] = kind
    return kinds, counts


def _array(values: tf.Tensor, type_: pa.DataType) -> pa.Array:
    """Values as an Arrow array; texts by way of one buffer, not of an object each."""
    if values.dtype != tf.string:
        return pa.array(values.numpy(), type_)
    ends = np.cumsum(tf.strings.length(values).numpy(), dtype=np.int64)
    joined = tf.strings.reduce_join(values).numpy()
    buffers = [None, pa.py_buffer(np.append(0, ends)), pa.py_buffer(joined)]
    return pa.Array.from_buffers(type_, len(ends), buffers)
