"""Classify and regress: what TF Serving does beside predict, on tf.Examples.

A signature that takes one string input named `inputs` answers both: `regress` reads
its output `outputs`, `classify` its outputs `classes` and `scores`.
"""

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.types_pb2 import DataType
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving import metrics
from serving.errors import Code, ServingError, invalid, shape_text
from serving.models.servable import DEFAULT_SIGNATURE, Servable

EXAMPLES_INPUT = "inputs"
_CLASSIFIED = {"classes": "DT_STRING", "scores": "DT_FLOAT"}


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
    check_regression(_definition(servable, signature_name))
    values = _run(servable, signature_name, examples)["outputs"]
    if values.ndim != 1 and (values.ndim != 2 or values.shape[1] != 1):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or "
            f"[batch_size, 1] but got {shape_text(values.shape)}"
        )
    if len(values) != len(examples):
        raise invalid(
            f"Input batch size did not match output batch size: {len(examples)} vs. "
            f"{len(values)}"
        )
    if values.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_type_name(values)}")
    return values.ravel()


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
    check_classification(_definition(servable, signature_name))
    outputs = _run(servable, signature_name, examples)
    found = [name for name in _CLASSIFIED if name in outputs]
    for name in found:
        output, dtype = outputs[name], _CLASSIFIED[name]
        if output.ndim != 2:
            raise invalid(
                "Expected Tensor shape: [batch_size num_classes] but got "
                + shape_text(output.shape)
            )
        if _type_name(output) != dtype:
            raise invalid(
                f"Expected {name} Tensor of {dtype}. Got: {_type_name(output)}"
            )
        if len(output) != len(examples):
            raise invalid(
                f"Expected {name} output batch size of {len(examples)}. Got: "
                f"{len(output)}"
            )
    shape = outputs[found[0]].shape
    if shape != outputs[found[-1]].shape:
        raise invalid(
            "Tensors class and score should match in dim_size(1). Got "
            f"{shape[1]} vs. {outputs[found[-1]].shape[1]}"
        )
    labels = outputs.get("classes", np.full(shape, b"", object))
    scores = outputs.get("scores", np.zeros(shape, np.float32))
    return labels, scores


def check_regression(definition: SignatureDef) -> None:
    """Raises a ServingError if a signature is none of regression."""
    if len(definition.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(definition.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    for role in (EXAMPLES_INPUT, "outputs"):
        if role not in getattr(definition, role):
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"No regression {role} found in SignatureDef: {definition}",
            )


def check_classification(definition: SignatureDef) -> None:
    """Raises a ServingError if a signature is none of classification."""
    if len(definition.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(definition.outputs) not in (1, 2):
        raise invalid(
            f"Expected one or two output Tensors, found {len(definition.outputs)}"
        )
    if EXAMPLES_INPUT not in definition.inputs:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"No classification inputs found in SignatureDef: {definition}",
        )
    if not set(_CLASSIFIED) & set(definition.outputs):
        raise ServingError(
            Code.FAILED_PRECONDITION,
            "Expected classification signature outputs to contain at least one of "
            f'"classes" or "scores". Signature was: {definition}',
        )


def _definition(servable: Servable, name: str) -> SignatureDef:
    definition = servable.signature_defs.get(name or DEFAULT_SIGNATURE)
    if definition is None:
        raise invalid(
            f"No signature was found with the name: {name or DEFAULT_SIGNATURE}"
        )
    return definition


def _run(servable: Servable, name: str, examples: list[bytes]) -> dict[str, np.ndarray]:
    inputs = {EXAMPLES_INPUT: np.array(examples, object)}
    outputs = servable.run(servable.signature(name), inputs)
    if servable.model_name:
        metrics.EXAMPLE_COUNTS.observe(len(examples), servable.model_name)
        metrics.EXAMPLE_COUNT_TOTAL.add(servable.model_name, by=len(examples))
    return outputs


def _type_name(array: np.ndarray) -> str:
    return DataType.Name(tf.as_dtype(array.dtype).as_datatype_enum)
