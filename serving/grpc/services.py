"""TF Serving's gRPC services, PredictionService and ModelService."""

import functools
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.message import Message
from tensorflow.core.protobuf.error_codes_pb2 import Code as ErrorCode
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving import metrics
from serving.config.server import Limits, model_configs
from serving.errors import Code, ServingError, invalid
from serving.grpc.messages import (
    CLASSIFY,
    acquire,
    answered_by,
    check_tasks,
    classification,
    read_inputs,
    regression,
    wanted_outputs,
)
from serving.grpc.tensor_proto import to_proto
from serving.models.manager import ServedModels

_log = logging.getLogger("serving")

_STATUS = {status.value[0]: status for status in grpc.StatusCode}
_STATES = get_model_status_pb2.ModelVersionStatus.State


def start_grpc(
    models: ServedModels,
    address: str,
    limits: Limits,
    threads: int,
    share_port: bool = False,
) -> tuple[grpc.Server, int]:
    """Starts the gRPC server.

    Args:
        models: ServedModels. What is served.
        address: str. "HOST:PORT"; port 0 takes a free one.
        limits: Limits. On the size of a message, and requests at work: above, they
            get RESOURCE_EXHAUSTED.
        threads: int. Requests that run at once.
        share_port: bool. Whether other processes may listen too. Defaults to no, or a
            taken port would be shared in silence.

    Returns:
        The server and its port.

    Raises:
        RuntimeError: the port is taken.
    """
    server = grpc.server(
        ThreadPoolExecutor(threads, thread_name_prefix="grpc"),
        options=[
            ("grpc.max_receive_message_length", limits.max_body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", int(share_port)),
        ],
        maximum_concurrent_rpcs=limits.max_in_flight,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _PredictionService(models, limits.max_body_bytes), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        _ModelService(models), server
    )
    port = server.add_insecure_port(address)
    server.start()
    return server, port


def _rpc(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """Makes a servicer's method of one that raises ServingErrors."""

    @functools.wraps(method)
    def call(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        start = time.perf_counter()
        try:
            response, code, message = method(self, request), None, ""
        except ServingError as error:
            response, code, message = None, error.code, error.message
        except Exception as error:
            _log.exception("%s failed inside the server", method.__name__)
            response, code = None, Code.INTERNAL
            message = f"Internal error: {type(error).__name__}: {error}"
        name = _spec(request).name
        if method.__name__ in _COUNTED and name in self._models:
            metrics.REQUEST_COUNT.add(name, code.name if code else "OK")
            if code is None:
                metrics.REQUEST_LATENCY.observe(
                    (time.perf_counter() - start) * 1e6, name, method.__name__, "GRPC"
                )
        if code is not None:
            _log.info("%s -> %s", method.__name__, code.name)
            context.abort(_STATUS[int(code)], message)
        return response

    return call


_COUNTED = ("Predict", "Classify", "Regress", "MultiInference")


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, classify, regress and metadata."""

    def __init__(self, models: ServedModels, max_values: int):
        self._models = models
        self._max_values = max_values

    @_rpc
    def Predict(self, request: predict_pb2.PredictRequest) -> Message:  # noqa: N802
        """Runs a signature on named tensors."""
        spec = request.model_spec
        with acquire(self._models, spec) as (number, servable):
            signature = servable.known_signature(spec.signature_name)
            wanted = wanted_outputs(signature, request.output_filter)
            inputs = read_inputs(signature, request.inputs, self._max_values)
            outputs = servable.run(signature, inputs)
        response = predict_pb2.PredictResponse(model_spec=answered_by(spec, number))
        for output in wanted:
            response.outputs[output].CopyFrom(to_proto(outputs[output]))
        return response

    @_rpc
    def Classify(  # noqa: N802
        self, request: classification_pb2.ClassificationRequest
    ) -> Message:
        """Gives labels and scores of tf.Examples."""
        spec = request.model_spec
        with acquire(self._models, spec) as (number, servable):
            result = classification(servable, spec, request.input)
        return classification_pb2.ClassificationResponse(
            model_spec=answered_by(spec, number), result=result
        )

    @_rpc
    def Regress(self, request: regression_pb2.RegressionRequest) -> Message:  # noqa: N802
        """Gives a value for each tf.Example."""
        spec = request.model_spec
        with acquire(self._models, spec) as (number, servable):
            result = regression(servable, spec, request.input)
        return regression_pb2.RegressionResponse(
            model_spec=answered_by(spec, number), result=result
        )

    @_rpc
    def MultiInference(  # noqa: N802
        self, request: inference_pb2.MultiInferenceRequest
    ) -> Message:
        """Runs classifications and regressions of one model on the same tf.Examples."""
        response = inference_pb2.MultiInferenceResponse()
        with acquire(self._models, _spec(request)) as (number, servable):
            check_tasks(servable, request.tasks)
            for task in request.tasks:
                spec = task.model_spec
                result = response.results.add(model_spec=answered_by(spec, number))
                if task.method_name == CLASSIFY:
                    found = classification(servable, spec, request.input)
                    result.classification_result.CopyFrom(found)
                else:
                    found = regression(servable, spec, request.input)
                    result.regression_result.CopyFrom(found)
        return response

    @_rpc
    def GetModelMetadata(  # noqa: N802
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> Message:
        """Gives the signatures."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        with acquire(self._models, request.model_spec) as (number, servable):
            found = get_model_metadata_pb2.SignatureDefMap()
            for name, definition in servable.signature_defs.items():
                found.signature_def[name].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = number
        response.metadata["signature_def"].Pack(found)
        return response


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """States of versions, and what to serve."""

    def __init__(self, models: ServedModels):
        self._models = models

    @_rpc
    def GetModelStatus(  # noqa: N802
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> Message:
        """Lists the versions of a model and their states."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        response = get_model_status_pb2.GetModelStatusResponse()
        for number, state, error in self._models.states(spec.name, version):
            entry = response.model_version_status.add(
                version=number, state=_STATES.Value(state)
            )
            entry.status.error_code = int(error.code) if error else ErrorCode.OK
            entry.status.error_message = error.message if error else ""
        return response

    @_rpc
    def HandleReloadConfigRequest(  # noqa: N802
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> Message:
        """Serves the models of a new configuration."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        try:
            configs = model_configs(request.config)
        except ValueError as error:
            raise invalid(str(error)) from error
        self._models.reload(configs)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = ErrorCode.OK
        return response


def _spec(request: Any) -> model_pb2.ModelSpec:
    if hasattr(request, "tasks"):
        return request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
    return getattr(request, "model_spec", model_pb2.ModelSpec())
