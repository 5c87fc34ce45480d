"""Examples as Arrow record batches, and the NumPy arrays that are read from them.

The rules for missing values stand here once, for every component:

| column      | array                      | missing                             |
|-------------|----------------------------|-------------------------------------|
| categorical | bytes  (rows,)             | b""                                 |
| numeric     | float32 (rows,)            | NaN                                 |
| sequence    | bytes  (rows, max_length)  | b"", at the end of a shorter list   |
| numeric_..  | bytes  (rows, max_length)  | the same, of numbers as texts       |
| multivalued | bytes  (rows, max_length)  | the same; "value:weight" if weighted|
| lookup      | bytes  (rows, max_length)  | the same; "value:number"            |
| vector      | float32 (rows, dim)        | NaN                                 |
| label       | float32 (rows,)            | NaN                                 |
"""

import bisect
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts import layout
from pipeline.config import Config, Task, sections
from pipeline.config.features import Feature
from pipeline.errors import PipelineError, nearest
from pipeline.storage import away

BATCH_ROWS = 16_384
_RANGE_ROWS = 8 * BATCH_ROWS


def shards(split_dir: Path) -> list[Path]:
    """The Parquet files of a split, in order."""
    return sorted(Path(split_dir).glob(layout.PARQUET_FILES))


def count_each(split_dir: Path) -> dict[Path, int]:
    """{shard of a split: its rows}, in order, from the files' footers."""
    return {shard: pq.read_metadata(shard).num_rows for shard in shards(split_dir)}


def count_rows(split_dir: Path) -> int:
    """The rows of a split, from the files' footers."""
    return sum(count_each(split_dir).values())


def place(
    counts: Mapping[Path, int], ranges: Iterable[tuple[int, int]]
) -> Iterator[tuple[list[Path], int, int]]:
    """Yields where ranges of a split's rows are, for `read_batches`.

    A worker that gets a place opens these shards and no others: where each opened all,
    the files opened would grow with the square of the rows.

    Args:
        counts: What `count_each` returns.
        ranges: The first row and the one to stop before, counted over all shards.

    Yields:
        The shards that hold a range, and the range counted over these.
    """
    paths, ends = list(counts), list(itertools.accumulate(counts.values()))
    for start, stop in ranges:
        first = bisect.bisect_right(ends, start)
        last = bisect.bisect_left(ends, stop)
        before = ends[first - 1] if first else 0
        yield paths[first : last + 1], start - before, stop - before


class Range(NamedTuple):
    """Rows of a split, and where they are; see `place`.

    Attributes:
        first: The number of the first row in the split.
        shards: The files that they are in.
        start: The first row, counted over these.
        stop: The row to stop before.
    """

    first: int
    shards: list[Path]
    start: int
    stop: int

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yields the rows, in order, of some columns or all."""
        return read_batches(
            self.shards, columns=columns, start=self.start, stop=self.stop
        )


def ranges(split_dir: Path) -> list[Range]:
    """Divides the rows of a split for workers."""
    counts = count_each(split_dir)
    rows = sum(counts.values())
    starts = range(0, rows, _RANGE_ROWS)
    cuts = [(at, min(at + _RANGE_ROWS, rows)) for at in starts]
    places = zip(starts, place(counts, cuts), strict=True)
    return [Range(first, *where) for first, where in places]


def check_columns(config: Config, folder: Path) -> None:
    """Raises a PipelineError for columns that the config names and examples lack.

    ExampleGen has looked at those of the config that it ran with: the columns of slices
    and groups may be others by now.

    Args:
        config: The pipeline's config.
        folder: The folder of the splits' folders.
    """
    files = [file for split in layout.splits(folder).values() for file in shards(split)]
    known = pq.read_schema(files[0]).names if files else []
    problems = [
        f"{path}: the examples have no column {name!r}.{nearest(name, known)}"
        for path, name, _ in config.columns()
        if name not in known
    ]
    if files and problems:
        raise PipelineError("\n".join(problems))


def read_batches(
    source: Path | Sequence[Path],
    batch_rows: int = BATCH_ROWS,
    columns: Sequence[str] | None = None,
    start: int = 0,
    stop: int | None = None,
    dictionaries: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Yields the rows [start, stop) of a split, in order.

    Args:
        source: A split's folder of Parquet shards, or some of them.
        batch_rows: The most rows of a batch.
        columns: The columns to read. Defaults to all.
        start: The first row, counted over these shards.
        stop: The row to stop before. Defaults to the end.
        dictionaries: Whether string columns come as dictionaries, as the file has them;
            much cheaper where values repeat.
    """
    first = 0  # of the row group, counted over these shards
    for shard in shards(source) if isinstance(source, Path) else source:
        if stop is not None and first >= stop:
            break
        shard = away.fetch(shard)
        schema = pq.read_schema(shard) if dictionaries else ()
        texts = [field.name for field in schema if field.type == pa.string()]
        with pq.ParquetFile(shard, read_dictionary=texts) as file:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                low = max(start - first, 0)
                high = rows if stop is None else min(stop - first, rows)
                first += rows
                if low >= high:
                    continue  # Nothing of it is wanted: do not read it.
                done = 0
                for batch in file.iter_batches(batch_rows, [group], columns):
                    piece = batch[max(low - done, 0) : max(high - done, 0)]
                    done += batch.num_rows
                    if piece.num_rows:
                        yield piece


