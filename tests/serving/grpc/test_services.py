"""gRPC with the stubs of tensorflow-serving-api, beside REST."""

import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.config.server import Limits, ModelConfig
from serving.release.publish import publish
from serving.server import Server, StartError


@pytest.fixture(scope="module")
def both(base_path):
    """A server of REST and gRPC, both versions of the toy model."""
    config = ModelConfig("toy", base_path, "all", {"stable": 1})
    limits = Limits(max_body_bytes=2**20)
    with Server(
        [config], grpc_port=0, limits=limits, allow_unavailable_labels=True
    ) as server:
        yield server


@pytest.fixture(scope="module")
def channel(both):
    with grpc.insecure_channel(both.grpc_address) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def _predict(signature, outputs=(), version=None, label="", **inputs):
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name = "toy"
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def _float(*values):
    return np.array(values, np.float32)


def _fails(code, call, request, message):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=240)
    assert caught.value.code() is code
    assert message in caught.value.details()


def test_predict(stub):
    request = _predict("", user=[b"ab"], price=_float(1.5), history=[[b"x", b"yz"]])
    answer = stub.Predict(request)
    assert list(answer.outputs["click"].float_val) == [3.5]
    assert list(answer.outputs["watch"].float_val) == [5.0]
    assert [d.size for d in answer.outputs["click"].tensor_shape.dim] == [1, 1]
    spec = answer.model_spec
    found = (spec.name, spec.version.value, spec.signature_name)
    assert found == ("toy", 2, "serving_default")


@pytest.mark.parametrize(
    "chosen, expected", [({}, 3.0), ({"version": 1}, 2.0), ({"label": "stable"}, 2.0)]
)
def test_a_version_or_its_label_chooses(stub, chosen, expected):
    answer = stub.Predict(_predict("add", x=_float(1), **chosen))
    assert list(answer.outputs["y"].float_val) == [expected]


def test_every_type_comes_back_as_it_went_in_its_field(stub):
    inputs = {
        "i32": np.array([[1, -2]], np.int32), "u64": np.array(2**64 - 1, np.uint64),
        "f32": _float(0.5, np.inf), "f64": np.array([1e300]),
        "flag": np.array([True, False]), "text": np.array([b"\xff\0", b""], object),
    }  # fmt: skip
    outputs = stub.Predict(_predict("echo", **inputs)).outputs
    for name, value in inputs.items():
        np.testing.assert_array_equal(tf.make_ndarray(outputs[name]), value)
        assert not outputs[name].tensor_content
    assert list(outputs["text_bytes"].string_val) == [b"\xff\0", b""]
    assert list(outputs["i32"].int_val) == [1, -2]
    half = stub.Predict(_predict("half", x=_float(0.5))).outputs["y"]
    assert half.dtype == tf.float16.as_datatype_enum
    assert tf.make_ndarray(half) == [0.5]
    assert list(stub.Predict(_predict("total", x=_float(1, 2))).outputs) == ["sum"]


def test_outputs_can_be_chosen(stub):
    inputs = {"user": [b""], "price": _float(1), "history": [[b"", b""]]}
    answer = stub.Predict(_predict("", outputs=["watch"], **inputs))
    assert list(answer.outputs) == ["watch"]
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    request = _predict("", outputs=["no"], **inputs)
    _fails(invalid, stub.Predict, request, "alias not found in signature: no")
    request = _predict("", outputs=["click", "click"], **inputs)
    _fails(invalid, stub.Predict, request, "duplicate output tensor alias: click")


@pytest.mark.parametrize(
    "request_, code, message",
    [
        (_predict("no"), "FAILED_PRECONDITION", '"no" not found'),
        (_predict("add"), "INVALID_ARGUMENT", "Missing but required: {x}"),
        (
            _predict("add", x=_float(1), y=_float(1)),
            "INVALID_ARGUMENT",
            "size does not match signature: 2!=1 len({x,y}) != len({x}). Sent extra",
        ),
        (
            _predict("add", x=[1]),
            "INVALID_ARGUMENT",
            "Received: a tensor of type int32",
        ),
        (_predict("positive", x=_float(-1)), "INVALID_ARGUMENT", "x must be positive"),
        (_predict("add", version=7, x=_float(1)), "NOT_FOUND", "Specific(toy, 7)"),
        (_predict("add", label="new", x=_float(1)), "INVALID_ARGUMENT", "label: new"),
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "has no name specified"),
        (_predict("add", z=_float(1)), "INVALID_ARGUMENT", "signature: z. Inputs"),
        (_predict("slow", x=[1]), "INVALID_ARGUMENT", "to be in the set {steps}."),
        (
            _predict("add", x=np.zeros(2**19, np.float32)),
            "RESOURCE_EXHAUSTED",
            "larger than max",
        ),
    ],
)
def test_faults_have_their_code(stub, request_, code, message):
    _fails(grpc.StatusCode[code], stub.Predict, request_, message)


