"""The command line: serve, predict, publish, and the caller's mistakes."""

import contextlib
import http.client
import io
import json
import signal
import socket
import subprocess
import sys

import pytest
import requests
from until import until

from serving.__main__ import main
from serving.config.server import read_config_file, read_monitoring_file
from serving.release.publish import publish
from serving.server import Server, StartError

TENSORFLOW = 'model_platform: "tensorflow"'
_ROW = {"user": "ab", "price": 1.5, "history": ["x", "yz"]}


@contextlib.contextmanager
def _serving(base_path, *flags):
    """Runs `serve`; gives the process, its log so far, and its address."""
    command = [
        sys.executable, "-m", "serving", "serve", "--model-base-path", str(base_path),
        "--model-name", "toy", "--rest-port", "0", *flags,
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        lines = []
        _read_until(process, lines, "listening on")
        yield process, lines, lines[-1].split()[-1].removeprefix("http://")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def _read_until(process, lines, text):
    for line in process.stderr:
        lines.append(line.rstrip())
        if text in line:
            return
    pytest.fail(f"The server ended without a word of {text!r}: {lines}")


def test_serve_drains_on_sigterm(saved_models, tmp_path):
    publish(saved_models / "one", tmp_path / "toy")
    path, body = (
        "/v1/models/toy:predict",
        b'{"signature_name": "add", "instances": [1]}',
    )
    with _serving(tmp_path / "toy") as (process, lines, address):
        client = http.client.HTTPConnection(address, timeout=240)
        client.request("POST", path, body)
        assert client.getresponse().read()  # the connection is accepted
        client.putrequest("POST", path)
        client.putheader("Content-Length", str(len(body)))
        client.putheader("Expect", "100-continue")
        client.endheaders()
        # The request is in flight once its body is asked for, until its end ...
        assert client.sock.recv(100).startswith(b"HTTP/1.1 100 ")
        process.send_signal(signal.SIGTERM)
        _read_until(process, lines, "stopping")
        client.send(body)
        answer = client.getresponse()  # ... and is answered all the same
        assert (answer.status, answer.read().split()) == (
            200,
            [b"{", b'"predictions":', b"[2.0", b"]", b"}"],
        )
        assert answer.headers["Connection"] == "close"
        client.close()
        lines += process.stderr.read().splitlines()
        assert process.wait(240) == 0
    assert any("toy version 1 available" in line for line in lines)
    assert lines[-1].endswith("INFO stopped")
    assert not any("Traceback" in line for line in lines)


@pytest.mark.slow  # the same with workers is tried below workers/, SIGTERM above
def test_serve_is_ended_by_ctrl_c_with_status_130(saved_models, tmp_path):
    publish(saved_models / "one", tmp_path / "toy")
    with _serving(tmp_path / "toy") as (process, lines, _):
        process.send_signal(signal.SIGINT)
        lines += process.stderr.read().splitlines()
        assert process.wait(240) == 130
    assert lines[-2].endswith("INFO stopped")
    assert lines[-1] == "interrupted; run the same command again"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: path / "missing", "no directory"),
        (lambda path: path, "holds no version"),
        (lambda path: (path / "saved_model.pb").touch() or path, "a SavedModel itself"),
        (lambda path: (path / "1").mkdir() or path, "version 1: Specified file path"),
    ],
    ids="missing empty saved-model broken".split(),
)
def test_a_wrong_base_path_ends_in_one_line_and_status_2(
    tmp_path, capsys, make, message
):
    arguments = ["serve", "--model-base-path", str(make(tmp_path)), "--rest-port", "0"]
    assert main(arguments) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1].startswith("error: ") and message in errors[-1]


def test_a_taken_port_and_wrong_flags_end_in_status_2(base_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = ["serve", "--model-base-path", str(base_path), "--rest-port", port]
        assert main(arguments) == 2
    assert f"Cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
    unused = ["serve", "--model-base-path", str(base_path)]
    assert main([*unused, "--batching-parameters-file", "batching.config"]) == 2
    assert "needs --enable-batching" in capsys.readouterr().err
    for wrong in (["serve"], ["fly"], ["predict", "--url", "x"]):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)


def test_predict(server, tmp_path, capsys, monkeypatch):
    arguments = ["predict", "--url", server.url, "--model-name", "toy", "--json"]
    file = tmp_path / "rows.json"
    for data in ({"instances": [_ROW]}, [_ROW]):
        file.write_text(json.dumps(data))
        assert main([*arguments, str(file)]) == 0
        expected = {"click": [[3.5]], "watch": [[5.0]]}
        assert json.loads(capsys.readouterr().out) == expected
    monkeypatch.setattr("sys.stdin", io.StringIO("[{}]"))
    assert main([*arguments, "-"]) == 2
    assert "Row 0 lacks the input 'history'" in capsys.readouterr().err
    arguments[4] = "other"
    assert main([*arguments, str(file)]) == 1
    assert "Latest(other)" in capsys.readouterr().err


