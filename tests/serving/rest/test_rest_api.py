"""The REST API over HTTP: predict, classify, regress, status, metadata, faults."""

import gzip
import http.client
import json
import math

import pytest
import requests

from serving.config.server import ModelConfig
from serving.server import Server

_ROW = {"user": "ab", "price": 1.5, "history": ["x", "yz"]}


@pytest.fixture
def ask(server):
    """Sends a request; gives status and parsed answer."""

    def ask(path, body=None, method=None, **options):
        data = body if isinstance(body, (str, bytes, type(None))) else json.dumps(body)
        method = method or ("GET" if body is None else "POST")
        url = server.url + path
        answer = requests.request(method, url, data=data, timeout=240, **options)
        return answer.status_code, answer.json() if answer.text else None

    return ask


def test_predict_rows(ask):
    rows = [_ROW, {"user": "", "price": 2, "history": ["", ""]}]
    status, answer = ask("/v1/models/toy:predict", {"instances": rows})
    assert status == 200
    assert answer == {
        "predictions": [
            {"click": [3.5], "watch": [5.0]},
            {"click": [4.0], "watch": [0.0]},
        ]
    }


def test_predict_columns(ask):
    columns = {"user": ["ab"], "price": [1.5], "history": [["x", "yz"]]}
    _, answer = ask("/v1/models/toy:predict", {"inputs": columns})
    assert answer == {"outputs": {"click": [[3.5]], "watch": [[5.0]]}}


def test_a_single_output_is_not_named_and_the_layout_is_the_servers(server):
    body = '{"signature_name": "add", "instances": [1, 2.5]}'
    answer = requests.post(server.url + "/v1/models/toy:predict", body, timeout=240)
    assert answer.text == '{\n    "predictions": [3.0, 4.5\n    ]\n}'
    assert answer.headers["Content-Type"] == "application/json"


def test_every_type_comes_back_as_it_went(ask):
    inputs = {
        "i32": [[1, -2]], "u64": 2**64 - 1, "f32": [0.1, math.inf, -math.inf],
        "f64": [1 / 3, 1e300], "flag": [True], "text": ["é\n\"", {"b64": "aGk="}],
    }  # fmt: skip
    body = {"signature_name": "echo", "inputs": inputs}
    status, answer = ask("/v1/models/toy:predict", body)
    assert status == 200, answer
    expected = {**inputs, "text": ['é\n"', "hi"]}
    expected["text_bytes"] = [{"b64": "w6kKIg=="}, {"b64": "aGk="}]
    assert answer["outputs"] == expected
    nan = '{"signature_name": "add", "inputs": [NaN]}'
    assert math.isnan(ask("/v1/models/toy:predict", nan)[1]["outputs"][0])


def test_scalar_outputs_need_the_column_form(ask):
    body = {"signature_name": "total", "inputs": [1, 2]}
    assert ask("/v1/models/toy:predict", body) == (200, {"outputs": 3.0})
    body = {"signature_name": "total", "instances": [1, 2]}
    status, answer = ask("/v1/models/toy:predict", body)
    assert status == 400 and "has no shape information" in answer["error"]


def test_regress_and_classify(ask):
    examples = {"context": {"x": 0.25}, "examples": [{"x": 1.0}, {}]}
    body = {"signature_name": "regress", **examples}
    assert ask("/v1/models/toy:regress", body) == (200, {"results": [3.0, 2.25]})
    body = {"signature_name": "classify", **examples}
    status, answer = ask("/v1/models/toy:classify", body)
    assert status == 200
    first, second = [["no", 0.0], ["yes", 1.0]], [["no", 0.75], ["yes", 0.25]]
    assert answer == {"results": [first, second]}
    status, answer = ask("/v1/models/toy:regress", examples)
    assert status == 400 and "Expected one input Tensor" in answer["error"]
    body = {"signature_name": "regress", "examples": [{"x": 1.0, "flag": [True]}]}
    assert ask("/v1/models/toy:regress", body)[0] == 200
    body = {"signature_name": "regress", "examples": [{"x": [1, 1.5]}]}
    status, answer = ask("/v1/models/toy:regress", body)
    assert "feature: x expecting type: int64" in answer["error"]


