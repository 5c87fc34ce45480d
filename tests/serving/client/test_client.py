"""The client: forms of data, types, errors, retries."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import grpc
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from serving.client import Client, RequestError
from serving.client.encoding import input_columns
from serving.config.batching import BatchingConfig
from serving.config.server import ModelConfig
from serving.server import Server

_ROWS = [
    {"user": "ab", "price": 1.5, "history": ["x", "yz"], "label": 1},
    {"user": 12345, "price": 2, "history": ["", b"\xff"], "label": 0},
]
_CLICK = [[3.5], [4.0]]
_WATCH = [[5.0], [6.0]]


@pytest.fixture
def client(server):
    with Client(server.url, "toy") as client:
        yield client


@pytest.mark.parametrize(
    "data",
    [
        _ROWS,
        {name: [row[name] for row in _ROWS] for name in _ROWS[0]},
        {
            "user": np.array(["ab", "12345"]),
            "price": np.array([1.5, 2.0], np.float32),
            "history": np.array([["x", "yz"], ["", b"\xff"]], object),
        },
    ],
    ids="rows columns arrays".split(),
)
def test_rows_columns_and_arrays_give_the_same(client, data):
    outputs = client.predict(data)
    assert sorted(outputs) == ["click", "watch"]
    assert outputs["click"].dtype == np.float32 and outputs["click"].tolist() == _CLICK
    assert outputs["watch"].tolist() == _WATCH


def test_a_frame_gives_a_frame_with_its_index(client):
    outputs = client.predict(pd.DataFrame(_ROWS, index=["a", "b"]))
    assert outputs.to_dict() == {
        "click": {"a": 3.5, "b": 4.0},
        "watch": {"a": 5.0, "b": 6.0},
    }
    assert outputs["click"].dtype == np.float32
    assert list(client.predict(pd.DataFrame(_ROWS), ["watch"])) == ["watch"]
    with pytest.raises(ValueError, match="no output 'x'. There are: .'click', 'watch'"):
        client.predict(_ROWS, ["x"])


def test_a_version_or_a_label_can_be_asked(server):
    for version, expected in ((1, 2.5), (2, 3.5), ("stable", 2.5), (None, 3.5)):
        with Client(server.url, "toy", version=version) as client:
            assert client.predict(_ROWS[:1])["click"].tolist() == [[expected]]


def test_types_come_back_as_the_signature_says(server):
    inputs = {
        "i32": 3.0, "u64": [2**64 - 1], "f32": [float("nan")], "f64": True,
        "flag": [np.bool_(True)], "text": [["é", b"\xff"]],
    }  # fmt: skip
    with Client(server.url, "toy", signature_name="echo") as client:
        outputs = client.predict(inputs)
    assert outputs["i32"].dtype == np.int32 and outputs["i32"] == 3
    assert outputs["u64"].dtype == np.uint64 and outputs["u64"] == [2**64 - 1]
    assert np.isnan(outputs["f32"]).all() and outputs["f64"].dtype == np.float64
    assert outputs["flag"].tolist() == [True]
    assert outputs["text_bytes"].tolist() == [["é".encode(), b"\xff"]]
    with Client(server.url, "toy", signature_name="add") as client:
        assert client.predict({"x": [1]})["y"].tolist() == [3.0]


@pytest.mark.parametrize(
    "data, message",
    [
        ({"id": [1]}, "lacks the input 'x'"),
        ([{"x": 1}, {"id": 2}], "Row 1 lacks the input 'x'"),
        ({"x": [1.5]}, "'x' is of type DT_INT64. Received: 1.5 of type float"),
        ({"x": [None]}, "Received: None of type NoneType"),
    ],
)
def test_data_that_does_not_fit_is_refused_before_it_is_sent(data, message):
    with pytest.raises(ValueError, match=message):
        input_columns(data, {"x": {"dtype": "DT_INT64"}})


def _texts(values):
    return input_columns({"id": values}, {"id": {"dtype": "DT_STRING"}})["id"]


@pytest.mark.parametrize(
    "values",
    [
        [5, 5.0, Decimal("5.00")],
        [np.int8(5), np.uint64(5), np.float16(5), np.float32(5)],
        np.array([5, 5], np.uint8),
        pd.Series([5.0, 5.0], dtype="float32"),
        pd.Series([5, 5], dtype="Int16"),
        pd.Series([5, 5], dtype="Float32"),
        pd.Series([5, 5], dtype="double[pyarrow]"),
        pd.Series([5.0, 5.0]).astype("category"),
    ],
)
def test_a_whole_number_has_one_text(values):
    assert set(_texts(values)) == {"5"}


def test_other_values_have_the_texts_of_the_logs():
    assert _texts([True, np.bool_(False), "5.0", "NA"]) == [
        "true",
        "false",
        "5.0",
        "NA",
    ]
    assert _texts([0.2, np.float32(0.2), np.float16(0.2)]) == ["0.2"] * 3
    frame = pd.DataFrame({"id": np.float32([0.2, 1e-5])}).astype("category")
    assert _texts(frame["id"]) == ["0.2", "1e-05"]
    assert _texts([Decimal("2.50"), -0.0, 1e15 + 0.5]) == [
        "2.50",
        "0",
        repr(1e15 + 0.5),
    ]
    long = "12345678901234567890123456789012"
    assert _texts([Decimal(f"{long}.00"), float("inf")]) == [long, "inf"]
    missing = [None, float("nan"), pd.NA, pd.NaT, np.float32("nan"), Decimal("NaN")]
    assert _texts(missing) == [""] * 6


@pytest.mark.parametrize("value", [1.58e18, np.float32(2**24), np.float16(2048)])
def test_ids_that_have_lost_digits_are_refused(value):
    for dtype in ("DT_STRING", "DT_INT64"):
        with pytest.raises(ValueError, match="digits are lost"):
            input_columns({"id": [value]}, {"id": {"dtype": dtype}})


def test_a_server_says_when_to_come_back(monkeypatch):
    monkeypatch.setattr("urllib3.util.retry.time.sleep", (slept := []).append)
    heads = [
        "503 Busy\r\nRetry-After: 7",
        "503 Busy\r\nRetry-After: 86400",  # a client does not wait for a day
        "200 OK",
    ]

    def answer(listener):
        for head in heads:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                body = b'{"model_version_status": []}'
                head += f"\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                connection.sendall(f"HTTP/1.1 {head}".encode() + body)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        with Client(f"http://127.0.0.1:{listener.getsockname()[1]}", "toy") as client:
            assert client.status() == {}
        thread.join()
    assert slept == [7, 60]


def test_an_answer_that_takes_too_long_is_asked_for_once():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Client(url, "toy", timeout=0.05) as client:
            with pytest.raises(RequestError, match="Read timed out"):
                client.status()
        listener.accept()[0].close()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("retries", [1, 2])
def test_grpc_tries_again_while_a_server_is_unavailable(retries):
    calls = []

    class Busy(model_service_pb2_grpc.ModelServiceServicer):
        def GetModelStatus(self, request, context):
            calls.append(request.model_spec.name)
            if len(calls) < 3:
                context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
            return get_model_status_pb2.GetModelStatusResponse()

    server = grpc.server(ThreadPoolExecutor(1))
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Busy(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Client(f"grpc://127.0.0.1:{port}", "toy", retries=retries) as client:
        if retries == 2:
            assert client.status() == {}
        else:
            with pytest.raises(RequestError, match="busy") as caught:
                client.status()
            assert caught.value.status == 503
    server.stop(None).wait()
    assert len(calls) == retries + 1


def test_status_and_metadata(client):
    assert client.status() == {2: "AVAILABLE", 1: "AVAILABLE"}
    assert client.metadata()["model_spec"]["version"] == "2"


def test_errors_carry_the_servers_message(server):
    with Client(server.url, "toy", signature_name="positive") as client:
        with pytest.raises(RequestError, match="x must be positive") as caught:
            client.predict({"x": [-1]})
        assert caught.value.status == 400
    with pytest.raises(ValueError, match="no signature 'no'. It has: .'add'"):
        Client(server.url, "toy", signature_name="no").predict({})
    with pytest.raises(RequestError, match=r"Latest\(other\)"):
        Client(server.url, "other").predict({})


def test_an_unreachable_server_is_tried_again_then_reported(monkeypatch):
    monkeypatch.setattr("urllib3.util.retry.time.sleep", (slept := []).append)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RequestError, match="Cannot reach"):
            Client(url, "toy", retries=2).status()
    assert [0.4 <= seconds <= 0.6 for seconds in slept] == [True]  # first at once


def test_503_is_tried_again_and_other_errors_are_not():
    statuses, served = ["503 Busy", "503 Busy", "200 OK", "500 Oops"], []

    def answer(listener):
        for status in statuses:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                body = b'{"model_version_status": []}'
                head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n"
                connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
            served.append(status)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        with Client(f"http://127.0.0.1:{listener.getsockname()[1]}", "toy") as client:
            assert client.status() == {}
            assert len(served) >= 2
            with pytest.raises(RequestError) as caught:
                client.status()
        thread.join()
    assert caught.value.status == 500 and served == statuses


def test_columns_are_made_what_the_model_was_trained_with():
    shape = {"dim": [{"size": "-1"}, {"size": "3"}]}
    inputs = {
        "seen": {"dtype": "DT_STRING", "tensor_shape": shape},
        "city": {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}]}},
        "member": {"dtype": "DT_STRING"},
    }
    rows = [
        {"seen": [1, 2, 3, 4], "city": None, "member": True},
        {"seen": ["a"], "city": "Rome", "member": False},
        {"seen": {7.0: 0.25, "a": 1, "b": None}, "city": "Rome", "member": None},
    ]
    assert input_columns(rows, inputs) == {
        "seen": [["2", "3", "4"], ["a", "", ""], ["7:0.25", "a:1", ""]],
        "city": ["", "Rome", "Rome"],
        "member": ["true", "false", ""],
    }
    price = {"price": {"dtype": "DT_FLOAT"}}
    (nan,) = input_columns([{"price": None}], price)["price"]
    assert nan != nan
    with pytest.raises(ValueError, match="'price' is of type DT_FLOAT. Received: 'x'"):
        input_columns([{"price": "x"}], price)


def test_what_pandas_has_for_none_is_a_missing_value():
    two = {"dim": [{"size": "-1"}, {"size": "2"}]}
    inputs = {
        "city": {"dtype": "DT_STRING"},
        "seen": {"dtype": "DT_STRING", "tensor_shape": two},
        "prices": {"dtype": "DT_FLOAT", "tensor_shape": two},
    }
    frame = pd.DataFrame(
        {
            "city": [float("nan"), "Rome", pd.NA],
            "seen": [float("nan"), None, ["a"]],
            "prices": pd.Series([None, [1.0, 4.0], [2.0, 3.0]], dtype=object),
        }
    )
    columns = input_columns(frame, inputs)
    assert columns["city"] == ["", "Rome", ""]
    assert columns["seen"] == [["", ""], ["", ""], ["a", ""]]
    np.testing.assert_array_equal(columns["prices"], [[np.nan] * 2, [1, 4], [2, 3]])
    one = {"city": "", "seen": [], "prices": [1.0]}
    with pytest.raises(ValueError, match="'prices' takes 2 numbers.* Received: 1"):
        input_columns([one], inputs)
    with pytest.raises(ValueError, match="'seen' takes a list .* Received: 'a'"):
        input_columns([{"city": "", "seen": "a", "prices": None}], inputs)
    with pytest.raises(ValueError, match="at least one row. Received: none"):
        input_columns(frame.head(0), inputs)


def test_a_url_says_which_api_it_is():
    for url in ("localhost:8501", "ftp://localhost"):
        with pytest.raises(ValueError, match="starts with http://, https:// or grpc"):
            Client(url, "toy")


class Ranker(tf.Module):
    """Tiles the user's feature, as an export's `rank` does."""

    def __init__(self):
        super().__init__()
        self.one = tf.Variable(1.0)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "user"),
            tf.TensorSpec([None], tf.float32, "price"),
            tf.TensorSpec([None, 2], tf.string, "seen"),
        ]
    )
    def rank(self, user, price, seen):
        length = tf.cast(tf.strings.length(user), tf.float32)
        last = tf.strings.join([user, seen[:, 0]])
        return {
            "score": (price * length * self.one)[:, None],
            "who": tf.broadcast_to(last, tf.shape(price)),
        }


@pytest.fixture(scope="module")
def ranker_path(tmp_path_factory):
    base = tmp_path_factory.mktemp("ranker")
    module = Ranker()
    signatures = {"serving_default": module.rank, "rank": module.rank}
    tf.saved_model.save(module, str(base / "1"), signatures=signatures)
    return base


@pytest.fixture(scope="module")
def ranker(ranker_path):
    with Server([ModelConfig("ranker", ranker_path)], grpc_port=0) as server:
        yield server


@pytest.mark.parametrize("over", ["rest", "grpc"])
def test_rank_sends_the_user_once(ranker, over):
    url = ranker.url if over == "rest" else f"grpc://{ranker.grpc_address}"
    user = {"user": "abc", "seen": ["x", "y"]}
    with Client(url, "ranker") as client:
        answer = client.rank(user, [{"price": 1}, {"price": 2.5}, {"price": 0}])
        assert answer["score"].tolist() == [[3.0], [7.5], [0.0]]
        assert answer["who"].tolist() == ["abcx"] * 3
        frame = pd.DataFrame({"price": [1.0, 2.0]}, index=["i1", "i2"])
        answer = client.rank(user, frame, ["score"], tile=True)
        assert answer.to_dict() == {"score": {"i1": 3.0, "i2": 6.0}}
        with pytest.raises(ValueError, match=r"from both: \['user'\]"):
            client.rank(user, [{"price": 1, "user": "other"}])
        with pytest.raises(ValueError, match="at least one candidate"):
            client.rank(user, [])
        with pytest.raises(ValueError, match="Row 1 lacks 'price'"):
            client.rank(user, [{"price": 1}, {}])
        with pytest.raises(ValueError, match="lacks the input 'seen'"):
            client.rank({"user": "abc"}, [{"price": 1}])


@pytest.mark.parametrize("over", ["rest", "grpc"])
def test_rank_sends_the_user_for_each_candidate_to_a_server_that_batches(
    ranker_path, over, monkeypatch
):
    user, candidates = {"user": "abc", "seen": ["x", "y"]}, {"price": [1, 2.5]}
    options = {"batching": BatchingConfig(), "grpc_port": 0}
    sent = []
    ask = Client._ask

    def record(self, signature_name, data, outputs):
        sent.append(len(data["user"]))
        return ask(self, signature_name, data, outputs)

    monkeypatch.setattr(Client, "_ask", record)
    with Server([ModelConfig("ranker", ranker_path)], **options) as server:
        url = server.url if over == "rest" else f"grpc://{server.grpc_address}"
        with Client(url, "ranker") as client:
            for _ in range(2):
                answer = client.rank(user, candidates)
                assert answer["score"].tolist() == [[3.0], [7.5]]
            assert sent == [1, 2, 2]  # refused once, and remembered
            with pytest.raises(RequestError, match="equal 0th-dimension size"):
                client.rank(user, candidates, tile=False)
            with pytest.raises(ValueError, match="lacks the input 'seen'"):
                client.rank({"user": "abc"}, candidates)


@pytest.mark.parametrize("name", ["a#b", "100%", "%41", "two words", "so?", "größe"])
def test_a_model_name_is_quoted(base_path, name):
    config = ModelConfig(name, base_path, "all", {"50%": 1})
    with Server([config], allow_unavailable_labels=True) as server:
        for version, bias in ((None, 2.0), (1, 1.0), ("50%", 1.0)):
            with Client(server.url, name, version=version) as client:
                assert client.predict(_ROWS)["click"][0] == 1.5 + bias
                assert client.status() == {2: "AVAILABLE", 1: "AVAILABLE"}


def test_grpc_gives_what_rest_gives(base_path):
    config = ModelConfig("toy", base_path, "all", {"stable": 1})
    with Server([config], grpc_port=0, allow_unavailable_labels=True) as server:
        with Client(f"grpc://{server.grpc_address}", "toy", version="stable") as client:
            outputs = client.predict(_ROWS)
            assert outputs["click"].tolist() == [[2.5], [3.0]]
            assert outputs["click"].dtype == np.float32
            assert client.status() == {2: "AVAILABLE", 1: "AVAILABLE"}
            assert client.metadata()["model_spec"]["version"] == "1"
        grpc = Client(f"grpc://{server.grpc_address}", "toy", signature_name="positive")
        with grpc as client, pytest.raises(RequestError, match="positive") as caught:
            client.predict({"x": [-1]})
        assert caught.value.status == 400
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"grpc://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RequestError) as caught:
            Client(url, "toy", retries=1).status()
        assert caught.value.status == 503


def test_durations_are_seconds_and_times_of_numpy_are_refused():
    hours = np.array([7, "NaT"], "timedelta64[h]").astype("timedelta64[ns]")
    for dtype, written in (("DT_STRING", ["25200", ""]), ("DT_FLOAT", [25200.0])):
        found = input_columns({"x": hours}, {"x": {"dtype": dtype}})["x"]
        assert found[: len(written)] == written
    times = np.array(["2024-01-01"], "datetime64[ns]")
    for dtype in ("DT_STRING", "DT_FLOAT", "DT_INT64"):
        with pytest.raises(ValueError, match="times of type datetime64"):
            input_columns({"x": times}, {"x": {"dtype": dtype}})
