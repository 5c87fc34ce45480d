"""What a training step of each architecture costs, as the number of tasks grows.

    python benchmarks/step.py [--tasks 1 4 12 30] [--jit off on] [NAME ...]

Architectures as they are by default, on 20 categorical features of dimension 16 (tables
of 1,000 rows) and 5 numbers, towers (64,), batch 1024, Adam, `fit` on prebatched
tensors in memory. Counts CPU time of the process, which other work on the machine
disturbs less than the clock. Beside each stands PLE whose experts are widened or
narrowed until it has as many parameters above the tables; the two take turns. Prints

    ms          of CPU time a step, the least of the turns
    to PLE      the ratio to that PLE
    first       seconds of CPU time of the first steps: tracing, and XLA's compiler
    exponent    e of the fit ms ~ tasks^e

and the machine's own limit: how fast it multiplies matrices of the default PLE's sizes,
forward and backward, and which part of PLE's step that would take. All of it goes to
--output as JSON.

It fails (exit status 1) if from 4 to 12 tasks a step grows more than 3.3 times, the
exponent is above 1.1, or DCRNN or DEPHN with 4 tasks take more than twice PLE's time.
All architectures take hours; two of them at 4 and 12 tasks, some minutes.
"""

import argparse
import gc
import json
import math
import os
import platform
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from peers import in_memory

import tfmtl

FEATURES, DIM, ROWS, NUMBERS, BATCH, BATCHES = 20, 16, 1000, 5, 1024, 4
TOWER = (64,)
LARGEST_GROWTH = 3.3  # from 4 to 12 tasks
LARGEST_EXPONENT = 1.1
LARGEST_TO_PLE = {"dcrnn": 2.0, "dephn": 2.0}  # with 4 tasks


class Training:
    """A model with its data, ready to take steps."""

    def __init__(self, name: str, features: list, tasks: list, jit=False, **options):
        self.model = tfmtl.models.get(name)(features, tasks, **options)
        self.model.compile("adam", jit_compile=jit)
        # Without tables, also those that an architecture has for each task.
        self.parameters = sum(
            math.prod(w.shape)
            for w in self.model.trainable_weights
            if "table" not in w.path
        )
        rng = np.random.default_rng(0)
        rows = BATCH * BATCHES
        x = {
            f.name: rng.normal(size=rows).astype("float32")
            if isinstance(f, tfmtl.Numeric)
            else rng.integers(0, f.vocabulary_size, rows).astype(f.dtype)
            for f in features
        }
        y = {task.label: rng.integers(0, 2, rows).astype("float32") for task in tasks}
        self.data = in_memory.dataset(x, y, BATCH).repeat()

    def take(self, steps: int) -> float:
        """Takes steps; returns the seconds of CPU time of one."""
        started = time.process_time()
        self.model.fit(self.data, steps_per_epoch=steps, verbose=0)
        return (time.process_time() - started) / steps


def inputs(tasks: int) -> tuple[list, list]:
    """Returns the features and as many tasks."""
    features = [
        tfmtl.Categorical(f"id_{i}", vocabulary_size=ROWS, embedding_dim=DIM)
        for i in range(FEATURES)
    ]
    features += [tfmtl.Numeric(f"number_{i}") for i in range(NUMBERS)]
    return features, [tfmtl.Task(f"task_{i}", tower=TOWER) for i in range(tasks)]


