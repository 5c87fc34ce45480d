"""Fields of structs by their path: `user.id` is the field `id` of the column `user`.

A column whose name is the path itself counts in its place.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def type_at(types: Mapping[str, pa.DataType], path: str) -> pa.DataType | None:
    """The type of a path; None where columns of these types have no such field."""
    if path in types:
        return types[path]
    name, *steps = path.split(".")
    type_ = types.get(name)
    for step in steps:
        if type_ is None or not pa.types.is_struct(type_):
            return None
        place = type_.get_field_index(step)
        type_ = type_.field(place).type if place >= 0 else None
    return type_


def columns_of(wanted: Sequence[str], schema: pa.Schema) -> list[str]:
    """The columns of a file in which the wanted columns and paths are."""
    found = [name if name in schema.names else name.split(".")[0] for name in wanted]
    return list(dict.fromkeys(found))


def flat(rows: pa.RecordBatch, paths: Sequence[str]) -> pa.RecordBatch:
    """Rows with the fields of the paths as further columns, where there are such."""
    types = dict(zip(rows.schema.names, rows.schema.types, strict=True))
    for path in paths:
        if path not in types and type_at(types, path) is not None:
            name, *steps = path.split(".")
            rows = rows.append_column(path, pc.struct_field(rows.column(name), steps))
    return rows


def flat_object(row: dict[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """A JSON object with the fields of the paths beside the others."""
    found = {}
    for path in paths:
        name, *steps = path.split(".")
        value = row.get(name)
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        if value is not None and path not in row:
            found[path] = value
    return row | found
