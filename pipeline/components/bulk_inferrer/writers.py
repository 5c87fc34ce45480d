"""Files of scores: Parquet, CSV, or TFRecord of `tf.Example`s."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from pipeline.beam.atomic import atomic_write
from pipeline.logs.values import column_types, texts


def write(format: str, path: Path, batches: Iterator[pa.RecordBatch]) -> int:
    """Writes a file, whole or not there; each batch while the next one is made.

    Args:
        format: "parquet", "csv" or "tfrecord".
        path: The file. Without rows, there is none.
        batches: Rows of one schema.

    Returns:
        How many rows it has.
    """
    first = next(batches, None)
    if first is None:
        return 0
    rows = 0
    with (
        atomic_write(path) as part,
        _OPEN[format](part, first.schema) as file,
        ThreadPoolExecutor(1) as pool,
    ):
        written = None
        for batch in itertools.chain([first], batches):
            if written is not None:
                written.result()
            written = pool.submit(file.write_batch, batch)
            rows += batch.num_rows
        written.result()
    return rows


def type_in(format: str, type_: pa.DataType) -> pa.DataType:
    """The type that a column of the rows has while it goes to a file of a format."""
    type_ = column_types.settled_type(type_)
    has_form = column_types.is_numeric(type_) or pa.types.is_timestamp(type_)
    return pa.string() if format == "csv" and not has_form else type_


class _Examples:
    """A TFRecord file of `tf.Example`s; a feature without a value is left out."""

    def __init__(self, path: Path, schema: pa.Schema):
        import tensorflow as tf

        self.features = tf.train.Features
        self.example = tf.train.Example
        self.file = tf.io.TFRecordWriter(str(path), "GZIP")

    def __enter__(self) -> "_Examples":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.file.close()

    def write_batch(self, batch: pa.RecordBatch) -> None:
        columns = []
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            kind, values = _values(array)
            columns.append((name, kind, values))
        for row in range(batch.num_rows):
            example = self.example()
            feature = example.features.feature
            for name, kind, values in columns:
                if values[row]:
                    getattr(feature[name], kind).value.extend(values[row])
            self.file.write(example.SerializeToString())


def _values(array: pa.Array) -> tuple[str, list[list]]:
    """The kind of list that an Example has of a column, and the list of each row."""
    if column_types.is_list(array.type):
        kind, items = _values(array.flatten())
        items = [value for item in items for value in (item or [None])]
        counts = array.value_lengths().fill_null(0).to_pylist()
        ends = itertools.accumulate(counts)
        return kind, [
            [v for v in items[end - count : end] if v is not None]
            for end, count in zip(ends, counts, strict=True)
        ]
    type_ = array.type
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_):
        kind = "int64_list"
    elif pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        kind, array = "float_list", array.cast(pa.float64())
    else:
        kind = "bytes_list"
        array = array if column_types.is_text(type_) else texts.of(array)
        array = array.cast(pa.large_binary())
    return kind, [[] if v is None else [v] for v in array.to_pylist()]


_OPEN = {"parquet": pq.ParquetWriter, "csv": csv.CSVWriter, "tfrecord": _Examples}