@pytest.mark.parametrize(
    "path, status, first_click",
    [
        ("/v1/models/toy/versions/1:predict", 200, 2.5),
        ("/v1/models/toy/labels/stable:predict", 200, 2.5),
        ("/V1/Models/toy:predict", 200, 3.5),
        ("/v1/models/toy/versions/7:predict", 404, "request: Specific(toy, 7)"),
        ("/v1/models/toy/labels/gone:predict", 404, "request: Specific(toy, 9)"),
        ("/v1/models/toy/labels/new:predict", 400, "version label: new"),
        ("/v1/models/other:predict", 404, "for request: Latest(other)"),
        ("/v1/models/toy:explain", 400, "Malformed request: POST /v1/models/toy:e"),
        ("/v1/models/toy:Predict", 400, "Malformed request: POST /v1/models/toy:P"),
        ("/v1/models/toy:predict?a=1", 400, "/v1/models/toy:predict?a=1"),
        ("/v1/models/toy", 400, "Malformed request: POST /v1/models/toy"),
        ("/v1/models/t%6Fy:predict", 200, 3.5),
        ("/v1/models/toy/labels/stabl%65:predict", 200, 2.5),
        ("/v1/models/toy%2Fversions%2F1:predict", 404, "Latest(toy/versions/1)"),
        ("/v1/models/toy/:predict", 400, "Malformed request"),
        ("/v1/models/toy:predict/", 400, "Malformed request"),
        ("/v1/models/toy/versions/01:predict", 200, 2.5),
        ("/v1/models/toy/versions/-1:predict", 400, "Malformed request"),
        ("/v1//models/toy:predict", 400, "Malformed request"),
    ],
)
def test_routes(ask, path, status, first_click):
    found, answer = ask(path, {"instances": [_ROW]})
    assert found == status
    if status == 200:
        assert answer["predictions"][0]["click"] == [first_click]
    else:
        assert first_click in answer["error"]


@pytest.mark.parametrize(
    "body, message",
    [
        ("", "JSON Parse error: The document is empty"),
        ('{"instances": [1,]}', "JSON Parse error: Invalid value. at offset: 17"),
        ("[1]", "JSON Value: [1] Is not object"),
        ({"signature_name": 1}, "'signature_name' key must be a string value."),
        ({"signature_name": "no"}, 'signature name: "no" not found in signature def'),
        ({"signature_name": "positive", "inputs": [-1]}, "x must be positive"),
        ({"signature_name": "half", "inputs": [1]}, "for tensor type: half"),
        ('{"signature_name": "add", "inputs": [1e400]}', "in double. at offset: 37"),
        ({"signature_name": None, "instances": [1]}, "key must be a string value."),
        (r'{"signature_name": "\ud800"}', "surrogate pair in string is invalid."),
        (r'{"signature_name": "\udcff"}', "surrogate pair in string is invalid."),
        ({"signature_name": "add", "instances": 5}, "Expecting 'instances' to be an"),
        ({"signature_name": "add", "instances": None}, "Expecting 'instances' to be"),
        ({"signature_name": "add", "inputs": None}, "JSON Value: null Type: Null is"),
        ({"signature_name": "add", "inputs": {}}, "Missing named input: x"),
        ({"signature_name": "add", "instances": [{}]}, "keys must be equal to: x"),
        (
            {"signature_name": "add", "instances": [[1], []]},
            "tensor size: 1 but got: 0",
        ),
    ],
)
def test_faulty_bodies_get_400_and_the_reason(ask, body, message):
    status, answer = ask("/v1/models/toy:predict", body, method="POST")
    assert status == 400 and message in answer["error"]


def test_json_is_read_before_the_model_is_looked_up(ask):
    status, answer = ask("/v1/models/other:predict", "{")
    assert status == 400 and "JSON Parse error" in answer["error"]


def test_status(ask):
    _, answer = ask("/v1/models/toy")
    fine = {"error_code": "OK", "error_message": ""}
    one, two = (
        {"version": number, "state": "AVAILABLE", "status": fine} for number in "12"
    )
    assert answer == {"model_version_status": [two, one]}
    assert ask("/v1/models/toy/versions/1")[1] == {"model_version_status": [one]}
    status, answer = ask("/v1/models/toy/versions/3")
    assert (status, answer["error"]) == (404, "Could not find version 3 of model toy")
    assert ask("/v1/models/other")[0] == 404
    assert ask("/v1/models")[1] == {"error": "Missing model name in request."}
    upper = ask("/v1/models/toy/METADATA")[1]  # only in small letters is it another
    assert upper == {"model_version_status": [two, one]}


def test_a_version_beyond_64_bits_is_refused_without_a_word(server):
    url = f"{server.url}/v1/models/toy/versions/{2**63}"
    for answer in (requests.get(url), requests.post(url + ":predict", "{}")):
        assert (answer.status_code, answer.content) == (400, b"")
        assert answer.headers["Content-Type"] == "application/json"


def test_of_a_key_that_comes_twice_the_first_counts(ask):
    body = '{"instances": [1.0], "instances": [2.0], "signature_name": "add"}'
    assert ask("/v1/models/toy:predict", body) == (200, {"predictions": [3.0]})


@pytest.mark.parametrize(
    "path, status",
    [
        ("/v1/models/toy/labels/anything", 200),  # a label is not looked at here
        ("/v1/models/toy/versions/1/metadata", 200),
        ("/v1/models/versions/1", 400),  # the model's name is missing
        ("/v1/models/toy/", 400),
        ("/v1/models/toy/versions/", 400),
        ("/v1/models/toy/metadata/", 400),
        (f"/v1/models/toy/versions/{2**63}", 400),
        ("/v1/", 400),
        ("/v1", 404),
        ("/v2/models/toy", 404),
        ("//v1/models/toy", 404),
    ],
)
def test_paths_of_get(server, path, status):
    assert requests.get(server.url + path, timeout=240).status_code == status