def test_what_takes_too_long_is_given_up(base_path):
    limits = Limits(request_seconds=0.2)
    config = ModelConfig("toy", base_path)
    with (
        Server([config], grpc_port=0, limits=limits) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = _predict("slow", steps=np.array([10**8], np.int32))
        late = grpc.StatusCode.DEADLINE_EXCEEDED
        _fails(late, stub.Predict, request, "Timed out waiting for notification")


def test_damaged_tensors_are_refused(stub):
    request = _predict("add", x=_float(1, 2))
    request.inputs["x"].tensor_content = b"\0\0\0"  # no multiple of four
    _fails(
        grpc.StatusCode.INVALID_ARGUMENT,
        stub.Predict,
        request,
        "tensor parsing error: x",
    )
    request = _predict("add", x=_float(1, 2))
    request.inputs["x"].tensor_shape.dim[0].size = 3
    _fails(
        grpc.StatusCode.INVALID_ARGUMENT,
        stub.Predict,
        request,
        "tensor parsing error: x",
    )
    request.inputs["x"].dtype = 99
    _fails(
        grpc.StatusCode.INVALID_ARGUMENT,
        stub.Predict,
        request,
        "tensor parsing error: x",
    )


def test_one_value_that_stands_for_many_is_bounded(stub):
    # TensorFlow repeats the last value: 20 bytes would ask for 4 TB.
    request = _predict("add", x=_float(1))
    request.inputs["x"].ClearField("tensor_content")
    request.inputs["x"].float_val.append(1.0)
    request.inputs["x"].tensor_shape.dim[0].size = 3
    assert list(stub.Predict(request).outputs["y"].float_val) == [3.0, 3.0, 3.0]
    for sizes in ([10**12], [2**20 + 1], [-(2**11), 2**11]):
        del request.inputs["x"].tensor_shape.dim[:]
        for size in sizes:
            request.inputs["x"].tensor_shape.dim.add(size=size)
        exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
        _fails(exhausted, stub.Predict, request, "at most 1048576 values")


def _given(request, *values):
    for value in values:
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(value)
    return request


def test_classify_and_regress(stub):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", "classify"
    rows = stub.Classify(_given(request, 0.25)).result.classifications
    found = [(c.label, c.score) for c in rows[0].classes]
    assert found == [("no", 0.75), ("yes", 0.25)]

    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", "regress"
    empty = "Input is empty."
    _fails(grpc.StatusCode.INVALID_ARGUMENT, stub.Regress, request, empty)
    answer = stub.Regress(_given(request, 1.0, 0.5))
    assert [r.value for r in answer.result.regressions] == [3.0, 2.5]


def _multi(name, *tasks):
    request = _given(inference_pb2.MultiInferenceRequest(), 0.5)
    for kind, signature in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{kind}")
        task.model_spec.name, task.model_spec.signature_name = name, signature
    return request


def test_multi_inference_needs_signatures_of_one_input(stub):
    regress, classify = ("regress", "regress"), ("classify", "classify")
    (one,) = stub.MultiInference(_multi("toy", regress)).results
    assert one.regression_result.regressions[0].value == 2.5
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    for request, message in (
        (_multi("toy", regress, classify), "must be the same for all Signatures."),
        (_multi("toy", regress, regress), "Duplicate evaluation of signature: regress"),
        (_multi("toy", ("regress", "no")), "not found in model graph: no"),
        (_multi("toy", ("regress", "classify")), "Expected one output Tensor."),
        (_multi("toy"), "ModelSpec has no name specified."),
    ):
        _fails(invalid, stub.MultiInference, request, message)
    other = _multi("toy", regress, classify)
    other.tasks[1].model_spec.name = "other"
    _fails(invalid, stub.MultiInference, other, "must access the same model name.")
    unimplemented = grpc.StatusCode.UNIMPLEMENTED
    request = _multi("toy", ("predict", "regress"))
    _fails(unimplemented, stub.MultiInference, request, "Unsupported signature method")


def test_multi_inference_of_two_signatures(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        inputs = tf.compat.v1.placeholder(tf.string, [None], "inputs")
        x = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})
        x = x["x"] + tf.compat.v1.get_variable("bias", initializer=1.0)
        session.run(tf.compat.v1.global_variables_initializer())
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "m" / "1"))
        make = tf.compat.v1.saved_model.build_signature_def
        info = tf.compat.v1.saved_model.build_tensor_info
        signatures = {
            name: make({"inputs": info(inputs)}, {output: info(value)}, f"a/{name}")
            for name, output, value in (
                ("regress", "outputs", x), ("classify", "scores", x[:, None] * 2),
            )
        }  # fmt: skip
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    request = _multi("m", ("regress", "regress"), ("classify", "classify"))
    with (
        Server([ModelConfig("m", tmp_path / "m")], grpc_port=0) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        one, two = stub.MultiInference(request).results
    assert one.regression_result.regressions[0].value == 1.5
    (found,) = two.classification_result.classifications[0].classes
    assert (found.label, found.score) == ("", 3.0)
    assert two.model_spec.signature_name == "classify"


def test_metadata(stub):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    _fails(invalid, stub.GetModelMetadata, request, "Missing ModelSpec")
    request.model_spec.name = "toy"
    _fails(invalid, stub.GetModelMetadata, request, "at least one metadata_field")
    request.metadata_field.append("signature_def")
    answer = stub.GetModelMetadata(request)
    assert answer.model_spec.version.value == 2
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def["add"].inputs) == {"x"}


