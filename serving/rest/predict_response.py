"""From the output tensors of a signature to the JSON of the answer."""

from collections.abc import Mapping
from itertools import accumulate

import numpy as np

from serving.errors import invalid
from serving.rest.json_writer import array_text, decimals, object_text, tensor_texts


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
    numbers = _numbers(outputs)
    texts = {
        name: tensor_texts(
            output, level=2 + named, keep=1, as_bytes=_holds_bytes(name, output),
            numbers=numbers.get(name),
        )
        for name, output in outputs.items()
    }  # fmt: skip
    if named:
        keys = ((name.replace("%", "%%"), "%s") for name in texts)
        row_form = object_text(keys, level=2)
        rows = [row_form % row for row in zip(*texts.values(), strict=True)]
        return object_text([("predictions", array_text(rows, 1, one_line=False))])
    return object_text([("predictions", open_array(*texts.values()))])


def open_array(rows: list[str]) -> str:
    """Writes rows on one line and the closing bracket on the next, as the server."""
    return "[" + ", ".join(rows) + "\n    ]" if rows else "[]"


def _columns(outputs: Mapping[str, np.ndarray]) -> str:
    named = len(outputs) > 1
    numbers = _numbers(outputs)
    texts = {
        name: tensor_texts(
            output, level=1 + named, one_line=False,
            as_bytes=_holds_bytes(name, output), numbers=numbers.get(name),
        )[0]
        for name, output in outputs.items()
    }  # fmt: skip
    value = object_text(texts.items(), level=1) if named else next(iter(texts.values()))
    return object_text([("outputs", value)])


def _numbers(outputs: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """Writes the float32 outputs all at once, which for a few rows is much faster."""
    floats = {k: v for k, v in outputs.items() if v.dtype == np.float32 and v.size}
    if not floats:
        return {}
    texts = decimals(np.concatenate([value.ravel() for value in floats.values()]))
    ends = list(accumulate(value.size for value in floats.values()))
    starts = [0, *ends[:-1]]
    return {
        name: texts[start:end]
        for name, start, end in zip(floats, starts, ends, strict=True)
    }


def _holds_bytes(name: str, output: np.ndarray) -> bool:
    return output.dtype == object and name.endswith("_bytes")
