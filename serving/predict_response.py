"""From the output tensors of a signature to the JSON of the answer."""

from collections.abc import Mapping

import numpy as np

from serving.errors import invalid
from serving.json_writer import array_text, object_text, tensor_texts


def write_predict(outputs: Mapping[str, np.ndarray], rows: bool) -> str:
    """Writes the answer to a predict request, in the form of the request.

    A single output is not named, several are. An output whose name ends in `_bytes`
    is written in base64.

    Args:
        outputs: dict. The output tensors by name.
        rows: bool. Row form if True, which needs the batch first in every output;
            else column form.

    Returns:
        str, `{"predictions": [...]}` or `{"outputs": ...}`.

    Raises:
        ServingError: an output has no batch axis, or not the batch of the others.

    Example:
        >>> print(write_predict({"y": np.array([0.5, 1], np.float32)}, rows=True))
        {
            "predictions": [0.5, 1.0
            ]
        }
    """
    return _rows(outputs) if rows else _columns(outputs)


def _rows(outputs: Mapping[str, np.ndarray]) -> str:
    batch_size = None
    for name, output in outputs.items():
        if output.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if len(output) < 1:
            raise invalid(f"Tensor name: {name} has invalid batch size: {len(output)}")
        if batch_size not in (None, len(output)):
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(output)} "
                f"expecting: {batch_size}"
            )
        batch_size = len(output)
    named = len(outputs) > 1
    texts = {
        name: tensor_texts(
            output, level=2 + named, keep=1, as_bytes=_holds_bytes(name, output)
        )
        for name, output in outputs.items()
    }
    if named:
        rows = [
            object_text(zip(texts, row, strict=True), level=2)
            for row in zip(*texts.values(), strict=True)
        ]
        return object_text([("predictions", array_text(rows, 1, one_line=False))])
    return object_text([("predictions", open_array(*texts.values()))])


def open_array(rows: list[str]) -> str:
    """Writes rows on one line and the closing bracket on the next, as the server."""
    return "[" + ", ".join(rows) + "\n    ]" if rows else "[]"


def _columns(outputs: Mapping[str, np.ndarray]) -> str:
    named = len(outputs) > 1
    texts = {
        name: tensor_texts(
            output, level=1 + named, one_line=False, as_bytes=_holds_bytes(name, output)
        )[0]
        for name, output in outputs.items()
    }
    value = object_text(texts.items(), level=1) if named else next(iter(texts.values()))
    return object_text([("outputs", value)])


def _holds_bytes(name: str, output: np.ndarray) -> bool:
    return output.dtype == object and name.endswith("_bytes")
