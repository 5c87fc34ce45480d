"""Between the messages of a gRPC request and what a servable takes and gives."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager

import numpy as np
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import classification_pb2, model_pb2, regression_pb2
from tensorflow_serving.apis.input_pb2 import Input

from serving.errors import invalid
from serving.examples import classify, regress, with_context
from serving.servable import DEFAULT_SIGNATURE, Servable, Signature
from serving.served_models import ServedModels
from serving.tensor_proto import from_proto


def acquire(
    models: ServedModels, spec: model_pb2.ModelSpec
) -> AbstractContextManager[tuple[int, Servable]]:
    """Holds the version that a request names, by number, by label or not at all."""
    version = spec.version.value if spec.HasField("version") else None
    return models.acquire(spec.name, version, spec.version_label or None)


def answered_by(name: str, number: int, signature: str) -> model_pb2.ModelSpec:
    """Makes the spec that tells which version answered."""
    spec = model_pb2.ModelSpec(name=name, signature_name=signature or DEFAULT_SIGNATURE)
    spec.version.value = number
    return spec


def read_inputs(
    signature: Signature, protos: Mapping[str, TensorProto]
) -> dict[str, np.ndarray]:
    """Makes the arrays of a predict request.

    Raises:
        ServingError: inputs are missing, unknown or of a wrong type.
    """
    extra = sorted(protos.keys() - signature.inputs.keys())
    missing = sorted(signature.inputs.keys() - protos.keys())
    if extra or missing:
        raise invalid(
            f"input size does not match signature: {len(protos)}!="
            f"{len(signature.inputs)} len({{{','.join(sorted(protos))}}}) != "
            f"len({{{','.join(sorted(signature.inputs))}}}). Sent extra: "
            f"{{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}."
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
    if request.WhichOneof("kind") == "example_list_with_context":
        shared = request.example_list_with_context
        examples = with_context(shared.context, shared.examples)
    else:
        examples = [e.SerializeToString() for e in request.example_list.examples]
    if not examples:
        raise invalid("Input is empty.")
    return examples


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
