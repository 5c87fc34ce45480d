"""What the server refuses: slow, idle, large, many; and that it goes on answering.

Times go by on a clock that the tests move, see `clock`.
"""

import asyncio
import contextlib
import http.client
import json
import re
import resource
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import uvicorn
from tensorflow.core.protobuf.config_pb2 import RunOptions
from until import until

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
    request_seconds=300.0,
    header_seconds=100.0,
    body_seconds=200.0,
    idle_seconds=400.0,
)


@pytest.fixture(scope="module")
def strict(base_path, clock):
    """A server with limits that a test reaches as soon as it moves the clock."""
    with Server([ModelConfig("toy", base_path)], limits=_LIMITS) as server:
        yield server


def _connect(server):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=240)


def _still_answers(server):
    url = server.url + "/v1/models/toy:predict"
    answer = requests.post(url, _ADD, timeout=240)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [3.0]})


def _read_to_end(connection, clock=None):
    """What comes until the server closes; if given a clock, it goes fast meanwhile."""
    received, ended = b"", False

    def ends():
        nonlocal received, ended
        with contextlib.suppress(TimeoutError):
            chunk = connection.recv(65536)
            received, ended = received + chunk, not chunk
        return ended

    if clock is not None:
        connection.settimeout(0.01)
    with contextlib.suppress(ConnectionResetError):
        if clock is not None:
            clock.run_until(ends, "the server closes")
        while not ends():
            pass
    return received


def _slow(steps):
    return json.dumps({"signature_name": "slow", "instances": [steps]})


@pytest.fixture
def ask_slow(strict, gate):
    """Sends a request that stays at work; gives the future of its answer."""
    url = strict.url + "/v1/models/toy:predict"
    with ThreadPoolExecutor(_LIMITS.max_in_flight) as pool:

        def ask():
            held = gate.held
            answer = pool.submit(requests.post, url, _slow(1), timeout=300)
            until(lambda: gate.held > held, "it is at work")
            return answer

        yield ask
        gate.open()


def test_a_head_that_trickles_ends_the_connection(strict, clock):
    with _connect(strict) as connection:
        connection.settimeout(0.01)
        start = clock.time()
        with pytest.raises(ConnectionError):
            for byte in _HEAD * 20:
                connection.sendall(bytes([byte]))
                clock.move(_LIMITS.header_seconds / 20)
                with contextlib.suppress(TimeoutError):
                    connection.recv(1)
        assert clock.time() - start >= _LIMITS.header_seconds
    _still_answers(strict)


def test_a_connection_that_says_nothing_is_closed(strict, clock):
    with _connect(strict) as connection:
        start = clock.time()
        assert _read_to_end(connection, clock) == b""
        assert clock.time() - start >= _LIMITS.header_seconds
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
    client = http.client.HTTPConnection(strict.url.removeprefix("http://"), timeout=240)
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


def test_so_is_one_whose_second_request_trickles(strict, clock):
    length = b"Content-Length: %d\r\n\r\n" % len(_ADD)
    with _connect(strict) as connection:
        connection.sendall(_HEAD + length + _ADD)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        clock.move(2 * _LIMITS.header_seconds)  # between requests there is more time
        _still_answers(strict)  # so it has looked at its clock
        start = clock.time()
        connection.sendall(_HEAD)
        rest = _read_to_end(connection, clock)  # perhaps of the first answer
        assert b"HTTP/1.1" not in rest
        assert clock.time() - start >= _LIMITS.header_seconds


def test_a_body_that_does_not_arrive_gets_408(strict, clock):
    with _connect(strict) as connection:
        start = clock.time()
        connection.sendall(_HEAD + b"Content-Length: 100\r\n\r\n{")
        answer = _read_to_end(connection, clock)
        assert clock.time() - start >= _LIMITS.body_seconds
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"The body did not arrive within 200 s" in answer
    _still_answers(strict)


def test_slow_bodies_take_no_ones_place(strict):
    head = _HEAD + b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(2 * _LIMITS.max_in_flight):
            connection = stack.enter_context(_connect(strict))
            connection.sendall(head + b"{")
            assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")  # it is read
        _still_answers(strict)


def test_large_bodies_that_arrive_are_counted(strict):
    half = b" " * 500_000
    begun = _HEAD + b"Content-Length: 1000000\r\n\r\n" + half
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(_LIMITS.max_in_flight + 1):
            connections.append(stack.enter_context(_connect(strict)))
            connections[-1].sendall(begun)
        (refused,) = select.select(connections, [], [], 60)[0]
        answer = _read_to_end(refused)
        assert answer.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in answer
        _still_answers(strict)  # a small one
        for connection in connections:  # those that were not refused are read on
            if connection is not refused:
                connection.sendall(half)
                assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_an_answer_that_nobody_reads_is_given_up(clock):
    ours, theirs = socket.socketpair()

    async def write_much():
        protocol = BoundedProtocol(
            limits=Limits(header_seconds=1000.0, body_seconds=200.0),
            idle={},
            config=uvicorn.Config(lambda: None),
            server_state=uvicorn.server.ServerState(),
            app_state={},
        )
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
        start = clock.time()
        transport.write(b"x" * 2**24)
        while not transport.is_closing():
            clock.move(10)
            await asyncio.sleep(0)
        return clock.time() - start

    assert 200 <= asyncio.run(write_much()) < 1000
    assert len(_read_to_end(theirs)) < 2**24
    theirs.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_fifty_megabytes_get_413(strict, chunked):
    body = b" " * (50 * 2**20)
    data = iter([body[: 2**20]] * 50) if chunked else body
    answer = requests.post(strict.url + "/v1/models/toy:predict", data, timeout=240)
    assert answer.status_code == 413
    _still_answers(strict)


