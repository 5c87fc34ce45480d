"""A served PLE model for the benchmarks of the embedded server, and a way to ask it."""

import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
FEATURES, USER_FEATURES, ROWS = 26, 8, 5000
NAMES = [f"f{index:02d}" for index in range(FEATURES)]  # the first ones are the user's


def build(path: Path) -> None:
    """Writes a SavedModel of a PLE model with `serving_default` and `rank`."""
    import keras
    import numpy as np
    import tensorflow as tf

    import tfmtl
    from serving.models.warmup import write_warmup

    keras.utils.set_random_seed(0)
    model = tfmtl.models.get("ple")(
        features=[tfmtl.Categorical(n, ROWS, embedding_dim=16) for n in NAMES],
        tasks=[tfmtl.Task(name) for name in ("click", "like", "share")],
    )
    specs = {name: tf.TensorSpec([None], tf.int64, name) for name in NAMES}
    model({name: tf.zeros([1], tf.int64) for name in NAMES})

    @tf.function(input_signature=[specs])
    def predict(inputs):
        return model(inputs, training=False)

    @tf.function(input_signature=[specs])
    def rank(inputs):
        rows = tf.shape(inputs[NAMES[-1]])[0]
        tiled = {n: tf.broadcast_to(inputs[n], [rows]) for n in NAMES[:USER_FEATURES]}
        return predict({**inputs, **tiled})

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", predict)
    archive.add_endpoint("rank", rank)
    archive.write_out(str(path), verbose=False)
    row = {name: np.ones(2, np.int64) for name in NAMES}
    write_warmup(path, {"serving_default": [row]})


@contextlib.contextmanager
def serve(base_path: Path, log: Path, *flags: str):
    """Runs the embedded server in a process of its own; gives its id and port."""
    command = [
        sys.executable, "-m", "serving", "serve", "--model-name", "model",
        "--model-base-path", str(base_path), "--rest-port", "0", *flags,
    ]  # fmt: skip
    with open(log, "w") as file:
        process = subprocess.Popen(command, stderr=file, cwd=HERE.parent)
    try:
        ready = "workers listening on " if "--workers" in flags else "listening on "
        while ready not in log.read_text():
            if process.poll() is not None:
                sys.exit(f"The server ended: {log.read_text()}")
            time.sleep(0.1)
        started = log.read_text().split(ready)[1].split()[0]
        yield process.pid, int(started.rsplit(":", 1)[1])
    finally:
        process.terminate()
        process.wait()


class Connection:
    """A connection that stays open; made anew if the server has closed it, idle."""

    def __init__(self, port: int):
        self.client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.is_reused, self.reconnects = False, 0

    def ask(self, document: dict) -> dict:
        """Sends a predict request; returns the answer."""
        body = json.dumps(document)
        try:
            answer = self.send(body)
        except ConnectionError:  # before a byte of the answer
            if not self.is_reused:
                raise
            self.client.close()
            self.reconnects += 1
            answer = self.send(body)
        self.is_reused = True
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"HTTP {answer.status}: {text[:200]!r}")
        return json.loads(text)

    def send(self, body: str) -> http.client.HTTPResponse:
        """Sends a body; returns the answer's head."""
        self.client.request("POST", "/v1/models/model:predict", body)
        return self.client.getresponse()


def milliseconds(call, times: int) -> float:
    """Returns the median time of a call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append((time.perf_counter() - start) * 1e3)
    return statistics.median(taken)


def verdict(value: float, most: float) -> str:
    """Says whether a value is within its threshold."""
    return f"at most {most:g}: {'passed' if value <= most else 'MISSED'}"


def memory(pid: int) -> float:
    """Returns the memory that a process has for itself, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 2**10
    raise RuntimeError(f"/proc/{pid}/status does not tell the memory")


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
