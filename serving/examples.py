"""Classify and regress: requests of tf.Examples written as plain JSON objects.

A signature that takes one string input named `inputs` answers both: `regress` reads
its output `outputs`, `classify` its outputs `classes` and `scores`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from serving import metrics
from serving.errors import Code, ServingError, invalid
from serving.json_tensor import (
    decode_base64,
    encode_text,
    format_error,
    is_base64,
    json_type,
)
from serving.json_writer import decimals, object_text, quote
from serving.predict_response import open_array
from serving.servable import DEFAULT_SIGNATURE, Servable, Signature

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


def with_context(
    context: tf.train.Example, examples: Sequence[tf.train.Example]
) -> list[bytes]:
    """Serializes examples, each with the context features that it lacks."""
    merged = []
    for example in examples:
        whole = tf.train.Example()
        whole.CopyFrom(context)
        for name, feature in example.features.feature.items():
            whole.features.feature[name].CopyFrom(feature)
        merged.append(whole.SerializeToString())
    return merged


def regress_text(servable: Servable, signature_name: str, examples: list[bytes]) -> str:
    """Runs a regression and writes `{"results": [1.5, ...]}`."""
    values = regress(servable, signature_name, examples)
    return object_text([("results", "[" + ", ".join(decimals(values)) + "]")])


def regress(
    servable: Servable, signature_name: str, examples: list[bytes]
) -> np.ndarray:
    """Runs a regression.

    Args:
        servable: Servable. The version to ask.
        signature_name: str. The signature; "" is `serving_default`.
        examples: list of bytes. Serialized tf.Examples.

    Returns:
        array of float32, one value for each example.

    Raises:
        ServingError: the signature is none of regression, or the graph failed.
    """
    signature = _signature(servable, signature_name)
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    for role, names in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        if role not in names:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"No regression {role} found in SignatureDef: "
                + str(servable.signature_defs[signature_name or DEFAULT_SIGNATURE]),
            )
    values = _run(servable, signature, examples)["outputs"]
    if values.shape not in ((len(examples),), (len(examples), 1)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or "
            f"[batch_size, 1] but got {list(values.shape)}"
        )
    if values.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {values.dtype}")
    return values.ravel()


def classify_text(
    servable: Servable, signature_name: str, examples: list[bytes]
) -> str:
    """Runs a classification and writes `{"results": [[["label", 0.5], ...]]}`."""
    labels, scores = classify(servable, signature_name, examples)
    rows = [
        "["
        + ", ".join(
            f"[{quote(label.decode('utf-8', 'surrogateescape'))}, {score}]"
            for label, score in zip(row, decimals(scores[index]), strict=True)
        )
        + "]"
        for index, row in enumerate(labels)
    ]
    return object_text([("results", open_array(rows))])


def classify(
    servable: Servable, signature_name: str, examples: list[bytes]
) -> tuple[np.ndarray, np.ndarray]:
    """Runs a classification.

    Args:
        servable: Servable. The version to ask.
        signature_name: str. The signature; "" is `serving_default`.
        examples: list of bytes. Serialized tf.Examples.

    Returns:
        Labels, bytes in an object array, and scores, float32, both of shape
        (examples, classes). What the signature does not give is "" or 0.

    Raises:
        ServingError: the signature is none of classification, or the graph failed.
    """
    signature = _signature(servable, signature_name)
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    found = {"classes", "scores"} & set(signature.outputs)
    if "inputs" not in signature.inputs or not found:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            'A classification needs the input "inputs" and at least one of the '
            'outputs "classes" and "scores". Signature was: '
            + str(servable.signature_defs[signature_name or DEFAULT_SIGNATURE]),
        )
    outputs = _run(servable, signature, examples)
    shape = outputs[min(found)].shape
    for name, dtype in (("classes", np.dtype(object)), ("scores", np.float32)):
        if name in found and (
            outputs[name].dtype != dtype
            or outputs[name].shape != shape
            or len(shape) != 2
            or shape[0] != len(examples)
        ):
            raise invalid(
                f"Expected {name} of shape [batch_size num_classes] and type {dtype}. "
                f"Received: {list(outputs[name].shape)} and {outputs[name].dtype}"
            )
    labels = outputs.get("classes", np.full(shape, b"", object))
    scores = outputs.get("scores", np.zeros(shape, np.float32))
    return labels, scores


def _signature(servable: Servable, name: str) -> Signature:
    signature = servable.signature(name)
    if signature is None:
        raise invalid(
            f"No signature was found with the name: {name or DEFAULT_SIGNATURE}"
        )
    return signature


def _run(
    servable: Servable, signature: Signature, examples: list[bytes]
) -> dict[str, np.ndarray]:
    outputs = servable.run(signature, {"inputs": np.array(examples, object)})
    if servable.model_name:
        metrics.EXAMPLE_COUNTS.observe(len(examples), servable.model_name)
        metrics.EXAMPLE_COUNT_TOTAL.add(servable.model_name, by=len(examples))
    return outputs


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
    elif isinstance(value, float) or not -(2**63) <= value < 2**64:
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
