"""Which rows train, which validate and which test.

- By hash: the value's text is hashed (BLAKE2b) to a number in [0, 1), so all rows of a
  user stay together, on every machine, in every run and however the files are cut.
- By time: the oldest rows train. Two boundaries are taken from a quantile sketch of the
  whole column; rows of one time stay together.
"""

import datetime
import functools
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import expressions
from pipeline.logs import casting, evaluation, texts
from pipeline.logs.casting import Column
from pipeline.logs.evaluation import Expression
from pipeline.logs.formats import Chunk
from pipeline.statistics import sketch


def by_hash(column: pa.Array, train: float, valid: float) -> np.ndarray:
    """Assigns rows by the value of a column.

    Args:
        column: Values of one type; equal texts (`pipeline.logs.texts`) get the same
            split, whatever the type is.
        train: The share of values that train.
        valid: The share of values that validate.

    Returns:
        int8 (rows,): a position in `SPLITS`; -1 for null.
    """
    if not _is_bytes(column.type):  # of which some are no text
        column = texts.of(column)
    encoded = column.cast(pa.binary()).dictionary_encode()
    digests = b"".join(
        hashlib.blake2b(value, digest_size=8).digest()
        for value in encoded.dictionary.to_pylist()
    )
    position = np.frombuffer(digests, "<u8") / 2.0**64  # (distinct,), in [0, 1]
    split = np.searchsorted([train, train + valid], position, side="right")
    split = np.append(split, -1).astype(np.int8)
    return split[encoded.indices.fill_null(len(position)).to_numpy()]


def times(column: pa.Array, unit: float = 1.0) -> np.ndarray:
    """A column of numbers, dates or ISO 8601 texts as float64 that orders the rows.

    Times without a zone are taken as UTC.

    Args:
        column: The values.
        unit: The units of a number that make a second: 1000 for milliseconds.

    Returns:
        float64 (rows,): seconds, of dates since 1970; NaN where the value is missing or
        neither.
    """
    type_ = column.type
    of_day = pa.types.is_time(type_) or pa.types.is_duration(type_)
    if of_day or pa.types.is_nested(type_):
        return np.full(len(column), np.nan)
    if _is_bytes(type_):
        try:
            column = column.cast(pa.string())
        except pa.ArrowInvalid:
            return np.full(len(column), np.nan)
    if pa.types.is_temporal(type_):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return pc.divide(column.cast(pa.float64()), 1e6).to_numpy(zero_copy_only=False)
    try:
        numbers = column.cast(pa.float64(), safe=False)
        return numbers.to_numpy(zero_copy_only=False) / unit
    except pa.ArrowInvalid:
        encoded = column.dictionary_encode()
    distinct = [_time(value, unit) for value in encoded.dictionary.to_pylist()]
    indices = encoded.indices.fill_null(len(distinct)).to_numpy()
    return np.array([*distinct, np.nan])[indices]


def _is_bytes(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_)


def _time(value: str, unit: float) -> float:
    value = value.strip()
    try:
        return float(value) / unit
    except ValueError:
        pass
    try:
        # Python 3.10 does not read the Z.
        time = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return np.nan
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.timezone.utc)
    return time.timestamp()


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
    return (time.name, *others), functools.partial(_add_times, time, where)


def _add_times(
    time: Column, where: Expression | None, known: sketch.Sketch | None, chunk: Chunk
) -> sketch.Sketch:
    """The sketch of the times before, and of the rows of a chunk that count."""
    rows = evaluation.select(where, chunk)[0]
    type_ = casting.own_type(rows.column(time.name), time.kind)
    column = casting.column(time.name, time.kind, type_, time.missing)
    values = times(casting.cast(rows, [column])[0].column(0))
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
        values: float64 (rows,), from `times`.
        limits: (2,), from `boundaries`.

    Returns:
        int8 (rows,): a position in `SPLITS`.
    """
    return np.searchsorted(limits, values, side="left").astype(np.int8)
