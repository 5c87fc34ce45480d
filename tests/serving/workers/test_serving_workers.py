"""Several workers behind one port: what is told of them is true of all."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
from until import until

from serving import metrics
from serving.__main__ import main
from serving.config.server import ModelConfig
from serving.errors import Code, ServingError
from serving.listeners import bind, reserve
from serving.models.model import Model
from serving.release.publish import publish
from serving.workers.peers import Peers, SharedModels, _common_states

_ADD = '{"signature_name": "add", "instances": [0]}'

# A Ctrl-C, which goes to all processes of a terminal, once both workers are there.
_INTERRUPTED = """
import os, signal, sys
from multiprocessing.process import BaseProcess
from serving.__main__ import main
start, started = BaseProcess.start, []
def start_and_interrupt(process):
    start(process)
    started.append(process)
    if len(started) == 2:
        os.killpg(0, signal.SIGINT)
BaseProcess.start = start_and_interrupt
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def served(saved_models, tmp_path_factory):
    """A base path with version 1, and `serve --workers 2` of it."""
    folder = tmp_path_factory.mktemp("workers")
    publish(saved_models / "one", folder / "toy")
    log = folder / "log"
    command = [
        sys.executable, "-m", "serving", "serve", "--workers", "2",
        "--model-base-path", str(folder / "toy"), "--model-name", "toy",
        "--rest-port", "0", "--port", "0", "--poll-seconds", "0.2",
    ]  # fmt: skip
    with open(log, "w") as file:
        process = subprocess.Popen(command, stderr=file)
    try:
        until(lambda: "2 workers listening on" in log.read_text(), "both are ready")
        url = log.read_text().split("2 workers listening on ")[1].split()[0]
        yield process, log, url, folder / "toy"
        process.send_signal(signal.SIGTERM)
        assert process.wait(240) == 0
        assert log.read_text().count("INFO worker 0: stopped") == 1
        assert log.read_text().count("INFO worker 1: stopped") >= 1
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


def test_ctrl_c_ends_workers_that_have_not_started_yet(saved_models, tmp_path):
    publish(saved_models / "one", tmp_path / "toy")
    command = [
        sys.executable, "-c", _INTERRUPTED, "serve", "--workers", "2",
        "--model-base-path", str(tmp_path / "toy"), "--rest-port", "0",
    ]  # fmt: skip
    done = subprocess.run(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == "interrupted; run the same command again"
    assert "Traceback" not in done.stderr


def _ask(url):
    """Asks over a connection of its own, which ends at either worker."""
    answer = requests.post(f"{url}/v1/models/toy:predict", _ADD, timeout=240)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]


def _count(url):
    page = requests.get(f"{url}/monitoring/prometheus/metrics", timeout=240).text
    return int(
        re.search(r'request_count\{model_name="toy",status="OK"\} (\d+)', page)[1]
    )


def test_both_answer_and_the_metrics_are_of_both(served):
    _, _, url, _ = served
    _ask(url)
    before = _count(url)
    for _ in range(30):
        _ask(url)
    assert {_count(url) for _ in range(10)} == {before + 30}


def test_available_means_in_every_worker(served, saved_models):
    _, _, url, base = served
    publish(saved_models / "two", base)
    path = f"{url}/v1/models/toy/versions/2"

    def state():
        answer = requests.get(path, timeout=240).json()
        return answer.get("model_version_status", [{"state": ""}])[0]["state"]

    until(lambda: state() == "AVAILABLE", "version 2 is available")
    for _ in range(20):  # whichever worker it is
        answer = requests.post(path + ":predict", _ADD, timeout=240)
        assert answer.json() == {"predictions": [2.0]}


