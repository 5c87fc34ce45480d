"""Times of any kind as seconds: numbers, dates, timestamps and ISO 8601 texts."""

import datetime
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.logs.values import column_types, texts

_UTC = datetime.timezone.utc
# What others write of it, or beside it, and Python (3.10, or any) does not read.
_ISO_8601 = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)"
    r"(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?)?"
    r" ?(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?",
    re.IGNORECASE | re.ASCII,
)


def seconds(column: pa.Array, unit: float = 1.0) -> np.ndarray:
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
    if column_types.is_bytes(type_):
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
