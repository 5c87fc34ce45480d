"""Single values of logs, as messages and dead letters show them."""

from typing import Any

import pyarrow as pa

from pipeline.logs.values import column_types


def readable(array: pa.Array, row: int) -> Any:
    """A value as JSON can hold it, whatever it is.

    Bytes are text in which what is none is escaped, times are ISO 8601. A time that
    Python has no object for, such as one in the year 300,000, is its number with its
    type.
    """
    value, type_ = array.slice(row, 1), array.type
    if value.null_count:
        return None
    if column_types.is_list(type_) or pa.types.is_map(type_):
        items = value.flatten() if column_types.is_list(type_) else value[0].values
        return [readable(items, i) for i in range(len(items))]
    if pa.types.is_struct(type_):
        fields = zip(type_.names, value.flatten(), strict=True)
        return {name: readable(field, 0) for name, field in fields}
    if column_types.is_text(type_):
        (found,) = column_types.as_bytes(value).to_pylist()
        return found.decode(errors="backslashreplace")
    try:
        (found,) = value.to_pylist()
    except (ValueError, OverflowError):
        number = value.cast(pa.int32() if type_ == pa.date32() else pa.int64())
        return f"{number[0].as_py()} of type {type_}"
    return found if isinstance(found, (int, float)) else str(found)
