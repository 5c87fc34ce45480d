"""From the JSON of a predict request to the tensors a signature takes.

Two forms exist. Row form, `{"instances": [{"age": 30}, {"age": 40}]}`, has one item
for each row. Column form, `{"inputs": {"age": [30, 40]}}`, has one value for each
input. An unnamed value serves a signature with one input.
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import numpy as np

from serving.errors import ServingError, invalid, shape_text
from serving.rest.json_tensor import format_error, is_base64, to_tensor, to_tensors
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
    is_rows = "instances" in document
    if is_rows and "inputs" in document:
        raise format_error(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist ",
        )
    if is_rows:
        instances = _instances(document, dtypes)
        columns = _columns(instances, tuple(dtypes))
    elif "inputs" in document:
        columns = _inputs(document["inputs"], dtypes)
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    tensors = to_tensors(columns, dtypes)
    if tensors.keys() != dtypes.keys():
        if is_rows:
            tensors = _row_by_row(instances, dtypes)
        else:
            tensors = _one_by_one(columns, dtypes)
    return tensors, is_rows


def _instances(document: Mapping[str, Any], dtypes: Mapping[str, str]) -> list[Any]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise format_error(document, "Expecting 'instances' to be an list/array")
    if not instances:
        raise format_error(document, "No values in 'instances' array")
    if len(dtypes) > 1 and not _is_named(instances[0]):
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    return instances


def _columns(instances: list[Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The values of each input over the rows; nothing if a row is not like others."""
    if not _is_named(instances[0]):
        return {} if any(map(_is_named, instances)) else {names[0]: instances}
    if {len(row) if type(row) is dict else -1 for row in instances} != {len(names)}:
        return {}
    try:
        rows = list(map(itemgetter(*names), instances))
    except KeyError:
        return {}
    columns = map(list, zip(*rows, strict=True)) if len(names) > 1 else [rows]
    return dict(zip(names, columns, strict=True))


def _inputs(inputs: Any, dtypes: Mapping[str, str]) -> Mapping[str, Any]:
    if _is_named(inputs):
        return inputs
    if len(dtypes) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple "
            "input tensors required as per tensorinfo_map"
        )
    return {next(iter(dtypes)): inputs}


def _is_named(value: Any) -> bool:
    return type(value) is dict and not is_base64(value)


def _one_by_one(
    columns: Mapping[str, Any], dtypes: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Converts each input, to find the first that is missing or does not fit.

    Raises:
        ServingError: it is at fault.
    """
    tensors = {}
    for name, dtype in dtypes.items():
        if name not in columns:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        tensors[name] = to_tensor(columns[name], dtype)
    return tensors


def _row_by_row(
    instances: list[Any], dtypes: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Converts each value of each row, to find the first that does not fit.

    Raises:
        ServingError: it is at fault.
    """
    named = _is_named(instances[0])
    tensors: dict[str, list[np.ndarray]] = {name: [] for name in dtypes}
    for index, row in enumerate(instances):
        if named != _is_named(row):
            found, wanted = ("list", "object") if named else ("object", "value/list")
            raise invalid(
                f"Expecting {wanted} but got {found} at item {index} of input list"
            )
        for name, value in row.items() if named else [(*dtypes, row)]:
            try:
                if name not in dtypes:
                    raise invalid(f"JSON object: does not have named input: {name}")
                tensors[name].append(to_tensor(value, dtypes[name]))
                _check_alike(tensors[name][0], tensors[name][-1])
            except ServingError as error:
                key = f" key: {name}" if named else ""
                raise invalid(
                    f"Failed to process element: {index}{key} of 'instances' list. "
                    f"Error: {error.code.name}: {error.message}"
                ) from error
        if named and row.keys() != dtypes.keys():
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON "
                f"object: {value_text(row)} keys must be equal to: "
                + ",".join(sorted(dtypes))
            )
    return {name: np.stack(rows) for name, rows in tensors.items()}


def _check_alike(first: np.ndarray, tensor: np.ndarray) -> None:
    if tensor.size != first.size:
        raise invalid(f"Expecting tensor size: {first.size} but got: {tensor.size}")
    if tensor.shape != first.shape:
        raise invalid(
            f"Expecting shape {shape_text(first.shape)} but got: "
            f"{shape_text(tensor.shape)}"
        )
