"""What the server refuses: slow, idle, large, many; and that it goes on answering."""

import asyncio
import contextlib
import http.client
import json
import re
import resource
import select
import socket
import threading
import time

import pytest
import requests
import uvicorn
from tensorflow.core.protobuf.config_pb2 import RunOptions

from serving.config.server import Limits, ModelConfig
from serving.models import servable
from serving.rest.connections import BoundedProtocol
from serving.server import Server

_HEAD = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\n"
_ADD = b'{"signature_name": "add", "instances": [1]}'
_LIMITS = Limits(
    max_body_bytes=2**20,
    max_in_flight=4,
    max_connections=40,
    request_seconds=1.0,
    header_seconds=0.4,
    body_seconds=0.4,
)


@pytest.fixture(scope="module")
def strict(base_path):
    """A server with limits that a test reaches at once."""
    with Server([ModelConfig("toy", base_path)], limits=_LIMITS) as server:
        yield server


def _connect(server):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def _still_answers(server):
    url = server.url + "/v1/models/toy:predict"
    answer = requests.post(url, _ADD, timeout=10)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [3.0]})


def _read_to_end(connection):
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def _slow(steps):
    return json.dumps({"signature_name": "slow", "instances": [steps]})


def test_a_head_that_trickles_ends_the_connection(strict):
    with _connect(strict) as connection:
        start = time.monotonic()
        with pytest.raises(ConnectionError):
            for byte in _HEAD * 20:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        assert 0.3 < time.monotonic() - start < 3
    _still_answers(strict)


def test_a_connection_that_says_nothing_is_closed(strict):
    with _connect(strict) as connection:
        assert _read_to_end(connection) == b""
    _still_answers(strict)


def test_a_head_that_does_not_end_is_refused(strict):
    with _connect(strict) as connection:
        with contextlib.suppress(ConnectionError):  # it is answered before the end
            for _ in range(80):
                connection.sendall(_HEAD[:22] + b"A" * 4096)
                if connection in select.select([connection], [], [], 0)[0]:
                    break
        assert _read_to_end(connection).startswith(b"HTTP/1.1 400 ")
    _still_answers(strict)


def test_a_large_body_before_a_head_is_not_counted_as_head(strict):
    body = b" " * 100_000 + _ADD
    request = _HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    last = request.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n")
    with _connect(strict) as connection:
        connection.sendall(request + last)
        assert _read_to_end(connection).count(b"HTTP/1.1 200 ") == 2


