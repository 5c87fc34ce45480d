"""What the embedded server costs, and whether it holds out.

    python benchmarks/embedded_server.py             # about three minutes
    python benchmarks/embedded_server.py --soak 10   # minutes of load, versions change
    python benchmarks/embedded_server.py --saved-model serving_models/feed/1   # rank

A PLE model of 26 features and 3 tasks stands behind a server in a process of its own.

Latency: `one row` is a request for one row over a connection that stays open, written
and read as JSON, beside the bare call of the same SavedModel in process (a session, the
fastest there is). `rank` is a request for one user and 500 candidates, beside the bare
`serving_default` on the same 500 rows. Each turn measures all of them; medians count.
It fails (exit status 1) if one row costs the server more than 1 ms of CPU time above
what the session takes in process, or `rank` takes more than 3 times as long.

Swap: 50 requests a second, first undisturbed, then while versions are published one
after the other. It fails if p99 while a version is on its way is more than 3 times that
before, or a request fails.

Table: a model that is one table of 2 GiB (`--table`, 0 leaves it out), replaced by a
larger one twice. It fails if the server holds more memory than two tables and 5 %.

Throughput: requests a second for one row from 16 connections, as it is, with two
workers and with batching, beside the session called from as many threads; without a
threshold, since the clients, in Python, take their share of the cores.

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
import json
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from served import (
    NAMES,
    ROWS,
    USER_FEATURES,
    Connection,
    build,
    cpu_seconds,
    milliseconds,
    serve,
    verdict,
)
from swaps import soak, swap, table

CANDIDATES = 500
MOST_ADDED_MS, MOST_OF_BARE = 1.0, 3.0


def latency(saved_model: Path, base_path: Path, log: Path, turns: int) -> bool:
    """Prints latencies; returns whether a threshold is missed."""
    import numpy as np

    from serving.models.servable import Servable

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
    with serve(base_path, log) as (pid, port):
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
        cpu = {"in process": 0.0, "server": 0.0}
        for _ in range(turns):
            for name, (call, times) in calls.items():
                bare, served = time.process_time(), cpu_seconds(pid)
                medians[name].append(milliseconds(call, times))
                if name == "one row, in process":
                    cpu["in process"] += time.process_time() - bare
                elif name == "one row, REST":
                    cpu["server"] += cpu_seconds(pid) - served
    found = {name: statistics.median(values) for name, values in medians.items()}
    for name, value in found.items():
        print(f"  {name:<24}{value:8.2f} ms")
    ms = {who: 1e3 * total / (300 * turns) for who, total in cpu.items()}
    added = ms["server"] - ms["in process"]
    ratio = found["rank, REST"] / found["500 rows, in process"]
    print(
        f"one row: {ms['server']:.2f} ms of CPU, {added:.2f} ms added by the server, "
        + verdict(added, MOST_ADDED_MS)
    )
    print(f"rank: {ratio:.2f} times the bare predict, {verdict(ratio, MOST_OF_BARE)}")
    return added > MOST_ADDED_MS or ratio > MOST_OF_BARE


def rank_of(saved_model: Path, folder: Path, turns: int) -> bool:
    """Prints what `rank` of an exported model costs; returns whether it is too much."""
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    from serving.models.servable import Servable
    from serving.models.warmup import WARMUP_FILE
    from serving.release.publish import publish
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


def throughput(saved_model: Path, base_path: Path, log: Path, seconds: float) -> None:
    """Prints how many one-row requests a second 16 connections get."""
    import numpy as np

    from serving.models.servable import Servable

    row = dict.fromkeys(NAMES, 1)
    servable = Servable(saved_model)
    signature = servable.signature("serving_default")
    inputs = {name: np.ones(1, np.int64) for name in NAMES}

    def measure(make_call) -> list[float]:
        end = time.monotonic() + seconds

        def keep_asking(_) -> list[float]:
            call, taken = make_call(), []
            while time.monotonic() < end:
                taken.append(milliseconds(call, 1))
            return taken

        with ThreadPoolExecutor(16) as pool:
            return [ms for part in pool.map(keep_asking, range(16)) for ms in part]

    bare = len(measure(lambda: lambda: servable.run(signature, inputs)))
    print(f"  in process, 16 threads  {bare / seconds:7.0f} calls/s")
    for name, *flags in (
        ("one process",), ("two workers", "--workers", "2"),
        ("batching", "--enable-batching"),
    ):  # fmt: skip
        with serve(base_path, log, *flags) as (_, port):

            def connect(port=port):
                connection = Connection(port)
                return lambda: connection.ask({"instances": [row]})

            taken = measure(connect)
        print(
            f"  {name:<22}{len(taken) / seconds:9.0f} requests/s, "
            f"{len(taken) / bare:.2f} of that, median {statistics.median(taken):.1f} ms"
        )


def main(argv: list[str] | None = None) -> int:
    """Prints the figures; returns 1 if a threshold is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--table", type=float, default=2.0, metavar="GIB")
    parser.add_argument("--soak", type=float, metavar="MINUTES")
    parser.add_argument("--saved-model", type=Path, metavar="DIR")
    args = parser.parse_args(argv)
    from serving.quiet import import_tensorflow_quietly
    from serving.release.publish import publish

    import_tensorflow_quietly()
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
        missed |= swap(saved_model, base_path, log)
        if args.table:
            missed |= table(Path(folder), args.table)
        throughput(saved_model, base_path, log, seconds=5)
        return int(missed)


if __name__ == "__main__":
    sys.exit(main())