def test_an_answer_that_takes_too_long_gets_504(strict, clock, gate, ask_slow):
    start, before = clock.time(), _counted(strict)
    answer = ask_slow()
    clock.run_until(answer.done, "it takes too long")
    assert clock.time() - start >= _LIMITS.request_seconds
    assert answer.result().status_code == 504
    assert answer.result().json() == {"error": "Timed out waiting for notification"}
    gate.open()
    key = ("request_count", 'model_name="toy",status="OK"')
    until(lambda: _new(strict, before).get(key) == 1, "it comes to an end of its own")
    _still_answers(strict)


def test_more_requests_than_allowed_get_503_and_a_time_to_come_back(
    strict, gate, ask_slow
):
    answers = [ask_slow() for _ in range(_LIMITS.max_in_flight)]
    for _ in range(2):
        refused = requests.post(
            strict.url + "/v1/models/toy:predict", _ADD, timeout=240
        )
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "1"
        assert "4 requests are at work" in refused.json()["error"]
    assert requests.get(strict.url + "/healthz", timeout=240).status_code == 200
    gate.open()
    assert [answer.result().status_code for answer in answers] == [200] * 4
    _still_answers(strict)


def _counted(server):
    """{(metric, labels): number} of refusals and requests, as the page has them."""
    # A request that took too long is counted when its thread is done with it.
    executor = server._executor
    all_idle = threading.Barrier(executor._max_workers)
    waits = [executor.submit(all_idle.wait, 240) for _ in range(all_idle.parties)]
    for wait in waits:
        wait.result()
    page = requests.get(server.url + "/monitoring/prometheus/metrics", timeout=240).text
    found = re.findall(
        r"^:\S*:(refusal_count|request_count)\{(.*)\} (\d+)$", page, re.M
    )
    return {(name, labels): int(number) for name, labels, number in found}


def _new(server, before):
    """What has been counted since."""
    new = {key: n - before.get(key, 0) for key, n in _counted(server).items()}
    return {key: n for key, n in new.items() if n}


def test_refusals_are_counted_with_their_status(strict, clock, gate, ask_slow):
    url, before = strict.url + "/v1/models/toy:predict", _counted(strict)
    assert requests.post(url, b" " * (2**20 + 1), timeout=240).status_code == 413
    late = [ask_slow() for _ in range(_LIMITS.max_in_flight)]
    assert requests.post(url, _ADD, timeout=240).status_code == 503
    clock.run_until(lambda: all(answer.done() for answer in late), "they are late")
    assert [answer.result().status_code for answer in late] == [504] * 4
    gate.open()
    with _connect(strict) as connection:
        connection.sendall(_HEAD + b"Content-Length: 100\r\n\r\n{")
        assert _read_to_end(connection, clock).startswith(b"HTTP/1.1 408 ")
    with _connect(strict) as connection:
        connection.sendall(_HEAD)
        assert _read_to_end(connection, clock) == b""
    unknown = strict.url + "/v1/models/none:predict"  # of no model: no such label
    assert requests.post(unknown, b" " * (2**20 + 1), timeout=240).status_code == 413
    expected = {
        ("refusal_count", 'reason="body_size",status="413"'): 2,
        ("refusal_count", 'reason="in_flight",status="503"'): 1,
        ("refusal_count", 'reason="request_time",status="504"'): 4,
        ("refusal_count", 'reason="body_time",status="408"'): 1,
        ("refusal_count", 'reason="head_time",status="closed"'): 1,
        ("request_count", 'model_name="toy",status="INVALID_ARGUMENT"'): 1,
        ("request_count", 'model_name="toy",status="UNAVAILABLE"'): 1,
        # The body that did not arrive; what was late came to an end of its own.
        ("request_count", 'model_name="toy",status="DEADLINE_EXCEEDED"'): 1,
        ("request_count", 'model_name="toy",status="OK"'): 4,
    }
    until(lambda: _new(strict, before) == expected, "all that is counted")


def test_a_graph_that_gives_up_first_is_counted_too(base_path, monkeypatch):
    """As under load, where the server may look at its own clock later."""

    def soon(timeout_in_ms):  # 200 ms
        return RunOptions(timeout_in_ms=timeout_in_ms // 1500)

    monkeypatch.setattr(servable, "RunOptions", soon)
    with Server([ModelConfig("toy", base_path)], limits=_LIMITS) as server:
        url, before = server.url + "/v1/models/toy:predict", _counted(server)
        assert requests.post(url, _slow(100_000_000), timeout=240).status_code == 504
        assert _new(server, before) == {
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
    for _ in range(2):  # the first one comes behind those that left
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
        # May come at once, its end with it.
        b"GET /v1/models/toy HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 66_000 + b"\r\n\r\n",
        _HEAD + b"Content-Length: -5\r\n\r\n",
        _HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        _HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        b"GET /v1/models/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/models/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(strict, clock, data):
    with _connect(strict) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        answer = _read_to_end(connection, clock)
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
