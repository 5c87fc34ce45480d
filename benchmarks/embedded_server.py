"""What the embedded server costs, and whether it holds out.

    python benchmarks/embedded_server.py             # latency, about a minute
    python benchmarks/embedded_server.py --soak 10   # minutes of load, versions change
    python benchmarks/embedded_server.py --saved-model serving_models/feed/1   # rank

Latency: a PLE model of 26 features and 3 tasks stands behind a server in a process of
its own. `one row` is a request for one row over a connection that stays open, written
and read as JSON, beside the bare call of the same SavedModel in process (a session, the
fastest there is). `rank` is a request for one user and 500 candidates, beside the bare
`serving_default` on the same 500 rows. Each turn measures all of them; medians count.
`batching` is the throughput of one-row requests from 16 connections, with and without
`--enable-batching`, without a threshold: on two cores the clients take their share.

It fails (exit status 1) if one row takes more than 2 ms longer over REST than in
process, or `rank` more than 3 times the bare predict.

`--saved-model DIR` measures `rank` of a model that the pipeline has exported: one user
and 500 candidates made of the first row of its warm-up requests, with all outputs, from
the body being sent to the answer being here; beside the bare call of the signature
`serving_default` in process, as `tf.saved_model.load` gives it, on the same 500 rows.
The time that a client takes to write and read the JSON is told apart.

Soak: 50 requests a second, sent by the clock whether or not answers come, while every
20 s a version is published, each fourth one broken. It fails if a request fails, if
only the first version was ever served, or if the server's memory at the end is above
that after the first three swaps by more than 10 %.
"""

import argparse
import contextlib
import http.client
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
FEATURES, USER_FEATURES, ROWS, CANDIDATES = 26, 8, 5000, 500
MOST_ADDED_MS, MOST_OF_BARE = 2.0, 3.0
RATE, SWAP_SECONDS, BROKEN_EVERY, SETTLED_SWAPS, MOST_GROWTH = 50, 20, 4, 3, 0.10
NAMES = [f"f{index:02d}" for index in range(FEATURES)]  # the first ones are the user's


def build(path: Path) -> None:
    """Writes a SavedModel of a PLE model with `serving_default` and `rank`."""
    import keras
    import numpy as np
    import tensorflow as tf

    import tfmtl
    from serving.warmup import write_warmup

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
    write_warmup(path, [{name: np.ones(2, np.int64) for name in NAMES}])


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
        while "listening on" not in log.read_text():
            if process.poll() is not None:
                sys.exit(f"The server ended: {log.read_text()}")
            time.sleep(0.1)
        started = log.read_text().split("listening on ")[1].split()[0]
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


