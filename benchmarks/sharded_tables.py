"""What tables that two workers share cost and save, against whole ones.

    python benchmarks/sharded_tables.py [--rows 400000] [--batch 1024] [--turns 5]

Shared-Bottom over a user, an item and the last 10 items, dimension 16, LazyAdam. This
process starts two workers (`MultiWorkerMirroredStrategy`, CPU). Each has the model
twice, with whole tables and with sharded ones, which train by turns on the same
batches; so has this process. Ids come in three ways: uniform; hot, where a Zipf
distribution gives some rows to most of a batch; and uneven, where one worker has all
the rows that are asked for.

Prints, for each, the time of a step (median of the turns) by clock and by the CPU time
of both workers, with the ratio of sharded to whole; the largest difference of a turn's
loss from this process's, which has the whole batch; and the different rows that a
worker wants in a step, beside those that its messages have place for. Then the memory
of tables and their slots on a worker.

It fails (exit status 1) if a loss differs by more than 1e-5, a worker's tables take
more than 0.6 of the memory, or a step more than 1.5 times the time.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfmtl
from tfmtl.layers.embedding.exchange import requests

NAMES = ("whole", "sharded")
WAYS = ("uniform", "hot", "uneven")
LENGTH, STEPS = 10, 10  # events of a row; batches of a turn


def make(rows: int, sharded: bool) -> keras.Model:
    """Returns a compiled model of two tables with `rows` rows."""
    keras.utils.set_random_seed(1)
    of = {"vocabulary_size": rows, "sharded": sharded}
    features = [
        tfmtl.Categorical("user", **of),
        tfmtl.Categorical("item", **of),
        tfmtl.Sequence("seen", of="item", max_length=LENGTH),
    ]
    tasks = [tfmtl.Task(name, metrics=()) for name in ("click", "like")]
    model = tfmtl.models.get("shared_bottom")(features, tasks)
    model.compile(tfmtl.optimizers.LazyAdam(1e-3))
    return model


def batches(way: str, rows: int, batch: int, turn: int = 0) -> tf.data.Dataset:
    """Returns the batches of a turn, which are new ones: none is learnt by heart."""
    rng = np.random.default_rng(turn)

    def ids(*shape):
        if way == "hot":
            return rng.zipf(1.1, shape) % rows
        found = rng.integers(0, rows, shape)
        return found - found % 2 if way == "uneven" else found  # rows of the first

    n = STEPS * batch
    x = {"user": ids(n), "item": ids(n), "seen": ids(n, LENGTH)}
    y = {task: (rng.random(n) < 0.3).astype("float32") for task in ("click", "like")}
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch).cache()


def rows_of_messages(way: str, rows: int, batch: int) -> tuple[float, float]:
    """Returns how many rows a worker wants in a step, and has place for."""
    wanted = []
    for x, _ in batches(way, rows, batch):
        ids = [x["user"][:, None], x["item"][:, None] + rows, x["seen"] + rows]
        for half in tf.split(tf.concat(ids, 1), 2):
            found = tf.cast(tf.reshape(half, (-1,)), "int32")
            _, asked = requests(found, 2, lambda most: most)
            wanted.append((np.sum(asked >= 0), tf.size(asked)))
    return tuple(np.mean(wanted, 0))


def bytes_of_tables(model: keras.Model) -> int:
    """Returns how much of tables and their slots this process holds."""
    slots = [v for v in model.optimizer.variables if "table_" in v.path]
    return sum(4 * np.prod(v.shape) for v in (*model.embedding.tables.values(), *slots))


def train(models: dict, args) -> dict:
    """Trains by turns; returns {way: {model: [(loss, clock, CPU seconds a step)]}}."""
    found = {}
    for way in WAYS:
        found[way] = {name: [] for name in models}
        for turn in range(args.turns):
            data = batches(way, args.rows, args.batch, turn)
            for name, model in models.items():
                clock, cpu = time.perf_counter(), time.process_time()
                loss = model.fit(data, shuffle=False, verbose=0).history["loss"][0]
                clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
                found[way][name].append((loss, clock / STEPS, cpu / STEPS))
    return found


def worker(args) -> dict:
    """Is one of two workers; returns what it has measured."""
    cluster = {"worker": [f"localhost:{port}" for port in args.ports]}
    task = {"type": "worker", "index": args.worker}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        models = {name: make(args.rows, name == "sharded") for name in NAMES}
        found = train(models, args)
    return {
        "turns": found,
        "bytes": {name: int(bytes_of_tables(model)) for name, model in models.items()},
    }


def start(args, folder: Path) -> list[dict]:
    """Starts two workers; returns what each has measured."""
    with contextlib.ExitStack() as sockets:
        held = [sockets.enter_context(socket.socket()) for _ in range(2)]
        for each in held:
            each.bind(("localhost", 0))
        ports = [str(each.getsockname()[1]) for each in held]
    options = ["--rows", args.rows, "--batch", args.batch, "--turns", args.turns]
    files = [folder / f"{i}.json" for i in range(2)]
    workers = [
        subprocess.Popen(
            [
                *(sys.executable, __file__, *map(str, options)),
                *("--worker", str(i), "--to", str(file), "--ports", *ports),
            ]
        )
        for i, file in enumerate(files)
    ]
    try:
        if any([process.wait() for process in workers]):
            raise SystemExit("a worker has failed; its messages are above")
    finally:
        for process in workers:
            process.kill()
    return [json.loads(file.read_text()) for file in files]


def main(argv: list[str] | None = None) -> int:
    """Prints the tables; returns 1 if a threshold is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=5)
    for own in ("--worker", "--ports", "--to"):
        parser.add_argument(own, nargs="+" if own == "--ports" else None)
    args = parser.parse_args(argv)
    if args.worker:
        args.worker = int(args.worker)
        Path(args.to).write_text(json.dumps(worker(args)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = start(args, Path(folder))
    alone = train({name: make(args.rows, name == "sharded") for name in NAMES}, args)
    missed = False
    columns = [*("whole", "sharded", "ratio") * 2, *NAMES, "wanted", "place"]
    print(f"{'':<10}{'ms a step':<27}{'CPU ms':<27}{'loss differs by':<18}{'rows':>10}")
    print(f"{'ids':<10}" + "".join(f"{column:>9}" for column in columns))
    for way in WAYS:
        turns = [each["turns"][way] for each in found]
        both = {  # behind the first turn, which compiles
            name: [
                (max(a[1], b[1]) * 1000, (a[2] + b[2]) * 1000)
                for a, b in zip(turns[0][name], turns[1][name], strict=True)
            ][1:]
            for name in NAMES
        }
        cells = []
        for i in range(2):
            whole, sharded = ([turn[i] for turn in both[name]] for name in NAMES)
            ratio = statistics.median(
                b / a for a, b in zip(whole, sharded, strict=True)
            )
            cells += [statistics.median(whole), statistics.median(sharded), ratio]
        differs = [
            max(
                abs(a[0] - b[0])
                for a, b in zip(alone[way][name], turns[0][name], strict=True)
            )
            for name in NAMES
        ]
        missed |= differs[1] > 1e-5 or max(cells[2], cells[5]) > 1.5
        cells = [f"{cell:.2f}" for cell in cells] + [f"{d:.0e}" for d in differs]
        cells += [f"{n:.0f}" for n in rows_of_messages(way, args.rows, args.batch)]
        print(f"{way:<10}" + "".join(f"{cell:>9}" for cell in cells))
    whole, sharded = (max(each["bytes"][name] for each in found) for name in NAMES)
    missed |= sharded > 0.6 * whole
    print(
        f"tables and slots on a worker: whole {whole / 1e6:.1f} MB, sharded "
        f"{sharded / 1e6:.1f} MB, {sharded / whole:.3f} of it"
    )
    print("MISSED" if missed else "passed")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
