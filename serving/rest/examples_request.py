"""From the JSON of a classify or regress request to `tf.Example`s."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from serving.errors import invalid
from serving.models.examples import with_context
from serving.rest.json_tensor import (
    decode_base64,
    encode_text,
    format_error,
    is_base64,
    json_type,
)

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def read_examples(document: Mapping[str, Any]) -> list[bytes]:
    """Builds the serialized tf.Examples of a classify or regress request.

    Features in `context` are shared by all examples; an example's own come first.

    Args:
        document: dict. The parsed request body.

    Returns:
        list of bytes, one tf.Example each.

    Raises:
        ServingError: the request is not of this form.
    """
    context = _example(document.get("context", {}))
    if "examples" not in document:
        raise format_error(
            document,
            "When method is classify, key 'examples' is expected and was not found",
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise format_error(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise format_error(document, "'examples' value is an empty array")
    return with_context(context, [_example(value) for value in examples])


def _example(value: Any) -> tf.train.Example:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {json_type(value)}")
    example = tf.train.Example()
    for name, content in value.items():
        feature = example.features.feature[name]
        for item in content if isinstance(content, list) else [content]:
            _add(feature, name, item)
    return example


def _add(feature: tf.train.Feature, name: str, value: Any) -> None:
    if (
        value is None
        or isinstance(value, list)
        or (isinstance(value, dict) and not is_base64(value))
    ):
        raise invalid(
            f"Feature: {name} has element with unexpected JSON type: {json_type(value)}"
        )
    if isinstance(value, str):
        kind, value = "bytes_list", encode_text(value)
    elif isinstance(value, dict):
        kind, value = "bytes_list", decode_base64(value)
    elif isinstance(value, float):
        kind = "float_list"
    else:
        kind, value = "int64_list", int(value)  # true is 1
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid(
            f"Unexpected element type in feature: {name} expecting type: "
            f"{_KINDS[present]}"
        )
    if kind == "int64_list" and value >= 2**63:
        raise invalid(
            f"Feature: {name} has uint64_t element. Only int64_t is supported."
        )
    getattr(feature, kind).value.append(value)
