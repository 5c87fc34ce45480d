"""From the JSON of a predict request to the tensors a signature takes.

Two forms exist. Row form, `{"instances": [{"age": 30}, {"age": 40}]}`, has one item
for each row. Column form, `{"inputs": {"age": [30, 40]}}`, has one value for each
input. An unnamed value serves a signature with one input.
"""

from collections.abc import Mapping
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from serving.errors import ServingError, invalid, shape_text
from serving.rest.json_tensor import (
    check_value,
    convert,
    format_error,
    is_base64,
    leading_shape,
    to_tensor,
)
from serving.rest.json_writer import value_text


def read_predict(
    document: Mapping[str, Any], dtypes: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], bool]:
    """Builds the input tensors of a predict request.

    Args:
        document: dict. The parsed request body.
        dtypes: dict. TensorFlow's dtype name of each input of the signature.

    Returns:
        The tensors by input name, and whether the request was in row form.

    Raises:
        ServingError: the request does not fit the signature.

    Example:
        >>> read_predict({"instances": [{"x": 1}, {"x": 2}]}, {"x": "float32"})
        ({'x': array([1., 2.], dtype=float32)}, True)
    """
    if "instances" in document and "inputs" in document:
        raise format_error(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist ",
        )
    if "instances" in document:
        instances = document["instances"]
        if not isinstance(instances, list):
            raise format_error(document, "Expecting 'instances' to be an list/array")
        if not instances:
            raise format_error(document, "No values in 'instances' array")
        return _from_rows(instances, dtypes), True
    if "inputs" in document:
        return _from_columns(document["inputs"], dtypes), False
    raise invalid("Missing 'inputs' or 'instances' key")


def _from_rows(
    instances: list[Any], dtypes: Mapping[str, str]
) -> dict[str, np.ndarray]:
    named = _is_named(instances[0])
    if not named and len(dtypes) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    columns = _columns(instances, named, tuple(dtypes))
    tensors = _convert(columns, dtypes) if columns else None
    if tensors is None:
        raise _row_fault(instances, named, dtypes)
    return tensors


def _columns(
    instances: list[Any], named: bool, names: tuple[str, ...]
) -> dict[str, Any]:
    """The values of each input over the rows; nothing if a row is not like others."""
    if not named:
        return {} if any(map(_is_named, instances)) else {names[0]: instances}
    if {len(row) if type(row) is dict else -1 for row in instances} != {len(names)}:
        return {}
    try:
        rows = list(map(itemgetter(*names), instances))
    except KeyError:
        return {}
    columns = map(list, zip(*rows, strict=True)) if len(names) > 1 else [rows]
    return dict(zip(names, columns, strict=True))


def _convert(
    columns: Mapping[str, Any], dtypes: Mapping[str, str]
) -> dict[str, np.ndarray] | None:
    """Converts the value of each input; None if one does not fit.

    Plain lists of one type are converted together: a request for one row has dozens of
    them, and each conversion costs as much as that of hundreds of numbers.
    """
    plain: dict[str, list[str]] = {}  # {dtype: names}
    tensors = {}
    try:
        for name, column in columns.items():
            if type(column) is list and column and type(column[0]) is not list:
                plain.setdefault(dtypes[name], []).append(name)
            else:
                tensors[name] = to_tensor(column, dtypes[name])
        for dtype, names in plain.items():
            together = list(chain.from_iterable(columns[name] for name in names))
            found, end = convert(together, dtype), 0
            if found is None:
                return None
            for name in names:
                start, end = end, end + len(columns[name])
                tensors[name] = found[start:end]
    except ServingError:
        return None  # the search for the fault names where it is
    return None if any(t is None for t in tensors.values()) else tensors


def _from_columns(inputs: Any, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    if not _is_named(inputs):
        if len(dtypes) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        inputs = {next(iter(dtypes)): inputs}
    if dtypes.keys() <= inputs.keys():
        tensors = _convert({name: inputs[name] for name in dtypes}, dtypes)
        if tensors is not None:
            return tensors
    tensors = {}
    for name, dtype in dtypes.items():
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        tensor = to_tensor(inputs[name], dtype)
        if tensor is None:
            check_value(inputs[name], 0, leading_shape(inputs[name]), dtype)
            raise _unexplained(inputs[name], dtype)
        tensors[name] = tensor
    return tensors


def _is_named(value: Any) -> bool:
    return type(value) is dict and not is_base64(value)


def _row_fault(
    instances: list[Any], named: bool, dtypes: Mapping[str, str]
) -> ServingError:
    """Finds the first fault of a request in row form."""
    first: dict[str, tuple[int, list[int]]] = {}  # name -> (size, shape) of row 0
    for index, row in enumerate(instances):
        if named != _is_named(row):
            found, wanted = ("list", "object") if named else ("object", "value/list")
            return invalid(
                f"Expecting {wanted} but got {found} at item {index} of input list"
            )
        for name, value in row.items() if named else [(next(iter(dtypes)), row)]:
            try:
                _check_row_value(name, value, dtypes, first)
            except ServingError as error:
                key = f" key: {name}" if named else ""
                return invalid(
                    f"Failed to process element: {index}{key} of 'instances' list. "
                    f"Error: {error.code.name}: {error.message}"
                )
        if named and row.keys() != dtypes.keys():
            return invalid(
                f"Failed to process element: {index} of 'instances' list. JSON "
                f"object: {value_text(row)} keys must be equal to: "
                + ",".join(sorted(dtypes))
            )
    return _unexplained(instances, ",".join(dtypes.values()))


def _check_row_value(
    name: str, value: Any, dtypes: Mapping[str, str], first: dict[str, Any]
) -> None:
    if name not in dtypes:
        raise invalid(f"JSON object: does not have named input: {name}")
    shape = leading_shape(value)
    size = check_value(value, 0, shape, dtypes[name])
    first_size, first_shape = first.setdefault(name, (size, shape))
    if size != first_size:
        raise invalid(f"Expecting tensor size: {first_size} but got: {size}")
    if shape != first_shape:
        raise invalid(
            f"Expecting shape {shape_text(first_shape)} but got: {shape_text(shape)}"
        )


def _unexplained(value: Any, dtype: str) -> ServingError:
    return invalid(f"Cannot make a tensor of type {dtype} from {value_text(value)}")