def test_an_upgrade_is_answered_as_if_nothing_had_been_asked(strict):
    """As of `curl --http2` and Java's client, whose requests have bodies too."""
    client = http.client.HTTPConnection(strict.url.removeprefix("http://"), timeout=10)
    asked = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}
    for _ in range(2):  # on one connection
        client.request("POST", "/v1/models/toy:predict", _ADD, asked)
        answer = client.getresponse()
        assert (answer.status, json.load(answer)) == (200, {"predictions": [3.0]})
        client.request("GET", "/healthz", headers=asked)
        assert client.getresponse().read() == b"ok\n"
    client.close()
    with _connect(strict) as connection:
        connection.sendall(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_so_is_one_whose_second_request_trickles(strict):
    length = b"Content-Length: %d\r\n\r\n" % len(_ADD)
    with _connect(strict) as connection:
        connection.sendall(_HEAD + length + _ADD)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        time.sleep(0.6)  # between requests there is more time
        connection.sendall(_HEAD)
        start = time.monotonic()
        _read_to_end(connection)
        assert 0.3 < time.monotonic() - start < 3


def test_a_body_that_does_not_arrive_gets_408(strict):
    with _connect(strict) as connection:
        connection.sendall(_HEAD + b"Content-Length: 100\r\n\r\n{")
        answer = _read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"The body did not arrive within 0.4 s" in answer
    _still_answers(strict)


def test_slow_bodies_take_no_ones_place(strict):
    length = b"Content-Length: 1000\r\n\r\n{"
    with contextlib.ExitStack() as stack:
        for _ in range(2 * _LIMITS.max_in_flight):
            stack.enter_context(_connect(strict)).sendall(_HEAD + length)
        time.sleep(0.1)
        _still_answers(strict)


def test_large_bodies_that_arrive_are_counted(strict):
    begun = _HEAD + b"Content-Length: 1000000\r\n\r\n" + b" " * 500_000
    with contextlib.ExitStack() as stack:
        for _ in range(_LIMITS.max_in_flight):
            stack.enter_context(_connect(strict)).sendall(begun)
        time.sleep(0.1)
        with _connect(strict) as connection:
            connection.sendall(begun)
            answer = _read_to_end(connection)
        assert answer.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in answer
        _still_answers(strict)  # a small one


def test_an_answer_that_nobody_reads_is_given_up():
    ours, theirs = socket.socketpair()

    async def write_much():
        protocol = BoundedProtocol(
            limits=Limits(body_seconds=0.1),
            idle={},
            config=uvicorn.Config(lambda: None),
            server_state=uvicorn.server.ServerState(),
            app_state={},
        )
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
        transport.write(b"x" * 2**24)
        await asyncio.sleep(0.3)
        return transport.is_closing()

    assert asyncio.run(write_much())
    assert len(_read_to_end(theirs)) < 2**24
    theirs.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_fifty_megabytes_get_413(strict, chunked):
    body = b" " * (50 * 2**20)
    data = iter([body[: 2**20]] * 50) if chunked else body
    answer = requests.post(strict.url + "/v1/models/toy:predict", data, timeout=30)
    assert answer.status_code in (408, 413)  # 408: this machine took too long over it
    _still_answers(strict)


def test_an_answer_that_takes_too_long_gets_504(strict):
    start = time.monotonic()
    url = strict.url + "/v1/models/toy:predict"
    answer = requests.post(url, _slow(100_000_000), timeout=30)
    assert answer.status_code == 504
    assert answer.json() == {"error": "Timed out waiting for notification"}
    assert time.monotonic() - start < 10
    _still_answers(strict)  # the run was stopped: four of them would fill the server


def test_more_requests_than_allowed_get_503_and_a_time_to_come_back(strict):
    answers = []

    def ask():
        url = strict.url + "/v1/models/toy:predict"
        answers.append(requests.post(url, _slow(100_000_000), timeout=30))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert requests.get(strict.url + "/healthz", timeout=10).status_code == 200
    for thread in threads:
        thread.join()
    by_status = sorted(answer.status_code for answer in answers)
    assert by_status == [503] * 4 + [504] * 4
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["Retry-After"] == "1"
    assert "4 requests are at work" in refused.json()["error"]
    _still_answers(strict)


def _counted(server):
    """{(metric, labels): number} of refusals and requests, as the page has them."""
    # A request that took too long is counted when its thread is done with it.
    executor = server._executor
    all_idle = threading.Barrier(executor._max_workers)
    waits = [executor.submit(all_idle.wait, 60) for _ in range(all_idle.parties)]
    for wait in waits:
        wait.result()
    page = requests.get(server.url + "/monitoring/prometheus/metrics", timeout=30).text
    found = re.findall(
        r"^:\S*:(refusal_count|request_count)\{(.*)\} (\d+)$", page, re.M
    )
    return {(name, labels): int(number) for name, labels, number in found}


def test_refusals_are_counted_with_their_status(strict):
    url, before = strict.url + "/v1/models/toy:predict", _counted(strict)
    assert requests.post(url, b" " * (2**20 + 1), timeout=30).status_code == 413
    answers = []

    def ask():
        body = _slow(100_000_000)
        answers.append(requests.post(url, body, timeout=30).status_code)

    while 503 not in answers:  # they may come one after the other
        threads = [threading.Thread(target=ask) for _ in range(5)]  # room for four
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    busy, late = answers.count(503), answers.count(504)
    assert busy + late == len(answers)
    with _connect(strict) as connection:
        connection.sendall(_HEAD + b"Content-Length: 100\r\n\r\n{")
        assert _read_to_end(connection).startswith(b"HTTP/1.1 408 ")
    with _connect(strict) as connection:
        connection.sendall(_HEAD)
        assert _read_to_end(connection) == b""
    unknown = strict.url + "/v1/models/none:predict"  # of no model: no such label
    assert requests.post(unknown, b" " * (2**20 + 1), timeout=30).status_code == 413
    after = _counted(strict)
    new = {key: n - before.get(key, 0) for key, n in after.items()}
    assert {key: n for key, n in new.items() if n} == {
        ("refusal_count", 'reason="body_size",status="413"'): 2,
        ("refusal_count", 'reason="in_flight",status="503"'): busy,
        ("refusal_count", 'reason="request_time",status="504"'): late,
        ("refusal_count", 'reason="body_time",status="408"'): 1,
        ("refusal_count", 'reason="head_time",status="closed"'): 1,
        ("request_count", 'model_name="toy",status="INVALID_ARGUMENT"'): 1,
        ("request_count", 'model_name="toy",status="UNAVAILABLE"'): busy,
        # Those that took too long, and the body that did not arrive.
        ("request_count", 'model_name="toy",status="DEADLINE_EXCEEDED"'): late + 1,
    }


def test_a_graph_that_gives_up_first_is_counted_too(base_path, monkeypatch):
    """As under load, where the server may look at its own clock later."""
    soon = RunOptions(timeout_in_ms=200)
    monkeypatch.setattr(servable, "RunOptions", lambda timeout_in_ms: soon)
    with Server([ModelConfig("toy", base_path)], limits=_LIMITS) as server:
        url, before = server.url + "/v1/models/toy:predict", _counted(server)
        assert requests.post(url, _slow(100_000_000), timeout=30).status_code == 504
        after = _counted(server)
    new = {key: n - before.get(key, 0) for key, n in after.items()}
    assert {key: n for key, n in new.items() if n} == {
        ("refusal_count", 'reason="request_time",status="504"'): 1,
        ("request_count", 'model_name="toy",status="DEADLINE_EXCEEDED"'): 1,
    }


def _flood(server, count, sent):
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(_connect(server))
            with contextlib.suppress(ConnectionError):  # it was closed already
                connection.sendall(sent)
        _still_answers(server)
    _still_answers(server)


@pytest.mark.parametrize("sent", [b"", _HEAD], ids=["silent", "half"])
def test_connections_above_the_limit_push_out_the_longest_idle(strict, sent):
    _flood(strict, 200, sent)


@pytest.mark.slow
def test_ten_thousand_connections(base_path):
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    if 0 < files[1] < 12_000:
        pytest.skip("the system allows too few open files")
    with Server([ModelConfig("toy", base_path)]) as server:
        for sent in (b"", _HEAD):
            _flood(server, 10_000, sent)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)