def ple_of(parameters: int, tasks: int) -> dict:
    """Returns the options of a PLE with about so many parameters above the tables."""

    def count(units):
        layer = tfmtl.layers.PLE(names, expert_units=((units,), (units // 2,)))
        layer.build((None, FEATURES * DIM + NUMBERS))
        tower = tfmtl.layers.Tower(TOWER)
        tower.build((None, units // 2))
        return layer.count_params() + tasks * tower.count_params()

    names = [f"task_{i}" for i in range(tasks)]
    widths = np.array([16, 64, 128])
    # Experts of widths u and u / 2 have a u^2 + b u + c parameters.
    curve = np.polyfit(widths, [count(int(u)) for u in widths], 2)
    units = 2 * round(max(np.roots(curve - [0, 0, parameters]).real) / 2)
    return {"expert_units": [[max(units, 4)], [max(units // 2, 2)]]}


def measure(name: str, tasks: int, jit: bool, args: argparse.Namespace) -> dict:
    """Returns what the steps of an architecture, and of an equal PLE, cost."""
    ours = Training(name, *inputs(tasks), jit)
    contestants = {"ours": ours}
    if name != "ple":
        options = ple_of(ours.parameters, tasks)
        contestants["ple"] = Training("ple", *inputs(tasks), jit, **options)
    first = {key: training.take(2) * 2 for key, training in contestants.items()}
    turns = {key: [] for key in contestants}
    for _ in range(args.turns):
        for key, training in contestants.items():
            turns[key].append(training.take(args.steps))
    least = {key: min(seconds) for key, seconds in turns.items()}
    return {
        "architecture": name,
        "tasks": tasks,
        "jit_compile": jit,
        "parameters": {key: t.parameters for key, t in contestants.items()},
        "ms": least["ours"] * 1e3,
        "to_ple": least["ours"] / least.get("ple", least["ours"]),
        "first_seconds": first["ours"],
    }


def gemm_ms(tasks: int, dtype: str) -> tuple[float, float]:
    """Returns CPU milliseconds of default PLE's matrix products, and GFLOP a second.

    Of each dense layer a step takes x W, and backward x^T g and g W^T.
    """
    width = FEATURES * DIM + NUMBERS
    first, second = 256, 128
    sizes = {
        (width, first): tasks + 1,
        (first, second): tasks + 1,
        (second, TOWER[0]): tasks,
    }
    seconds = operations = 0.0
    for (m, n), times in sizes.items():
        x, w, g = (
            tf.cast(tf.random.normal(shape), dtype)
            for shape in ((BATCH, m), (m, n), (BATCH, n))
        )

        @tf.function
        def products(x, w, g):
            return x @ w, tf.matmul(x, g, True), tf.matmul(g, w, False, True)

        products(x, w, g)
        turns = []
        for _ in range(5):
            started = time.process_time()
            for _ in range(10):
                products(x, w, g)
            turns.append((time.process_time() - started) / 10)
        seconds += times * min(turns)
        operations += times * 6 * BATCH * m * n
    return seconds * 1e3, operations / seconds / 1e9


def exponent(cells: list[dict]) -> float:
    """Returns e of the least-squares fit ms ~ tasks^e."""
    tasks, ms = (np.log([cell[key] for cell in cells]) for key in ("tasks", "ms"))
    return float(np.polyfit(tasks, ms, 1)[0])


def missed(cells: list[dict]) -> list[str]:
    """Returns which thresholds the cells of one architecture and setting miss."""
    name = cells[0]["architecture"]
    ms = {cell["tasks"]: cell["ms"] for cell in cells}
    found = []
    if {4, 12} <= set(ms) and ms[12] > LARGEST_GROWTH * ms[4]:
        found.append(f"{ms[12] / ms[4]:.2f} times from 4 to 12 tasks")
    if len(ms) > 2 and exponent(cells) > LARGEST_EXPONENT:
        found.append(f"exponent {exponent(cells):.2f}")
    for cell in cells:
        if cell["tasks"] == 4 and cell["to_ple"] > LARGEST_TO_PLE.get(name, np.inf):
            found.append(f"{cell['to_ple']:.2f} times PLE of equal parameters")
    return found


def main(argv: list[str] | None = None) -> int:
    """Prints the tables; returns 1 if a threshold is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--tasks", nargs="+", type=int, default=[1, 4, 12, 30])
    parser.add_argument("--jit", nargs="+", choices=["off", "on"], default=["off"])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="of a turn")
    parser.add_argument("--output", type=Path, default="workspace/step.json")
    args = parser.parse_args(argv)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    written = {
        "machine": {
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
        "gemm": {},
        "steps": [],
    }
    for dtype in ("float32", "bfloat16"):
        ms, rate = gemm_ms(4, dtype)
        written["gemm"][dtype] = {"ms": ms, "gflop_per_cpu_second": rate}
        print(f"PLE's products, 4 tasks, {dtype}: {ms:.1f} ms, {rate:.0f} GFLOP/s")
    failed = False
    print("\narchitecture    XLA  tasks  parameters       ms  to PLE   first")
    for name in args.names or tfmtl.models.names():
        for jit in args.jit:
            cells = []
            for tasks in args.tasks:
                cell = measure(name, tasks, jit == "on", args)
                cells.append(cell)
                line = (
                    f"{name:<15} {jit:<4} {tasks:>5} {cell['parameters']['ours']:>11,}"
                )
                line += f" {cell['ms']:>8.1f} {cell['to_ple']:>7.2f}"
                print(line + f" {cell['first_seconds']:>7.1f}", flush=True)
                if (name, tasks) == ("ple", 4):
                    share = written["gemm"]["float32"]["ms"] / cell["ms"]
                    print(f"{'':<15} of which matrix products need {share:.0%}")
                keras.utils.clear_session()
                gc.collect()
            if len(cells) > 1:
                print(f"{'':<15} exponent {exponent(cells):.2f}")
            for what in missed(cells):
                failed = True
                print(f"{'':<15} MISSED {what}", flush=True)
            written["steps"] += cells
            args.output.write_text(json.dumps(written, indent=1))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
