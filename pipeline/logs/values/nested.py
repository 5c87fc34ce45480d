"""Fields of structs by their path: `user.id` is the field `id` of the column `user`.

A column whose name is the path itself counts in its place.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
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


def fields(rows: pa.RecordBatch, in_texts: bool) -> dict[str, list[str]]:
    """Finds the structs in rows.

    Args:
        rows: Some rows.
        in_texts: Whether structs are texts of JSON, as JSON Lines are read.

    Returns:
        {column: the paths of the fields in it that are no structs themselves}.
    """
    found = {}
    for name, array in zip(rows.schema.names, rows.columns, strict=True):
        tree = _tree_of_texts(array) if in_texts else _tree_of_type(array.type)
        if "." not in name and (paths := list(_leaves(name, tree))):
            found[name] = paths
    return found


def _tree_of_type(type_: pa.DataType) -> dict[str, Any] | None:
    """The fields of a struct as {field: its own fields, or None}."""
    if not pa.types.is_struct(type_):
        return None
    return {field.name: _tree_of_type(field.type) for field in type_}


def _tree_of_texts(array: pa.Array) -> dict[str, Any] | None:
    """The same, of texts that all are JSON objects."""
    if not pa.types.is_binary(array.type):
        return None
    tree: dict[str, Any] = {}
    for text in array.drop_null().to_pylist():
        try:
            value = json.loads(text) if text.startswith(b"{") else None
        except ValueError:
            value = None
        if not isinstance(value, dict):
            return None
        _add(tree, value)
    return tree


def _add(tree: dict[str, Any], value: dict[str, Any]) -> None:
    for key, of_key in value.items():
        if isinstance(of_key, dict):
            inner = tree[key] = tree.get(key) or {}
            _add(inner, of_key)
        else:
            tree.setdefault(key, None)


def _leaves(path: str, tree: dict[str, Any] | None) -> Iterator[str]:
    for key, inner in (tree or {}).items():
        if key and "." not in key:
            here = f"{path}.{key}"
            yield from [here] if inner is None else _leaves(here, inner)


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
