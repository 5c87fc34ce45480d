"""Between the messages of a gRPC request and what a servable takes and gives."""

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager

import numpy as np
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_pb2,
    regression_pb2,
)
from tensorflow_serving.apis.input_pb2 import Input

from serving.errors import Code, ServingError, invalid
from serving.grpc.tensor_proto import from_proto
from serving.models.examples import of_input
from serving.models.inference import (
    EXAMPLES_INPUT,
    check_classification,
    check_regression,
    classify,
    regress,
)
from serving.models.manager import ServedModels
from serving.models.servable import DEFAULT_SIGNATURE, Servable, Signature

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def acquire(
    models: ServedModels, spec: model_pb2.ModelSpec
) -> AbstractContextManager[tuple[int, Servable]]:
    """Holds the version that a request names, by number, by label or not at all."""
    if not spec.name:
        raise invalid("ModelSpec has no name specified.")
    version = spec.version.value if spec.HasField("version") else None
    return models.acquire(spec.name, version, spec.version_label or None)


def answered_by(asked: model_pb2.ModelSpec, number: int) -> model_pb2.ModelSpec:
    """Makes the spec that tells which version answered."""
    signature = asked.signature_name or DEFAULT_SIGNATURE
    spec = model_pb2.ModelSpec(name=asked.name, signature_name=signature)
    spec.version.value = number
    return spec


def read_inputs(
    signature: Signature, protos: Mapping[str, TensorProto], max_values: int
) -> dict[str, np.ndarray]:
    """Makes the arrays of a predict request.

    Args:
        signature: Signature. What is asked.
        protos: dict. The tensors by input name.
        max_values: int. How many values they may have together. A message may give
            one value for a tensor of any shape, so its own size is no limit.

    Returns:
        dict, one array for each input.

    Raises:
        ServingError: inputs are missing, unknown, too large or of a wrong type.
    """
    extra = sorted(protos.keys() - signature.inputs.keys())
    missing = sorted(signature.inputs.keys() - protos.keys())
    if extra and len(protos) == len(signature.inputs):
        raise invalid(
            f"input tensor alias not found in signature: {extra[0]}. Inputs expected "
            f"to be in the set {{{','.join(sorted(signature.inputs))}}}."
        )
    if extra or missing:
        raise invalid(
            f"input size does not match signature: {len(protos)}!="
            f"{len(signature.inputs)} len({{{','.join(sorted(protos))}}}) != "
            f"len({{{','.join(sorted(signature.inputs))}}}). Sent extra: "
            f"{{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}."
        )
    values = sum(
        math.prod(abs(dim.size) for dim in proto.tensor_shape.dim)
        for proto in protos.values()
    )
    if values > max_values:
        raise ServingError(
            Code.RESOURCE_EXHAUSTED,
            f"The inputs of a request have at most {max_values} values. Received: "
            f"{values}; send fewer rows a request or raise --max-body-mb",
        )
    return {
        name: from_proto(name, protos[name], dtype)
        for name, dtype in signature.inputs.items()
    }


def wanted_outputs(signature: Signature, names: Iterable[str]) -> list[str]:
    """Gives the outputs that a request asks for, all if it names none.

    Raises:
        ServingError: a name is unknown or comes twice.
    """
    wanted = list(names)
    for name in wanted:
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected "
                f"to be in the set {{{','.join(signature.outputs)}}}."
            )
        if wanted.count(name) > 1:
            raise invalid(f"duplicate output tensor alias: {name}")
    return wanted or list(signature.outputs)


def read_input(request: Input) -> list[bytes]:
    """Gives the serialized tf.Examples of a request.

    Raises:
        ServingError: there are none.
    """
    examples = of_input(request)
    if not examples:
        raise invalid("Input is empty.")
    return examples


def check_tasks(
    servable: Servable, tasks: Iterable[inference_pb2.InferenceTask]
) -> None:
    """Checks the tasks of a multi-inference request against each other.

    TF Serving runs the graph once for all of them, so their signatures must share one
    input tensor. Those of an exported Keras model never do: each has its own.

    Raises:
        ServingError: the tasks cannot be answered together.
    """
    model, shared, seen = None, None, set()
    for task in tasks:
        spec, name = task.model_spec, task.model_spec.signature_name
        if not spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        model = model or spec.name
        if spec.name != model:
            raise invalid(
                "All ModelSpecs in a MultiInferenceRequest must access the same model "
                "name."
            )
        name = name or DEFAULT_SIGNATURE
        if name in seen:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        definition = servable.signature_defs.get(name)
        if definition is None:
            raise invalid(f"Requested signature not found in model graph: {name}")
        if task.method_name == CLASSIFY:
            check_classification(definition)
        elif task.method_name == REGRESS:
            check_regression(definition)
        else:
            raise ServingError(
                Code.UNIMPLEMENTED,
                f"Unsupported signature method_name: {task.method_name}",
            )
        tensor = definition.inputs[EXAMPLES_INPUT].name
        shared = shared or tensor
        if tensor != shared:
            raise invalid("Input tensor must be the same for all Signatures.")


def classification(
    servable: Servable, spec: model_pb2.ModelSpec, given: Input
) -> classification_pb2.ClassificationResult:
    """Runs a classification of tf.Examples."""
    labels, scores = classify(servable, spec.signature_name, read_input(given))
    result = classification_pb2.ClassificationResult()
    for row_labels, row_scores in zip(labels, scores.tolist(), strict=True):
        classes = result.classifications.add().classes
        for label, score in zip(row_labels, row_scores, strict=True):
            # The field is text; TF Serving puts bytes there as they are.
            classes.add(label=label.decode("utf-8", "replace"), score=score)
    return result


def regression(
    servable: Servable, spec: model_pb2.ModelSpec, given: Input
) -> regression_pb2.RegressionResult:
    """Runs a regression of tf.Examples."""
    values = regress(servable, spec.signature_name, read_input(given))
    result = regression_pb2.RegressionResult()
    for value in values.tolist():
        result.regressions.add(value=value)
    return result