def _workers(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    commands = {}
    for child in map(int, children.split()):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            commands[child] = Path(f"/proc/{child}/cmdline").read_text()
    return [n for n, command in commands.items() if "spawn_main" in command]


def test_a_worker_that_dies_is_started_again_while_the_other_answers(served):
    process, log, url, _ = served
    victim = _workers(process)[-1]
    os.kill(victim, signal.SIGKILL)
    until(lambda: "it is started again" in log.read_text(), "its end is seen")
    for _ in range(5):
        _ask(url)
    until(lambda: log.read_text().count("worker 1: listening") == 2, "it is back")
    until(lambda: len(_workers(process)) == 2, "both are there")
    status = requests.get(f"{url}/v1/models/toy", timeout=240).json()
    assert status["model_version_status"][0]["state"] == "AVAILABLE"


@pytest.mark.slow  # two processes that import TensorFlow, once more
def test_workers_end_with_their_parent(saved_models, tmp_path):
    publish(saved_models / "one", tmp_path / "toy")
    command = [
        sys.executable, "-m", "serving", "serve", "--workers", "2", "--rest-port", "0",
        "--model-base-path", str(tmp_path / "toy"), "--model-name", "toy",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with process.stderr:
        for line in process.stderr:
            if "2 workers listening" in line:
                break
        process.kill()
        process.wait()
        # The workers hold the other end: it ends with them.
        assert process.stderr.read().count("stopped") == 2


@pytest.mark.slow  # three processes; the message is that of a server alone
def test_what_cannot_start_ends_in_status_2(tmp_path):
    empty = ["serve", "--workers", "2", "--model-base-path", str(tmp_path)]
    command = [sys.executable, "-m", "serving", *empty, "--rest-port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2 and "holds no version" in done.stderr


def test_a_port_that_is_taken_and_no_worker_are_refused(capfd):
    with bind("127.0.0.1", 0, share=True) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"Cannot listen on 127.0.0.1:{port}"):
            reserve("127.0.0.1", port)
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--workers", "0", "--model-base-path", "none"])
    assert "a number from 1 on" in capfd.readouterr().err


_ERROR = ServingError(Code.NOT_FOUND, "gone")
_HAS_1 = (1, "AVAILABLE", None)


@pytest.mark.parametrize(
    "workers, common",
    [
        ([[_HAS_1], [_HAS_1]], [_HAS_1]),
        ([[_HAS_1], [(1, "LOADING", None)]], [(1, "LOADING", None)]),
        ([[_HAS_1], []], [(1, "LOADING", None)]),
        ([[_HAS_1], [(1, "END", _ERROR)]], [(1, "END", _ERROR)]),
        ([[_HAS_1], [(1, "END", None)]], [(1, "UNLOADING", None)]),
        ([[(2, "LOADING", None), _HAS_1], [_HAS_1]], [(2, "LOADING", None), _HAS_1]),
    ],
)
def test_the_state_of_a_version_is_that_of_all_workers(workers, common):
    assert _common_states(workers) == common
    assert _common_states(workers[::-1]) == common


@pytest.fixture
def pair(base_path, tmp_path):
    """The models of two workers, in one process."""
    with contextlib.ExitStack() as stack:
        found = []
        for index in range(2):
            peers = Peers(index, tmp_path, 2, b"key")
            stack.callback(peers.close)
            config = ModelConfig("toy", base_path, (1,), {"stable": 1})
            found.append(SharedModels([config], Model, True, peers))
            stack.callback(found[-1].close)
        yield found


def _served(models):
    return models["toy"].available(), dict(models["toy"].config.labels)


@pytest.mark.parametrize("asked", [0, 1])
def test_a_config_is_taken_by_all_or_by_none(pair, base_path, asked, monkeypatch):
    wide = ModelConfig("toy", base_path, (1, 2), {"stable": 1})
    pair[asked].reload([wide])
    assert [_served(models) for models in pair] == [([2, 1], {"stable": 1})] * 2
    moved = ModelConfig("toy", base_path, (1, 2), {"stable": 2})
    monkeypatch.setattr(pair[1]["toy"], "available", lambda: [1])  # it is not so far
    with pytest.raises(ServingError, match="not currently available"):
        pair[asked].reload([moved])
    assert [dict(m["toy"].config.labels) for m in pair] == [{"stable": 1}] * 2
    monkeypatch.undo()
    pair[asked].reload([moved])
    assert [dict(m["toy"].config.labels) for m in pair] == [{"stable": 2}] * 2


def test_what_one_cannot_load_none_serves(pair, base_path, monkeypatch):
    more = [ModelConfig("toy", base_path, (1,)), ModelConfig("other", base_path)]
    load = pair[1]._load

    def fail(config):
        raise_for = {"other"}
        if config.name in raise_for:
            raise ServingError(Code.RESOURCE_EXHAUSTED, "no memory")
        return load(config)

    monkeypatch.setattr(pair[1], "_load", fail)
    with pytest.raises(ServingError, match="no memory"):
        pair[0].reload(more)
    assert [list(models) for models in pair] == [["toy"], ["toy"]]
    assert [_served(models) for models in pair] == [([1], {"stable": 1})] * 2


def test_a_worker_that_is_away_lets_nothing_change(base_path, tmp_path):
    peers = Peers(0, tmp_path, 2, b"key")
    config = ModelConfig("toy", base_path, (1,))
    models = SharedModels([config], Model, False, peers)
    with pytest.raises(ServingError, match="A worker is being started"):
        models.reload([ModelConfig("toy", base_path, (2,))])
    assert models["toy"].available() == [1]
    assert models.states("toy") == [(1, "LOADING", None)]
    models.close()
    peers.close()


def test_counts_of_processes_are_added():
    counted = metrics.Counter(":counted", ("kind",))
    timed = metrics.Histogram(":timed", ("kind",), [1, 2])
    try:
        counted.add("a")
        timed.observe(1.5, "a")
        other = {**metrics.snapshot()}
        other[":counted"] = {("a",): 2, ("b",): 5}
        other[":timed"] = {("a",): ([1, 1, 1], 4.0)}
        page = metrics.page([other])
    finally:
        metrics._metrics[-2:] = []
    assert ':counted{kind="a"} 3\n:counted{kind="b"} 5\n' in page
    assert ':timed_bucket{kind="a",le="1"} 1\n' in page
    assert ':timed_bucket{kind="a",le="2"} 3\n' in page
    assert ':timed_sum{kind="a"} 5.5\n:timed_count{kind="a"} 4\n' in page


def test_requests_at_once_reach_both(pair):
    """Asking the other never waits for what that one is doing."""
    with pair[1]._changing:  # it loads something
        found = []
        asking = threading.Thread(target=lambda: found.append(pair[0].states("toy")))
        asking.start()
        asking.join(240)
        assert found == [[(1, "AVAILABLE", None)]]
