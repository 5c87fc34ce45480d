"""What a change of version does to the answers and to the memory of a server."""

import itertools
import shutil
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from served import NAMES, Connection, memory, serve, verdict

RATE, SWAP_SECONDS, BROKEN_EVERY, SETTLED_SWAPS, MOST_GROWTH = 50, 20, 4, 3, 0.10
STEADY_SECONDS, SWAPS, MOST_OF_STEADY = 20, 8, 3.0
LARGER, MOST_OF_TWO = 1.1, 1.05


def swap(saved_model: Path, base_path: Path, log: Path) -> bool:
    """Prints p99 while versions load, and else; returns whether it is too much."""
    import numpy as np

    from serving.loadtest.load import load

    body = b'{"instances": [{%s}]}' % b", ".join(b'"%s": 1' % n.encode() for n in NAMES)
    windows = []  # (from, to) of a version on its way, in seconds

    def change_versions(start: float) -> None:
        time.sleep(STEADY_SECONDS)
        for version in range(2, SWAPS + 2):
            # Not by `publish`, whose checks would take the client's time here.
            shutil.copytree(saved_model, base_path / "coming")
            begin = time.monotonic()
            (base_path / "coming").rename(base_path / str(version))
            while f"version {version - 1} unloaded" not in log.read_text():
                time.sleep(0.05)
            windows.append((begin - start, time.monotonic() - start))

    with serve(base_path, log) as (_, port):
        url = f"http://127.0.0.1:{port}/v1/models/model:predict"
        load(url, [body], rate=RATE, seconds=3)  # to warm up
        found, seconds = [], STEADY_SECONDS
        changing = threading.Thread(target=change_versions, args=[time.monotonic()])
        changing.start()
        start = time.monotonic()
        while changing.is_alive() or not found:
            offset = time.monotonic() - start
            found.append((offset, load(url, [body], rate=RATE, seconds=seconds)))
            seconds = 1
        changing.join()
    began = np.concatenate([offset + part.start for offset, part in found])
    taken = 1e3 * np.concatenate([part.latency for _, part in found])
    failed = sum(int((part.status != 200).sum()) for _, part in found)
    in_swap = np.any([(began >= a) & (began <= b) for a, b in windows], axis=0)
    steady = taken[began < STEADY_SECONDS]
    for name, part in (("steady", steady), ("versions load", taken[in_swap])):
        p50, p99, worst = np.percentile(part, [50, 99, 100])
        print(f"  {name:<14} p50 {p50:6.2f}  p99 {p99:6.2f}  max {worst:6.2f} ms")
    ratio = float(np.percentile(taken[in_swap], 99) / np.percentile(steady, 99))
    print(
        f"swap: {failed} requests failed; p99 {ratio:.2f} times that without, ", end=""
    )
    print(verdict(ratio, MOST_OF_STEADY))
    return bool(failed) or ratio > MOST_OF_STEADY


def build_table(path: Path, mebibytes: float) -> None:
    """Writes a SavedModel with one table of this size."""
    import numpy as np
    import tensorflow as tf

    from serving.models.warmup import write_warmup

    module = tf.Module()
    module.table = tf.Variable(tf.zeros([int(mebibytes * 2**20 / 256), 64]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "row")])
    def look_up(row):
        return {"sum": tf.reduce_sum(tf.gather(module.table, row), 1)}

    tf.saved_model.save(module, str(path), signatures=look_up)
    write_warmup(path, {"serving_default": [{"row": np.zeros(1, np.int64)}]})


def table(folder: Path, gibibytes: float) -> bool:
    """Prints the memory that changes of a large table take; returns if too much.

    Each version's table is larger than the one before, so that none fits into what the
    last one leaves.
    """
    base_path, log = folder / "tables", folder / "tables.log"
    base_path.mkdir()
    sizes = [1024 * gibibytes * LARGER**version for version in range(3)]
    for version, size in enumerate(sizes, 1):
        build_table(folder / f"table-{version}", size)
    (folder / "table-1").rename(base_path / "1")
    most, longest, stop = [0.0], [0.0], threading.Event()
    with serve(base_path, log) as (pid, port):
        without = memory(pid) - sizes[0]

        def watch() -> None:
            while not stop.wait(0.01):
                most[0] = max(most[0], memory(pid))

        def ask() -> None:
            connection = Connection(port)
            while not stop.wait(0.02):
                start = time.monotonic()
                connection.ask({"instances": [1]})
                longest[0] = max(longest[0], time.monotonic() - start)

        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(watch), pool.submit(ask)]
            for version in (2, 3):
                (folder / f"table-{version}").rename(base_path / str(version))
                while f"version {version - 1} unloaded" not in log.read_text():
                    time.sleep(0.05)
                shutil.rmtree(base_path / str(version - 1))
            stop.set()
            for future in both:
                future.result()
    ratio = (most[0] - without) / (sizes[1] + sizes[2])
    print(
        f"table of {gibibytes:g} GiB, then two larger ones: at most "
        f"{most[0] / 1024:.2f} GiB, longest answer {1e3 * longest[0]:.0f} ms"
    )
    print(f"table: {ratio:.2f} times two tables in memory, ", end="")
    print(verdict(ratio, MOST_OF_TWO))
    shutil.rmtree(base_path)
    return ratio > MOST_OF_TWO


def break_copies(saved_model: Path) -> Iterator[Path]:
    """Makes a copy whose warm-up fails and one that is cut off; gives them in turn."""
    from serving.models.warmup import write_warmup

    no_warm_up, cut = (saved_model.with_name(name) for name in ("no_warm_up", "cut"))
    for copy in (no_warm_up, cut):
        shutil.copytree(saved_model, copy)
    write_warmup(no_warm_up, {"serving_default": [{"no such input": [1]}]})
    graph = (saved_model / "saved_model.pb").read_bytes()
    (cut / "saved_model.pb").write_bytes(graph[: len(graph) // 2])
    return itertools.cycle([no_warm_up, cut])


def soak(saved_model: Path, base_path: Path, log: Path, minutes: float) -> bool:
    """Loads a server whose versions change; returns whether something failed."""
    from serving.release.publish import publish

    broken = break_copies(saved_model)
    outcomes: Counter[str] = Counter()
    connections: list[Connection] = []
    held: list[list[float]] = [[]]  # in MiB, one list for each swap
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
            bad = len(held) % BROKEN_EVERY == 0
            publish(next(broken) if bad else saved_model, base_path, keep=3)
            held.append([])
            settled = statistics.median(held[-2])
            kind = "broken" if bad else "good"
            print(f"  version {len(held)} ({kind}), {settled:.0f} MiB", flush=True)

    with serve(base_path, log) as (pid, port):
        changing = threading.Thread(target=change_versions)
        changing.start()
        start = time.monotonic()
        with ThreadPoolExecutor(64) as pool:
            for number in range(int(minutes * 60 * RATE)):
                time.sleep(max(0.0, start + number / RATE - time.monotonic()))
                pool.submit(ask)
                if number % RATE == 0:
                    held[-1].append(memory(pid))
        stop.set()
        changing.join()
        served = log.read_text().count(" available (")
    medians = [statistics.median(values) for values in held if values]
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
