"""Does a training step cost more when the tables are larger?

    python benchmarks/table_size.py [--rows 1000 1000000] [--optimizer NAME ...]

PLE of two levels with 3 tasks, over 26 categorical features of dimension 16 and 13
numbers, batch 1024, ids drawn uniformly, `fit` on prebatched tensors in memory. For
each optimizer the table sizes take turns in one process. Prints the time of a step
(median of the turns) and the ratio of the largest tables to the smallest, by the clock,
which counts, and by CPU time, which other work on the machine disturbs less. Keras's
own Adam is there for comparison: it updates every row, so it gets few steps.

It fails (exit status 1) if a row-sparse optimizer needs, with the largest tables, more
than 1.3 times what it needs with the smallest. A million rows take 1.7 GB, and as much
again for each slot of the optimizer.

What the large tables cost more is waiting for memory, most of it for the processor's
page tables. On Linux, GLIBC_TUNABLES=glibc.malloc.hugetlb=1 before the command puts
tables into pages of 2 MB, where they are allowed (transparent_hugepage/enabled).
"""

import argparse
import gc
import statistics
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from peers import in_memory

import tfmtl

FEATURES, DIM, NUMBERS, BATCH = 26, 16, 13, 1024
TASKS = ("click", "like", "buy")
LARGEST_RATIO = 1.3
# Name -> (optimizer, steps of a turn, whether the threshold holds).
OPTIMIZERS = {
    "SparseAdagrad": (lambda: tfmtl.optimizers.SparseAdagrad(0.05), 50, True),
    "RowwiseAdagrad": (lambda: tfmtl.optimizers.RowwiseAdagrad(0.05), 50, True),
    "LazyAdam": (lambda: tfmtl.optimizers.LazyAdam(1e-3), 50, True),
    "keras.Adam": (lambda: keras.optimizers.Adam(1e-3), 2, False),
}


def make(rows: int, optimizer: keras.optimizers.Optimizer) -> keras.Model:
    """Returns a compiled model whose tables have `rows` rows."""
    features = [
        tfmtl.Categorical(f"id_{i}", vocabulary_size=rows, embedding_dim=DIM)
        for i in range(FEATURES)
    ]
    features += [tfmtl.Numeric(f"number_{i}") for i in range(NUMBERS)]
    model = tfmtl.models.get("ple")(
        features,
        [tfmtl.Task(task, tower=(32,)) for task in TASKS],
        shared_experts=2,
        task_experts=2,
        expert_units=((128,), (64,)),
    )
    model.compile(optimizer)
    return model


def batches(rows: int, steps: int) -> tf.data.Dataset:
    """Returns a dataset of `steps` batches in memory."""
    rng = np.random.default_rng(rows)
    x = {f"id_{i}": rng.integers(0, rows, steps * BATCH) for i in range(FEATURES)}
    x |= {
        f"number_{i}": rng.normal(size=steps * BATCH).astype("float32")
        for i in range(NUMBERS)
    }
    y = {task: (rng.random(steps * BATCH) < 0.2).astype("float32") for task in TASKS}
    return in_memory.dataset(x, y, BATCH)


def measure(name: str, sizes: list[int], repeats: int) -> dict[int, list[tuple]]:
    """Returns {rows a table: [(milliseconds a step, of CPU time) of each turn]}."""
    optimizer, steps, _ = OPTIMIZERS[name]
    trains = {}
    for rows in sizes:
        model, data = make(rows, optimizer()), batches(rows, steps)
        trains[rows] = lambda model=model, data=data: model.fit(data, verbose=0)
        trains[rows]()  # compiles, allocates slots, fills the cache
    times = {rows: [] for rows in sizes}
    for _ in range(repeats):
        for rows, train in trains.items():
            clock, cpu = time.perf_counter(), time.process_time()
            train()
            clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
            times[rows].append((clock / steps * 1000, cpu / steps * 1000))
    return times


def main(argv: list[str] | None = None) -> int:
    """Prints the table; returns 1 if a threshold is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", type=int, default=[1_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--optimizer", nargs="+", choices=OPTIMIZERS, default=list(OPTIMIZERS)
    )
    args = parser.parse_args(argv)
    sizes = sorted(args.rows)
    missed = False
    print(f"{'ms a step, rows a table:':<26}{''.join(f'{n:>12,}' for n in sizes)}")
    for name in args.optimizer:
        turns = measure(name, sizes, args.repeats)
        keras.utils.clear_session()
        gc.collect()  # gigabytes of tables
        small, large = turns[sizes[0]], turns[sizes[-1]]
        ratio, of_cpu = (
            statistics.median(b[i] / a[i] for a, b in zip(small, large, strict=True))
            for i in range(2)
        )
        verdict = ""
        if OPTIMIZERS[name][2]:
            passed = ratio <= LARGEST_RATIO
            missed |= not passed
            verdict = f" (at most {LARGEST_RATIO}: {'passed' if passed else 'MISSED'})"
        cells = "".join(
            f"{statistics.median(turn[0] for turn in turns[n]):>12.1f}" for n in sizes
        )
        line = f"{name:<26}{cells}  ratio {ratio:6.2f}, of CPU time {of_cpu:6.2f}"
        print(line + verdict, flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