def raw_rows(
    rows: Sequence[Mapping[str, Any]], features: Sequence[Feature]
) -> pa.RecordBatch:
    """Makes examples of features alone; what a row lacks is missing.

    Args:
        rows: {feature name: a text, a number, or a list of texts or numbers}.
        features: The `features` section of a config.
    """
    types = {
        "categorical": pa.string(),
        "numeric": pa.float32(),
        "sequence": pa.list_(pa.string()),
        "numeric_sequence": pa.list_(pa.string()),
        "vector": pa.list_(pa.float32()),
        "multivalued": pa.list_(pa.string()),
        "lookup": pa.list_(pa.string()),
    }
    schema = pa.schema([(f.name, types[f.kind]) for f in features])
    return pa.RecordBatch.from_pylist(list(rows), schema)


def raw_inputs(
    batch: pa.RecordBatch, features: Sequence[Feature]
) -> dict[str, np.ndarray]:
    """The raw tensors of a batch, as the transform graph and a server take them.

    Args:
        batch: Examples.
        features: The `features` section of a config.

    Returns:
        {feature name: array}: strings are object arrays of bytes.
    """
    return {
        name: values if where is None else values[where]
        for name, (values, where) in distinct_inputs(batch, features).items()
    }


def json_row(raw: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The first row of raw tensors, as a client sends it in JSON."""

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, np.ndarray):
            return [plain(item) for item in value]
        return float(str(value))  # the digits of a float32, not of the float64 near it

    return {name: plain(values[0]) for name, values in raw.items()}


def distinct_inputs(
    batch: pa.RecordBatch, features: Sequence[Feature]
) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """The raw tensors of a batch, with each string once.

    What is done to each string by itself is cheaper here, where values repeat.

    Args:
        batch: Examples.
        features: The `features` section of a config.

    Returns:
        {feature name: (values, where)}: `values[where]` is what `raw_inputs` gives.
        `where` is None for numbers, which are as they are.
    """
    arrays: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    for feature in features:
        column = batch.column(feature.name)
        if hasattr(feature, "max_length"):
            arrays[feature.name] = _latest(column, feature.max_length)
        elif feature.kind == "numeric":
            arrays[feature.name] = floats(column), None
        elif feature.kind == "vector":
            arrays[feature.name] = vectors(column, feature.dim), None
        else:
            arrays[feature.name] = _distinct(column)
    return arrays


def label_columns(tasks: Sequence[Task]) -> list[str]:
    """The columns of labels and what goes with them, each once."""
    return list(dict.fromkeys(name for _, name in sections.label_columns(tasks)))


def labels(batch: pa.RecordBatch, tasks: Sequence[Task]) -> dict[str, np.ndarray]:
    """The columns of `label_columns` as float32 (rows,); NaN where missing."""
    return {name: floats(batch.column(name)) for name in label_columns(tasks)}


def in_space(
    values: pa.RecordBatch | Mapping[str, np.ndarray],
    task: Task,
    tasks: Sequence[Task],
) -> np.ndarray:
    """The rows that count for a task: its label is known and its space holds.

    As in training, a row also needs a weight and a duration above 0, and an elapsed
    time of 0 or more, where the task has such columns. A negative or infinite weight,
    which the Trainer refuses, is none.

    Args:
        values: Examples, or what `labels` made of them.
        task: The task.
        tasks: All tasks, as the space may be "that other task's label is 1, in a row
            of its own space".

    Returns:
        bool (rows,).
    """
    if isinstance(values, pa.RecordBatch):
        values = labels(values, tasks)
    inside = ~np.isnan(values[task.label_column])
    if task.elapsed:
        inside &= values[task.elapsed] >= 0
    if task.duration:
        inside &= values[task.duration] > 0
    if task.row_weight:
        weight = values[task.row_weight]
        inside &= (weight > 0) & (weight < np.inf)
    by_name = {t.name: t for t in tasks}
    while task is not None and task.space is not None:
        given = by_name.get(task.space)
        column = given.label_column if given else task.space
        inside &= values[column] == 1
        task = given
    return inside


def weights(labels: Mapping[str, np.ndarray], task: Task) -> np.ndarray | None:
    """How much rows count in a task's metrics; None if all alike.

    By its row weight, and kept negatives for those that the logs have not kept.
    """
    if not task.is_weighted:
        return None
    weight = labels[task.row_weight] if task.row_weight else np.float32(1)
    kept = np.where(labels[task.label_column] > 0, 1.0, task.negative_rate)
    return (weight / kept).astype(np.float32)


def floats(column: pa.Array) -> np.ndarray:
    """A numeric column as float32 (rows,); NaN where missing."""
    return column.cast(pa.float32()).to_numpy(zero_copy_only=False)


def vectors(column: pa.ListArray, dim: int) -> np.ndarray:
    """A column of vectors as float32 (rows, dim); NaN where missing.

    Raises:
        PipelineError: A vector has another width, as in examples of another config.
    """
    sizes = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    if not np.isin(sizes, (0, dim)).all():
        raise PipelineError(
            f"every vector must have {dim} numbers. Received: {sizes.max()}. Run "
            "ExampleGen again, with the config that has this `dim`"
        )
    found = np.full((len(column), dim), np.nan, np.float32)
    found[sizes > 0] = floats(column.flatten()).reshape(-1, dim)
    return found


def codes(pieces: Sequence[pa.Array]) -> np.ndarray:
    """Numbers the values of all pieces: int (rows,), -1 where missing."""
    encoded = pa.chunked_array(pieces)
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    indices = [c.indices.fill_null(-1) for c in encoded.unify_dictionaries().chunks]
    return np.concatenate([part.to_numpy() for part in indices])


def _distinct(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The distinct bytes in a string column (and b""), and which of them a row has."""
    encoded = column.dictionary_encode()  # as it is if it is one
    values = encoded.dictionary.cast(pa.binary()).to_numpy(zero_copy_only=False)
    indices = encoded.indices.cast(pa.int64()).fill_null(len(values))  # the b"" behind
    return np.append(values, b""), indices.to_numpy(zero_copy_only=False)


def _latest(column: pa.ListArray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct bytes in the lists, and where (rows, length) the last items are.

    A list of fewer items has the last of the distinct bytes, b"", behind them.
    """
    ends = column.offsets.to_numpy()[1:]  # (rows,)
    sizes = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    kept = np.minimum(sizes, length)
    step = np.arange(length)
    where = (ends - kept)[:, None] + step  # (rows, length)
    where[step >= kept[:, None]] = -1
    values, indices = _distinct(column.values)
    return values, np.append(indices, len(values) - 1)[where]
