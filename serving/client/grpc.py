"""The client's way to a server over gRPC, with the stubs of tensorflow-serving-api.

Faster than REST where answers are large, and floats arrive bit for bit. The stubs
import TensorFlow, which takes seconds, once.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.client.encoding import from_json
from serving.client.retry import RequestError, grpc_service_config
from serving.errors import HTTP_STATUS, Code

# What is longer than this is not kept, and so not tried again.
_RETRY_BYTES = 64 << 20
_STATE = get_model_status_pb2.ModelVersionStatus.State


class GrpcChannel:
    """Asks one model over gRPC.

    Args:
        address: str. The server, such as "127.0.0.1:8500".
        model_name, version: As of `RestChannel`.
        timeout: float. Seconds to wait for an answer, all tries together.
        retries: int. How often to try again; gRPC does so at most 4 times.
    """

    reconnects = 0  # what no server has seen gRPC sends again itself

    def __init__(
        self,
        address: str,
        model_name: str,
        version: int | str | None,
        timeout: float,
        retries: int,
    ):
        self._name, self._version = model_name, version
        self._timeout = timeout
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.per_rpc_retry_buffer_size", _RETRY_BYTES),
            ("grpc.service_config", json.dumps(grpc_service_config(retries))),
        ]
        self._channel = grpc.insecure_channel(address, options=options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def metadata(self) -> dict[str, Any]:
        """Gives name, version and signatures, as REST does."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            metadata_field=["signature_def"]
        )
        response = self._ask(self._prediction.GetModelMetadata, self._address(request))
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return {
            "model_spec": _to_dict(response.model_spec),
            "metadata": {"signature_def": _to_dict(signatures)},
        }

    def states(self) -> dict[int, tuple[str, str]]:
        """Gives state and load error of each version."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self._name
        found = self._ask(self._models.GetModelStatus, request).model_version_status
        return {
            v.version: (_STATE.Name(v.state), v.status.error_message) for v in found
        }

    def predict(
        self,
        signature_name: str,
        signature: Mapping[str, Any],
        columns: Mapping[str, Any],
        wanted: Sequence[str],
    ) -> dict[str, np.ndarray]:
        """Gives the wanted outputs, and has the server send no others."""
        request = self._address(predict_pb2.PredictRequest(output_filter=wanted))
        request.model_spec.signature_name = signature_name
        for name, column in columns.items():
            array = from_json(column, signature["inputs"][name]["dtype"])
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        outputs = self._ask(self._prediction.Predict, request).outputs
        return {name: _text(tf.make_ndarray(outputs[name])) for name in wanted}

    def _address(self, request: Any) -> Any:
        request.model_spec.name = self._name
        if isinstance(self._version, int):
            request.model_spec.version.value = self._version
        elif self._version is not None:
            request.model_spec.version_label = self._version
        return request

    def _ask(self, call: Callable[..., Any], request: Any) -> Any:
        try:
            return call(request, timeout=self._timeout)
        except grpc.RpcError as error:
            code = Code(error.code().value[0])
            message = error.details() or code.name
            raise RequestError(message, HTTP_STATUS[code]) from error


def _to_dict(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )


def _text(array: np.ndarray) -> np.ndarray:
    """Strings as REST gives them: str where the bytes are UTF-8."""
    if array.dtype != object:
        return array
    decoded = [_decoded(value) for value in array.ravel()]
    return np.array(decoded, object).reshape(array.shape)


def _decoded(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