def latency(saved_model: Path, base_path: Path, log: Path, turns: int) -> bool:
    """Prints latencies; returns whether a threshold is missed."""
    import numpy as np

    from serving.servable import Servable

    rng = np.random.default_rng(0)
    servable = Servable(saved_model)
    signature = servable.signature("serving_default")
    rows = {name: rng.integers(1, ROWS, CANDIDATES) for name in NAMES}
    for name in NAMES[:USER_FEATURES]:
        rows[name][:] = rows[name][0]
    one = {name: values[:1] for name, values in rows.items()}
    once = NAMES[:USER_FEATURES]
    given = {n: v.tolist()[: 1 if n in once else None] for n, v in rows.items()}
    row = {name: int(values[0]) for name, values in one.items()}
    with serve(base_path, log) as (_, port):
        connection = Connection(port)
        found = connection.ask({"signature_name": "rank", "inputs": given})["outputs"]
        expected = servable.run(signature, rows)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-5)
        calls = {
            "one row, in process": (lambda: servable.run(signature, one), 300),
            "one row, REST": (lambda: connection.ask({"instances": [row]}), 300),
            "500 rows, in process": (lambda: servable.run(signature, rows), 40),
            "rank, REST": (
                lambda: connection.ask({"signature_name": "rank", "inputs": given}),
                40,
            ),
        }
        for call, times in calls.values():  # warm
            milliseconds(call, times // 4)
        medians = {name: [] for name in calls}
        for _ in range(turns):
            for name, (call, times) in calls.items():
                medians[name].append(milliseconds(call, times))
    found = {name: statistics.median(values) for name, values in medians.items()}
    for name, value in found.items():
        print(f"  {name:<24}{value:8.2f} ms")
    added = found["one row, REST"] - found["one row, in process"]
    ratio = found["rank, REST"] / found["500 rows, in process"]
    print(
        f"one row: {added:.2f} ms added by the server, {verdict(added, MOST_ADDED_MS)}"
    )
    print(f"rank: {ratio:.2f} times the bare predict, {verdict(ratio, MOST_OF_BARE)}")
    return added > MOST_ADDED_MS or ratio > MOST_OF_BARE


def rank_of(saved_model: Path, folder: Path, turns: int) -> bool:
    """Prints what `rank` of an exported model costs; returns whether it is too much."""
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    from serving.publish import publish
    from serving.servable import Servable
    from serving.warmup import WARMUP_FILE
    from tfmtl import model_card

    publish(saved_model, folder / "model")
    records = tf.data.TFRecordDataset(str(saved_model / WARMUP_FILE))
    logs = map(PredictionLog.FromString, records.as_numpy_iterator())
    requests = [log.predict_log.request for log in logs if log.HasField("predict_log")]
    request = next(r for r in requests if r.model_spec.signature_name == "rank")
    first = {n: tf.make_ndarray(value)[:1] for n, value in request.inputs.items()}
    rows = {name: np.repeat(value, CANDIDATES, 0) for name, value in first.items()}
    once = model_card.read(saved_model)["rank"]["user_features"]
    inputs = {
        name: np.char.decode(v.astype(bytes)).tolist()
        if v.dtype == object
        else v.tolist()
        for name, v in ((n, (first if n in once else rows)[n]) for n in rows)
    }
    document = {"signature_name": "rank", "inputs": inputs}
    body = json.dumps(document)
    predict = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    servable = Servable(saved_model)
    signatures = [servable.signature(name) for name in ("serving_default", "rank")]

    def bare() -> dict:
        tensors = {name: tf.constant(value) for name, value in rows.items()}
        return {name: value.numpy() for name, value in predict(**tensors).items()}

    with serve(folder / "model", folder / "server.log") as (_, port):
        connection = Connection(port)
        found = connection.ask(document)["outputs"]
        for name, values in bare().items():
            if name in found:  # `rank_outputs` may leave some out
                np.testing.assert_allclose(found[name], values, rtol=1e-5)
        calls = {
            "bare predict": bare,
            "in a session": lambda: servable.run(signatures[0], rows),
            "rank, REST": lambda: connection.send(body).read(),
            "rank, REST, and JSON of the client": lambda: connection.ask(document),
        }
        medians = {name: [] for name in calls}
        for turn in range(turns + 1):
            for name, call in calls.items():
                taken = milliseconds(call, 40)
                if turn:  # after one to warm up
                    medians[name].append(taken)
    best = {name: statistics.median(values) for name, values in medians.items()}
    print(
        f"{CANDIDATES} candidates, {len(body)} bytes there, {len(found)} outputs back"
    )
    for name, value in best.items():
        print(f"  {name:<36}{value:8.2f} ms, {value / best['bare predict']:.2f} times")
    ratio = best["rank, REST"] / best["bare predict"]
    print(f"rank: {ratio:.2f} times the bare predict, {verdict(ratio, MOST_OF_BARE)}")
    return ratio > MOST_OF_BARE


def verdict(value: float, most: float) -> str:
    """Says whether a value is within its threshold."""
    return f"at most {most:g}: {'passed' if value <= most else 'MISSED'}"


def throughput(base_path: Path, log: Path, seconds: float) -> None:
    """Prints requests a second from 16 connections, with and without batching."""
    row = dict.fromkeys(NAMES, 1)
    for flags in ((), ("--enable-batching",)):
        with serve(base_path, log, *flags) as (_, port):
            end = time.monotonic() + seconds

            def keep_asking(_, port=port, end=end):
                connection, taken = Connection(port), []
                while time.monotonic() < end:
                    taken.append(
                        milliseconds(lambda: connection.ask({"instances": [row]}), 1)
                    )
                return taken

            with ThreadPoolExecutor(16) as pool:
                taken = [ms for part in pool.map(keep_asking, range(16)) for ms in part]
        print(
            f"batching {'on ' if flags else 'off'}: {len(taken) / seconds:7.0f} "
            f"requests/s, median {statistics.median(taken):.1f} ms"
        )


def break_copies(saved_model: Path) -> Iterator[Path]:
    """Makes a copy whose warm-up fails and one that is cut off; gives them in turn."""
    from serving.warmup import write_warmup

    no_warm_up, cut = (saved_model.with_name(name) for name in ("no_warm_up", "cut"))
    for copy in (no_warm_up, cut):
        shutil.copytree(saved_model, copy)
    write_warmup(no_warm_up, [{"no such input": [1]}])
    graph = (saved_model / "saved_model.pb").read_bytes()
    (cut / "saved_model.pb").write_bytes(graph[: len(graph) // 2])
    return itertools.cycle([no_warm_up, cut])


def soak(saved_model: Path, base_path: Path, log: Path, minutes: float) -> bool:
    """Loads a server whose versions change; returns whether something failed."""
    from serving.publish import publish

    broken = break_copies(saved_model)
    outcomes: Counter[str] = Counter()
    connections: list[Connection] = []
    memory: list[list[float]] = [[]]  # in MiB, one list for each swap
    stop = threading.Event()
    row = dict.fromkeys(NAMES, 1)
    local = threading.local()

    def ask() -> None:
        if not hasattr(local, "connection"):
            local.connection = Connection(port)
            connections.append(local.connection)
        try:
            local.connection.ask({"instances": [row]})
            outcomes["answered"] += 1
        except Exception as error:
            vars(local).pop("connection", None)
            outcomes[f"{type(error).__name__}: {error}"] += 1

    def change_versions() -> None:
        while not stop.wait(SWAP_SECONDS):
            bad = len(memory) % BROKEN_EVERY == 0
            publish(next(broken) if bad else saved_model, base_path, keep=3)
            memory.append([])
            settled = statistics.median(memory[-2])
            kind = "broken" if bad else "good"
            print(f"  version {len(memory)} ({kind}), {settled:.0f} MiB", flush=True)

    with serve(base_path, log) as (pid, port):
        changing = threading.Thread(target=change_versions)
        changing.start()
        start = time.monotonic()
        with ThreadPoolExecutor(64) as pool:
            for number in range(int(minutes * 60 * RATE)):
                time.sleep(max(0.0, start + number / RATE - time.monotonic()))
                pool.submit(ask)
                if number % RATE == 0:
                    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                    memory[-1].append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
        stop.set()
        changing.join()
        served = log.read_text().count(" available (")
    medians = [statistics.median(values) for values in memory if values]
    growth = medians[-1] / medians[min(SETTLED_SWAPS, len(medians) - 1)] - 1
    failed = sum(outcomes.values()) - outcomes["answered"]
    print(
        f"{outcomes['answered']} requests answered, {failed} failed, {served} versions"
    )
    again = sum(connection.reconnects for connection in connections)
    print(f"{again} of them sent again, as their idle connection had been closed")
    for text, count in outcomes.items():
        if text != "answered":
            print(f"  {count} times {text}")
    print(f"memory: {growth:+.1%} since swap {SETTLED_SWAPS}", end=", ")
    print(verdict(growth, MOST_GROWTH))
    return bool(failed) or growth > MOST_GROWTH or served < 2


def main(argv: list[str] | None = None) -> int:
    """Prints the figures; returns 1 if a threshold is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--soak", type=float, metavar="MINUTES")
    parser.add_argument("--saved-model", type=Path, metavar="DIR")
    args = parser.parse_args(argv)
    from serving.publish import publish
    from serving.quiet import import_tensorflow

    import_tensorflow()
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        if args.saved_model:
            return int(rank_of(args.saved_model, Path(folder), args.turns))
        saved_model, base_path = Path(folder, "saved"), Path(folder, "model")
        log = Path(folder, "server.log")
        build(saved_model)
        publish(saved_model, base_path)
        if args.soak:
            return int(soak(saved_model, base_path, log, args.soak))
        missed = latency(saved_model, base_path, log, args.turns)
        throughput(base_path, log, seconds=5)
        return int(missed)


if __name__ == "__main__":
    sys.exit(main())