def test_status(models):
    request = get_model_status_pb2.GetModelStatusRequest()
    _fails(grpc.StatusCode.INVALID_ARGUMENT, models.GetModelStatus, request, "Spec")
    request.model_spec.name = "toy"
    found = models.GetModelStatus(request).model_version_status
    assert [(v.version, v.state) for v in found] == [(2, 30), (1, 30)]  # AVAILABLE
    request.model_spec.version.value = 3
    missing = "Could not find version 3 of model toy"
    _fails(grpc.StatusCode.NOT_FOUND, models.GetModelStatus, request, missing)


def test_requests_in_parallel_do_not_mix(stub):
    def ask(value):
        return stub.Predict(_predict("add", x=_float(value))).outputs["y"].float_val[0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(80))) == [x + 2.0 for x in range(80)]


def test_reload_changes_models_versions_and_labels(saved_models, tmp_path):
    for name in ("one", "two"):
        publish(saved_models / name, tmp_path / "a")
    publish(saved_models / "one", tmp_path / "b")
    with (
        Server(
            [ModelConfig("a", tmp_path / "a")],
            grpc_port=0,
            allow_unavailable_labels=True,
        ) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        reload = model_service_pb2_grpc.ModelServiceStub(
            channel
        ).HandleReloadConfigRequest

        def states(name):
            answer = requests.get(f"{server.url}/v1/models/{name}", timeout=240).json()
            return [
                v["version"]
                for v in answer.get("model_version_status", [])
                if v["state"] == "AVAILABLE"
            ]

        def config(name, **labels):
            entry = request.config.model_config_list.config.add(
                name=name,
                base_path=str(tmp_path / name),
                model_platform="tensorflow",
            )
            entry.version_labels.update(labels)
            return entry

        request = model_management_pb2.ReloadConfigRequest()
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        _fails(invalid, reload, request, "Only ModelConfigList")
        config("a", old=1).model_version_policy.specific.versions.append(1)
        config("b")
        assert reload(request).status.error_code == 0
        assert (states("a"), states("b")) == (["1"], ["1"])
        url = f"{server.url}/v1/models/a/labels/old:predict"
        body = '{"signature_name": "add", "instances": [1]}'
        assert requests.post(url, body, timeout=240).json() == {"predictions": [2.0]}

        # What cannot be had changes nothing.
        request = model_management_pb2.ReloadConfigRequest()
        config("a", old=9)
        failed = grpc.StatusCode.FAILED_PRECONDITION
        _fails(failed, reload, request, "assign label to version 9 of model a")
        request = model_management_pb2.ReloadConfigRequest()
        config("none")
        _fails(invalid, reload, request, "no directory")
        assert (states("a"), states("b")) == (["1"], ["1"])

        request = model_management_pb2.ReloadConfigRequest()
        config("b")
        reload(request)
        assert (states("a"), states("b")) == ([], ["1"])


def test_a_taken_port_is_an_error(base_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"{port} for gRPC"):
            Server([ModelConfig("toy", base_path)], grpc_port=port)
