"""Which rows train, which validate and which test.

- By hash: the value's text is hashed (BLAKE2b) to a number in [0, 1), so all rows of a
  user stay together, on every machine, in every run and however the files are cut.
- By chance: so are the name of a row's file, its place there and a seed.
- By time: the oldest rows train. Two boundaries are taken from a quantile sketch of the
  whole column; rows of one time stay together.
"""

import datetime
import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import expressions
from pipeline.logs import evaluation
from pipeline.logs.evaluation import Expression
from pipeline.logs.formats import Chunk
from pipeline.logs.values import casting, texts
from pipeline.logs.values.casting import Column
from pipeline.statistics import sketch

_UTC = datetime.timezone.utc
# What others write of it, or beside it, and Python (3.10, or any) does not read.
_ISO_8601 = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)"
    r"(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?)?"
    r" ?(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?",
    re.IGNORECASE | re.ASCII,
)


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
    if not _is_bytes(column.type):  # of which some are no text
        column = texts.of(column)
    encoded = column.cast(pa.binary()).dictionary_encode()
    distinct = [_digest(value) for value in encoded.dictionary.to_pylist()]
    hashes = np.array([*distinct, 0], np.uint64)
    indices = encoded.indices.fill_null(len(distinct)).to_numpy()
    return hashes[indices], indices == len(distinct)


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
        return _seconds(column).to_numpy(zero_copy_only=False)
    try:
        numbers = column.cast(pa.float64(), safe=False)
        return numbers.to_numpy(zero_copy_only=False) / unit
    except pa.ArrowInvalid:
        encoded = column.dictionary_encode()
    distinct = [_time(value, unit) for value in encoded.dictionary.to_pylist()]
    indices = encoded.indices.fill_null(len(distinct)).to_numpy()
    return np.array([*distinct, np.nan])[indices]


def _seconds(times: pa.Array) -> pa.Array:
    """Dates and timestamps of any unit -> float64; no time is too far for it."""
    days = pa.types.is_date32(times.type)
    numbers = times.cast(pa.int32() if days else pa.int64())
    unit = "ms" if pa.types.is_date64(times.type) else getattr(times.type, "unit", "s")
    seconds = texts.UNITS[unit]
    numbers = numbers.cast(pa.float64(), safe=False)
    return pc.multiply(numbers, 86_400.0) if days else pc.divide(numbers, seconds)


def _is_bytes(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_)


def _time(value: str, unit: float) -> float:
    value = value.strip()
    try:
        return float(value) / unit
    except ValueError:
        pass
    try:
        time = datetime.datetime.fromisoformat(value)
        return time.replace(tzinfo=time.tzinfo or _UTC).timestamp()
    except ValueError:
        found = _ISO_8601.fullmatch(value)
    if found is None:
        return np.nan
    *parts, fraction, zone = found.groups()
    try:
        time = datetime.datetime(*(int(part or 0) for part in parts), tzinfo=_UTC)
    except ValueError:
        return np.nan
    return time.timestamp() + float(f"0.{fraction or 0}") - _offset(zone)


def _offset(zone: str | None) -> float:
    """The seconds of "+05:30"; 0 of no zone, Z, UTC and GMT."""
    if zone is None or zone[0] not in "+-":
        return 0.0
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    return float(zone[0] + "1") * (3600 * hours + 60 * minutes)


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
