"""A request on an idle connection that the server closes is sent again, once.

The case is forced: this server reads the second request of a connection and closes it
without a byte of an answer. So no client can tell beforehand.
"""

import contextlib
import http.client
import importlib.util
import json
import socket
import threading

import pytest
from paths import ROOT
from until import LONGEST, until

from serving.client import Client, RequestError
from serving.config.server import Limits, ModelConfig
from serving.loadtest import load
from serving.server import Server

_BENCHMARK = ROOT / "benchmarks" / "served.py"
_ROW = {"user": "ab", "price": 1.5, "history": ["x", "yz"]}


class _Closing:
    """Answers so many requests of a connection, and closes it upon the next one."""

    def __init__(self, answers):
        self._answers, self._threads, self._open = answers, [], []
        self.heads = []

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        self._listener.shutdown(2)
        self._listener.close()
        for connection in self._open:  # a client may leave this to its collector
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _start(self, target, *args):
        self._threads.append(threading.Thread(target=target, args=args))
        self._threads[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self._open.append(self._listener.accept()[0])
                self._start(self._answer, self._open[-1])

    def _answer(self, connection):
        with connection, contextlib.suppress(OSError):
            for number in range(self._answers + 1):
                received = b""
                while not received.endswith((b"}", b"\r\n\r\n")):
                    chunk = connection.recv(65536)
                    if not chunk:
                        return
                    received += chunk
                self.heads.append(received)
                if number < self._answers:
                    body = b'{"model_version_status": []}'
                    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                    connection.sendall(head + body)


def test_the_client_asks_again_at_once_and_counts():
    with _Closing(answers=1) as server:
        with Client(server.url, "toy", retries=0) as client:
            assert [client.status() for _ in range(3)] == [{}] * 3
            assert client.reconnects == 2
    assert len(server.heads) == 5


def test_but_not_if_the_connection_was_fresh():
    with _Closing(answers=0) as server:
        with Client(server.url, "toy", retries=0) as client:
            with pytest.raises(RequestError, match="Cannot reach"):
                client.status()
            assert client.reconnects == 0
    assert len(server.heads) == 1


def test_so_does_the_load_test():
    with _Closing(answers=1) as server:

        def reconnects():  # or each request had a connection of its own
            result = load.load(
                server.url, [b"{}"], rate=40, seconds=0.5, timeout=LONGEST
            )
            assert (result.status == 200).all() and not result.reasons
            assert result.reconnects == result.summary()["reconnects"]
            return result.reconnects

        until(reconnects, "a request finds its connection closed")
    with _Closing(answers=0) as server:
        result = load.load(server.url, [b"{}"], rate=40, seconds=0.2)
    assert result.reconnects == 0 and (result.status == 0).all()


def test_so_does_the_benchmark():
    spec = importlib.util.spec_from_file_location("served", _BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    with _Closing(answers=1) as server:
        connection = benchmark.Connection(server.port)
        for _ in range(3):
            assert connection.ask({}) == {"model_version_status": []}
        assert connection.reconnects == 2
        connection.client.close()
    with _Closing(answers=0) as server, pytest.raises(ConnectionError):
        benchmark.Connection(server.port).ask({})


def test_requests_just_as_the_silence_ends(base_path, clock):
    with Server([ModelConfig("toy", base_path)]) as server:
        with Client(server.url, "toy", retries=0) as client:
            for _ in range(30):
                assert client.predict([_ROW])["click"].tolist() == [[3.5]]
                clock.move(Limits().idle_seconds)  # it closes while the next one comes


def _is_refused(address):
    try:
        socket.create_connection(address).close()
    except ConnectionError:
        return True
    return False


def test_a_server_that_stops_says_so_with_its_last_answer(base_path, gate):
    server = Server([ModelConfig("toy", base_path)])
    client = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=240)
    path = "/v1/models/toy:predict"
    document = {"signature_name": "add", "instances": [1]}
    client.request("POST", path, json.dumps(document))
    answer = client.getresponse()
    answer.read()
    assert answer.getheader("Connection") is None  # it stays open
    client.request("POST", path, json.dumps({**document, "signature_name": "slow"}))
    until(lambda: gate.held, "it is at work")
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    until(lambda: _is_refused((client.host, client.port)), "nobody is accepted")
    gate.open()
    answer = client.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (200, "close")
    assert "predictions" in json.loads(answer.read())
    stopping.join()
    client.close()
