"""The load test: arrivals, latency from the intended start, figures, page, command."""

import asyncio
import json
import threading

import numpy as np
import pytest
from until import LONGEST

from serving.__main__ import main
from serving.loadtest import load as loadtest
from serving.loadtest.load import Load
from serving.loadtest.report import render


def test_arrivals_are_those_of_a_poisson_process():
    start = loadtest.arrivals(200, 50, seed=1)
    assert (np.diff(start) >= 0).all() and 0 <= start[0] and start[-1] < 50
    assert abs(len(start) - 10_000) < 4 * 100  # 4 standard deviations
    gaps = np.diff(start) * 200  # exponential: mean 1, variance 1
    assert abs(gaps.mean() - 1) < 0.05 and abs(gaps.var() - 1) < 0.1
    np.testing.assert_array_equal(start, loadtest.arrivals(200, 50, seed=1))


class Slow:
    """A server that answers one request at a time, each after `seconds`.

    The first of them once `expected` requests have come.
    """

    def __init__(self, seconds, status=b"200 OK", expected=1):
        self._seconds, self._status, self._expected = seconds, status, expected
        self.bodies = []

    async def _answer(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])
                self.bodies.append(await reader.readexactly(length))
                if len(self.bodies) == self._expected:
                    self._all_here.set()
                await self._all_here.wait()
                async with self._one:
                    await asyncio.sleep(self._seconds)
                writer.write(
                    b"HTTP/1.1 " + self._status + b"\r\nContent-Length: 2\r\n\r\n{}"
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _run(self):
        self._one, self._all_here = asyncio.Lock(), asyncio.Event()
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._started.set()
        await self._stop.wait()
        server.close()
        answering = asyncio.all_tasks() - {asyncio.current_task()}
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close

    def __enter__(self):
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


def test_waiting_behind_others_counts():
    with Slow(0.04) as server:  # 25 requests a second at most
        result = loadtest.load(
            server.url, [b"a", b"b"], rate=50, seconds=1, seed=3, timeout=LONGEST
        )
    summary = result.summary()
    count = len(result.start)
    assert (result.status == 200).all() and summary["errors"] == 0
    assert sorted(set(server.bodies)) == [b"a", b"b"]
    # A closed loop would tell of 40 ms. Here the last one has waited for all others.
    assert summary["latency_ms"]["max"] > 1000 * (0.04 * count - 1)
    assert summary["latency_ms"]["p50"] > 150
    assert summary["throughput"] < 26 < summary["rate"]


def test_requests_do_not_wait_for_answers():
    count = len(loadtest.arrivals(50, 0.4))
    with Slow(0.0, expected=count) as server:
        result = loadtest.load(
            server.url, [b"a"], rate=50, seconds=0.4, timeout=LONGEST
        )
    assert len(result.status) == count > 5 and (result.status == 200).all()


def test_errors_and_timeouts_are_told_apart():
    with Slow(0.0, b"503 Busy") as server:
        result = loadtest.load(server.url, [b"x"], rate=40, seconds=0.5)
    summary = result.summary()
    assert summary["errors"] == summary["requests"] == len(result.start)
    assert list(summary["reasons"]) == ["HTTP 503: {}"]
    assert summary["latency_ms"]["p50"] is None
    assert "HTTP 503: {}" in render(result, "x")
    with Slow(3600.0) as server:
        result = loadtest.load(server.url, [b"x"], rate=20, seconds=0.3, timeout=0.2)
    assert list(result.reasons) == ["no answer within 0.2 s"]
    assert (result.status == 0).all()
    result = loadtest.load("http://127.0.0.1:9/", [b"x"], rate=20, seconds=0.2)
    assert list(result.reasons) == ["ClientConnectorError"]


def test_figures_by_hand():
    start = np.array([0.0, 1.0, 2.0, 3.0])
    end = start + [0.010, 0.020, 0.5, 0.040]
    status = np.array([200, 200, 500, 200])
    load = Load(4.0, start, start + 0.001, end, status, {"HTTP 500: x": 1})
    summary = load.summary()
    assert summary["requests"] == 4 and summary["errors"] == 1
    assert summary["rate"] == 1.0 and summary["throughput"] == 0.75
    assert summary["latency_ms"]["p50"] == pytest.approx(20)
    assert summary["latency_ms"]["p99"] == pytest.approx(40)
    assert summary["latency_ms"]["mean"] == pytest.approx(70 / 3)
    assert summary["late_ms"] == pytest.approx(1)
    page = render(load, "<url>")
    assert (
        "&lt;url&gt;" in page
        and "<script" not in page
        and "http" not in page.lower().replace("http 500", "")
    )


def test_bodies_of_rows_and_of_nothing():
    inputs = {
        "user": {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}]}},
        "age": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}]}},
        "seen": {
            "dtype": "DT_STRING",
            "tensor_shape": {"dim": [{"size": "-1"}, {"size": "2"}]},
        },
    }
    (body,) = loadtest.bodies({"inputs": inputs}, "s", None)
    document = json.loads(body)
    assert document["signature_name"] == "s" and document["inputs"]["user"] == [""]
    assert document["inputs"]["seen"] == [["", ""]]
    assert document["inputs"]["age"][0] != document["inputs"]["age"][0]  # NaN
    rows = [{"user": i, "age": i, "seen": []} for i in range(3)]
    found = [
        json.loads(b)["inputs"]["user"]
        for b in loadtest.bodies({"inputs": inputs}, "s", rows, rows_per_request=2)
    ]
    assert found == [["0", "1"], ["2", "0"]]
    for wrong in ({"rate": 0}, {"seconds": 0}):
        with pytest.raises(ValueError, match="above 0"):
            loadtest.load("x", [b""], **{"rate": 1, "seconds": 1} | wrong)


def test_command(server, tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"user": "ab", "price": 1, "history": []}\n')
    report = tmp_path / "load.html"
    command = [
        "loadtest", "--url", server.url, "--model-name", "toy", "--rate", "40",
        "--seconds", "0.5", "--json", str(rows), "--report", str(report),
    ]  # fmt: skip
    assert main(command) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["errors"] == 0 and summary["latency_ms"]["p99"] > 0
    page = report.read_text()
    assert page.count("<figure>") == 3 and server.url in page
    assert main([*command, "--max-p99-ms", "0.001"]) == 1
    assert main([*command, "--signature-name", "no"]) == 2
    assert "no signature 'no'" in capsys.readouterr().err
    assert main([*command, "--report", str(tmp_path / "none" / "a.html")]) == 2
    assert "folder of the report is missing" in capsys.readouterr().err
    assert main([*command, "--url", "grpc://localhost:1"]) == 2
    assert "A load test asks over REST" in capsys.readouterr().err