def test_publish(saved_models, tmp_path, capsys):
    base = tmp_path / "base"
    arguments = ["publish", str(saved_models / "one"), "--model-base-path", str(base)]
    assert main([*arguments, "--keep", "2"]) == 0
    assert capsys.readouterr().out.strip() == str(base / "1")
    arguments[1] = str(tmp_path)
    assert main(arguments) == 2
    assert "which lacks saved_model.pb" in capsys.readouterr().err


def test_flags_are_taken_in_tf_servings_spelling(base_path, tmp_path, monkeypatch):
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text('prometheus_config { enable: true path: "/m" }')
    batching = tmp_path / "batching.config"
    batching.write_text("max_batch_size { value: 7 }")
    seen = {}

    class Recorded(Exception):
        pass

    def record(configs, **options):
        seen.update(options, configs=configs)
        raise Recorded

    monkeypatch.setattr("serving.server.Server", record)
    with pytest.raises(Recorded):
        main(
            [
                "serve", f"--model_base_path={base_path}", "--model_name=toy",
                "--rest_api_port=18501", "--port=18500", "--enable_batching=true",
                f"--batching_parameters_file={batching}",
                f"--monitoring_config_file={monitoring}",
                "--file_system_poll_wait_seconds=5", "--rest_api_timeout_in_ms=1500",
                "--rest_api_enable_cors_support",
                "--allow_version_labels_for_unavailable_models=true",
            ]
        )  # fmt: skip
    assert (seen["port"], seen["grpc_port"], seen["poll_seconds"]) == (18501, 18500, 5)
    assert seen["batching"].max_batch_size == 7
    assert seen["limits"].request_seconds == 1.5
    assert seen["cors"] is True and seen["metrics_path"] == "/m"
    assert [(c.name, c.base_path) for c in seen["configs"]] == [("toy", base_path)]
    monitoring.write_text("prometheus_config { }")
    assert read_monitoring_file(monitoring) == ""
    monitoring.write_text('prometheus_config { enable: true path: "m" }')
    with pytest.raises(ValueError, match="starts with '/'"):
        read_monitoring_file(monitoring)
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--model-base-path", "x", "--enable-batching=perhaps"])


def test_config_file_of_tf_serving(tmp_path):
    file = tmp_path / "models.config"
    file.write_text(
        """model_config_list {
          config {
            name: "feed" base_path: "/models/feed" model_platform: "tensorflow"
            model_version_policy { specific { versions: 1 versions: 2 } }
            version_labels { key: "stable" value: 1 }
          }
          config {
            name: "all" base_path: "/a" model_version_policy { all {} } model_type: 1
          }
          config { name: "new" base_path: "/n" model_platform: "tensorflow" }
        }"""
    )
    feed, everything, new = read_config_file(file)
    assert (feed.name, feed.versions, feed.labels) == ("feed", (1, 2), {"stable": 1})
    assert (everything.versions, new.versions) == ("all", 1)
    with pytest.raises(StartError, match="list model feed multiple times"):
        Server([feed, feed])
    entry = 'model_config_list { config { name: "new" base_path: "%s" %s } }'
    for wrong in (
        "model {",
        "model_config_list {}",
        entry % ("n", 'model_platform: "tensorflow"'),
        entry % ("/n", ""),
        entry % ("/n", 'model_platform: "pytorch"'),
    ):
        file.write_text(wrong)
        with pytest.raises(ValueError, match=str(file)):
            read_config_file(file)


def test_a_changed_config_file_is_followed(saved_models, tmp_path):
    publish(saved_models / "one", tmp_path / "a")
    file = tmp_path / "models.config"

    def write(text):
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(file)

    entry = f'config {{ name: "%s" base_path: "{tmp_path}/a" {TENSORFLOW} }}'
    write(f"model_config_list {{ {entry % 'a'} }}")
    options = {"config_file": file, "config_poll_seconds": 0.05}
    with Server(read_config_file(file), **options) as server:

        def found(name):
            return requests.get(
                f"{server.url}/v1/models/{name}", timeout=240
            ).status_code

        assert (found("a"), found("b")) == (200, 404)
        write("model_config_list {")  # it is not followed
        write(f"model_config_list {{ {entry % 'a'} {entry % 'b'} }}")
        until(lambda: found("b") == 200, "b is served")
        assert found("a") == 200
