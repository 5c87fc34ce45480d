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
    if rows:
        _check_batch(outputs)
    named, numbers = len(outputs) > 1, _numbers(outputs)
    texts = {
        name: tensor_texts(
            output, level=1 + rows + named, keep=int(rows), one_line=rows,
            as_bytes=output.dtype == object and name.endswith("_bytes"),
            numbers=numbers.get(name),
        )
        for name, output in outputs.items()
    }  # fmt: skip
    if not rows:
        whole = {name: text for name, (text,) in texts.items()}
        value = object_text(whole.items(), 1) if named else next(iter(whole.values()))
        return object_text([("outputs", value)])
    if not named:
        return object_text([("predictions", open_array(*texts.values()))])
    keys = ((name.replace("%", "%%"), "%s") for name in texts)
    row_form = object_text(keys, level=2)
    items = [row_form % row for row in zip(*texts.values(), strict=True)]
    return object_text([("predictions", array_text(items, 1, one_line=False))])


def _check_batch(outputs: Mapping[str, np.ndarray]) -> None:
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


def open_array(rows: list[str]) -> str:
    """Writes rows on one line and the closing bracket on the next, as the server."""
    return "[" + ", ".join(rows) + "\n    ]" if rows else "[]"


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