@pytest.mark.parametrize("path", ["/v1/models/toy", "/v1/models/t%6Fy", "/healthz"])
def test_a_path_with_scheme_and_host_is_a_path(server, path):
    client = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=240)
    client.request("GET", f"HTTP://any.host:80{path}")
    answer = client.getresponse()
    plain = requests.get(server.url + path, timeout=240)
    assert (answer.status, answer.read()) == (200, plain.content)
    client.request("GET", "http://any.host")
    assert client.getresponse().status == 404
    client.close()


def test_methods(server):
    url = server.url + "/v1/models/toy"
    for method in ("PUT", "PATCH", "DELETE", "TRACE"):
        answer = requests.request(method, url, timeout=240)
        assert answer.status_code == 400
        assert answer.json() == {"error": f"Malformed request: {method} /v1/models/toy"}
    assert requests.head(url, timeout=240).status_code == 400
    for origin, status in (("http://a", 200), ("https://a", 200), ("null", 400)):
        answer = requests.options(url, headers={"Origin": origin}, timeout=240)
        assert (answer.status_code, answer.text) == (status, "")
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_cors_headers_come_when_asked_for(base_path):
    config = ModelConfig("toy", base_path)
    with Server([config], cors=True, metrics_path="") as server:
        for method in ("GET", "OPTIONS", "DELETE"):
            url = server.url + "/v1/models/toy"
            answer = requests.request(method, url, timeout=240)
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert answer.headers["Access-Control-Allow-Methods"] == "POST, GET"
        metrics = server.url + "/monitoring/prometheus/metrics"
        assert requests.get(metrics, timeout=240).status_code == 404


def test_metadata(ask):
    _, answer = ask("/v1/models/toy/labels/stable/metadata")
    spec = {"name": "toy", "version": "1", "signature_name": ""}
    assert answer["model_spec"] == spec
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    default = signatures["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict"
    history = default["inputs"]["history"]
    assert history["dtype"] == "DT_STRING"
    assert history["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
        "unknown_rank": False,
    }
    assert ask("/v1/models/other/metadata")[0] == 404


def test_probes(server):
    assert requests.get(server.url + "/healthz", timeout=240).status_code == 200
    ready = requests.get(server.url + "/readyz", timeout=240)
    assert ready.status_code == 200 and ready.json()["ready"] is True
    assert requests.get(server.url + "/elsewhere", timeout=240).status_code == 404


def test_gzip_bodies_are_unpacked_and_what_is_no_gzip_is_refused(ask):
    headers = {"Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps({"instances": [_ROW]}).encode())
    assert ask("/v1/models/toy:predict", body, headers=headers)[0] == 200
    for broken in (b"{}", body[:-6]):
        status, answer = ask("/v1/models/toy:predict", broken, headers=headers)
        assert status == 400 and "The document is empty" in answer["error"]
    headers = {"Content-Encoding": "identity, x-gzip"}
    assert ask("/v1/models/toy:predict", body, headers=headers)[0] == 200


@pytest.mark.parametrize("packed", [False, True])
def test_bodies_above_the_limit_get_413(ask, packed):
    body = b" " * (33 * 2**20)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    body = gzip.compress(body) if packed else body
    status, answer = ask("/v1/models/toy:predict", body, headers=headers)
    assert status == 413 and "at most 33554432 bytes" in answer["error"]


def test_requests_in_parallel_do_not_mix(server):
    from concurrent.futures import ThreadPoolExecutor

    def ask(value):
        body = json.dumps({"signature_name": "add", "instances": [value]})
        answer = requests.post(server.url + "/v1/models/toy:predict", body, timeout=240)
        return answer.json()["predictions"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(80))) == [[x + 2.0] for x in range(80)]


def test_numbers_too_small_for_full_precision_are_zero(ask):
    echo = {"i32": 1, "u64": 1, "f64": 5e-324, "flag": True, "text": ""}
    body = {"signature_name": "echo", "inputs": {**echo, "f32": [1e-45, -1e-39, 1e-37]}}
    _, answer = ask("/v1/models/toy:predict", body)
    assert answer["outputs"]["f32"] == [0.0, -0.0, 1e-37]
    assert answer["outputs"]["f64"] == 0.0


def test_escaped_emoji_are_read_as_quickly_as_plain_text(ask):
    rows = [{**_ROW, "user": "\U0001f600"}] * 2  # json.dumps escapes it as a pair
    status, answer = ask("/v1/models/toy:predict", {"instances": rows})
    assert status == 200 and answer["predictions"][1]["watch"] == [7.0]  # 4 bytes + 3
