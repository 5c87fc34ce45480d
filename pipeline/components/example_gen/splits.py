"""Which rows train, which validate and which test.

- By hash: the value's text is hashed (BLAKE2b) to a number in [0, 1), so all rows of a
  user stay together, on every machine, in every run and however the files are cut.
- By chance: so are the name of a row's file, its place there and a seed.
- By time: the oldest rows train. Two boundaries are taken from a quantile sketch of the
  whole column; rows of one time stay together.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config import expressions
from pipeline.logs import evaluation
from pipeline.logs.evaluation import Expression
from pipeline.logs.formats import Chunk
from pipeline.logs.values import casting, column_types, texts, times
from pipeline.logs.values.casting import Column
from pipeline.statistics import sketch


def by_share(places: np.ndarray, train: float, valid: float) -> np.ndarray:
    """Assigns rows by numbers in [0, 1].

    Args:
        places: float64 (rows,), from `hashed` or `drawn`.
        train: The share of them that train.
        valid: The share that validate.

    Returns:
        int8 (rows,): a position in `SPLITS`; -1 for NaN.
    """
    found = np.searchsorted([train, train + valid], places, side="right")
    return np.where(np.isnan(places), -1, found).astype(np.int8)


def hashed(columns: Sequence[pa.Array]) -> np.ndarray:
    """Numbers in [0, 1] from the values of columns: the same values, the same number.

    Args:
        columns: Values of one type each; equal texts (`pipeline.logs.values.texts`) are
            the same, whatever the type is.

    Returns:
        float64 (rows,): NaN where a value is null.
    """
    first, *others = map(_hashes, columns)
    found, missing = first
    for hashes, nulls in others:
        found, missing = _mixed(_mixed(found) ^ hashes), missing | nulls
    return np.where(missing, np.nan, found / 2.0**64)


def drawn(
    files: Sequence[str], file: np.ndarray, row: np.ndarray, seed: int
) -> np.ndarray:
    """Numbers in [0, 1] as by chance, for each row of a file always the same.

    Args:
        files: Paths, whose names count without their folders.
        file: int (rows,). The position in `files` that a row is from.
        row: int64 (rows,). Its place there.
        seed: Other seeds draw other numbers.
    """
    names = [f"{seed} {path.rpartition('/')[2]}" for path in files]
    of_file = np.array([_digest(name.encode()) for name in names], np.uint64)
    return _mixed(_mixed(of_file[file] + row.astype(np.uint64))) / 2.0**64


def _digest(value: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "little")


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64: each bit changes half of all bits."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _hashes(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """uint64 (rows,) of the values, and bool (rows,): which are null."""
    if not column_types.is_bytes(column.type):  # of which some are no text
        column = texts.of(column)
    encoded = column.cast(pa.binary()).dictionary_encode()
    distinct = [_digest(value) for value in encoded.dictionary.to_pylist()]
    hashes = np.array([*distinct, 0], np.uint64)
    indices = encoded.indices.fill_null(len(distinct)).to_numpy()
    return hashes[indices], indices == len(distinct)


def fold(
    time: Column | None, where: Expression | None
) -> tuple[tuple[str, ...], Callable[[Any, Chunk], Any] | None]:
    """What an `InspectionSpec` must have to find the boundaries of a split by time.

    Args:
        time: The column by which the rows are split, where the split is by time; its
            type is yet to be found.
        where: Which rows count.

    Returns:
        The columns that are read, and the function that makes sketches of times.
    """
    if time is None:
        return (), None
    others = expressions.columns_of(where.text) if where else ()
    return (time.source, *others), functools.partial(_add_times, time, where)


def _add_times(
    time: Column, where: Expression | None, known: sketch.Sketch | None, chunk: Chunk
) -> sketch.Sketch:
    """The sketch of the times before, and of the rows of a chunk that count."""
    rows = evaluation.select(where, chunk)[0]
    type_ = casting.own_type(rows.column(time.source), time.kind)
    column = casting.column(
        time.name, time.kind, type_, time.missing, source=time.column
    )
    values = times.seconds(casting.cast(rows, [column])[0].column(0))
    new = sketch.sketch(values[np.isfinite(values)])
    return new if known is None else sketch.merge([known, new])


def boundaries(column: sketch.Sketch, train: float, valid: float) -> np.ndarray:
    """The last time of train and the last of valid, nearest to the shares asked for."""
    end = np.cumsum(column.count)  # (buckets,): rows up to the end of each bucket
    shares = np.array([train, train + valid]) * column.rows
    return column.high[np.abs(end - shares[:, None]).argmin(axis=1)]


def by_time(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Assigns rows by their times.

    Args:
        values: float64 (rows,), from `times.seconds`.
        limits: (2,), from `boundaries`.

    Returns:
        int8 (rows,): a position in `SPLITS`.
    """
    return np.searchsorted(limits, values, side="left").astype(np.int8)