def test_a_client_that_leaves_disturbs_nobody(strict):
    for _ in range(20):
        with _connect(strict) as connection:
            connection.sendall(_HEAD + b"Content-Length: 60\r\n\r\n")
    time.sleep(0.1)
    _still_answers(strict)


def test_pipelined_requests_are_answered_in_turn(strict):
    request = _HEAD + b"Content-Length: %d\r\n\r\n" % len(_ADD) + _ADD
    last = request.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n")
    with _connect(strict) as connection:
        connection.sendall(request * 4 + last)
        assert _read_to_end(connection).count(b"HTTP/1.1 200 ") == 5


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,  # TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
        b"GET /v1/models/toy HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 200_000 + b"\r\n\r\n",
        _HEAD + b"Content-Length: -5\r\n\r\n",
        _HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        _HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        b"GET /v1/models/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/models/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(strict, data):
    with _connect(strict) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = connection.recv(65536)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501"))
    _still_answers(strict)


@pytest.mark.parametrize(
    "name",
    ["..", "../toy", "%2e%2e%2ftoy", "toy%00", "toy/", "/etc/passwd", "a" * 5000,
     "%ff%fe", "toy%2f1", "{toy}", "%", "toy;x=1", "~root", "con", "toy\\1"],
)  # fmt: skip
def test_path_tricks_in_the_model_name_find_nothing(strict, name):
    client = http.client.HTTPConnection(strict.url.removeprefix("http://"))
    for method, suffix in (("GET", ""), ("GET", "/metadata"), ("POST", ":predict")):
        body = _ADD if method == "POST" else None
        client.request(method, f"/v1/models/{name}{suffix}", body)
        answer = client.getresponse()
        text = answer.read()
        assert answer.status in (400, 404) and b"error" in text
    client.close()


def test_limits_must_be_positive():
    with pytest.raises(ValueError, match="max_in_flight must be positive. Received: 0"):
        Limits(max_in_flight=0)
