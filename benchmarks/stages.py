"""What each Beam job costs a row: CPU time, bytes in the shuffle and on disk, memory.

    python benchmarks/stages.py [--rows 500000] [--day 10_000_000_000] [--engine 2.0]

Writes impressions and clicks as `benchmarks/joins.py` does, two clicks to five
impressions, and runs the stages one after the other, each in a process of its own;
imports are in no figure but the memory's. The shuffle's bytes are those that a cluster
would move if it merged nothing before: the pickled pairs before each group-by-key.

Then it reckons what a day of many rows takes and costs on an engine that needs so many
times the CPU time of the local runner; `benchmarks/engines.py` measures the factor, and
docs/scale.md has the results. Nothing here can fail.
"""

import argparse
import contextlib
import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import joins
from preprocess import scale

from pipeline.beam import spill
from pipeline.config import load
from pipeline.run import run

STAGES = ("ExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Transform")
HERE = Path(__file__).parent
# List prices in dollars, as of 2025: assumptions, so put yours.
MACHINE = 0.768 / 16  # a core-hour of an m6i.4xlarge (us-east-1, 4 GB a core)
SERVICE = 0.056 + 4 * 0.003557  # a core-hour of Dataflow (us-central1), and its 4 GB
SHUFFLE = 0.011  # a GB in Dataflow's shuffle
STORAGE = 0.023 / 30  # a GB for a day in S3 Standard
_FEW = 2_000  # rows of the first, small run
shuffled = 0  # bytes


class Cost(NamedTuple):
    """What a row costs: CPU seconds, bytes in the shuffle, bytes of artifacts."""

    cpu: float
    shuffled: float
    written: float


def work(small: str, config: str, stage: str) -> None:
    """Runs a stage in this process; prints what it took as JSON.

    Args:
        small: A config of few rows. The stage runs on them first: it imports what it
            needs when it needs it.
        config: The config that is measured.
        stage: Its name.
    """
    global shuffled
    beam.Pipeline.apply = _counting(beam.Pipeline.apply)
    spill.folder = lambda workers: None  # as on a cluster: the rows travel
    with contextlib.redirect_stdout(sys.stderr):
        run(load(small, []), only=[stage], cache=False)
        shuffled = 0
        started, cpu = time.perf_counter(), time.process_time()
        run(load(config, []), only=[stage], cache=False)
    taken = {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "shuffled": shuffled,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(taken))


def _counting(apply: Callable) -> Callable:
    """The same, but counts before each group-by-key; a combiner has one inside."""
    combining = []

    def counted(job, transform, pairs=None, label=None):
        if label:  # Beam calls this again, with the label in the transform.
            return apply(job, transform, pairs, label)
        combines = isinstance(transform, beam.CombinePerKey)
        if not combining and (combines or isinstance(transform, beam.GroupByKey)):
            count = beam.Map(_count).with_output_types(pairs.element_type)
            pairs = apply(job, count, pairs, f"Count {transform.label}")
        combining.extend([transform] * combines)
        try:
            return apply(job, transform, pairs)
        finally:
            del combining[len(combining) - combines :]

    return counted


def _count(pair: tuple) -> tuple:
    global shuffled
    shuffled += len(pickle.dumps(pair))
    return pair


def main(argv: list[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--day", type=int, default=10_000_000_000, help="rows")
    parser.add_argument("--engine", type=float, default=1.0, help="times the CPU time")
    parser.add_argument(
        "--workspace", type=lambda p: Path(p).resolve(), default="workspace/stages"
    )
    args = parser.parse_args(argv)
    shutil.rmtree(args.workspace, ignore_errors=True)
    small = joins.prepare(args.workspace / "small", _FEW, _FEW * 2 // 5, 0.0)
    config = joins.prepare(args.workspace, args.rows, args.rows * 2 // 5, 0.0)
    logs = sum(_size(args.workspace / name) for name in ("shown", "clicks"))
    print(f"{args.rows:,} rows, {logs / args.rows:,.0f} bytes of logs a row")
    print(f"{'':<18}rows/s a core  shuffled B/row  written B/row  memory GB  seconds")
    total = Cost(0.0, 0.0, 0.0)
    for stage in STAGES:
        taken = measure(stage, small, config)
        cost = Cost(
            taken["cpu"] / args.rows,
            taken["shuffled"] / args.rows,
            _size(args.workspace / "out" / stage) / args.rows,
        )
        total = Cost(*map(sum, zip(total, cost, strict=True)))
        print(
            f"{stage:<18}{1 / cost.cpu:>13,.0f}{cost.shuffled:>16,.0f}"
            f"{cost.written:>15,.0f}{taken['memory'] / 1e9:>11.2f}"
            f"{taken['seconds']:>9.1f}",
            flush=True,
        )
    reckon(total, logs / args.rows, args.day, args.engine)


def measure(stage: str, small: Path, config: Path) -> dict[str, float]:
    """Runs a stage in a process of its own; returns what `work` says."""
    call = f"import stages; stages.work({str(small)!r}, {str(config)!r}, {stage!r})"
    with (config.parent / f"{stage}.log").open("w") as log:
        done = subprocess.run(
            [sys.executable, "-c", call],
            env=os.environ | {"PYTHONPATH": f"{scale.ROOT}{os.pathsep}{HERE}"},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    if done.returncode:
        sys.exit(f"the stage failed; see {log.name}")
    return json.loads(done.stdout)


def reckon(cost: Cost, logs: float, rows: int, engine: float) -> None:
    """Prints what a day takes and costs.

    Args:
        cost: Of a row, all stages together.
        logs: Bytes of a row in the logs.
        rows: Of a day.
        engine: How many times the local runner's CPU time the engine needs.
    """
    hours = cost.cpu * rows * engine / 3600
    moved, kept = cost.shuffled * rows / 1e9, cost.written * rows / 1e9  # GB
    machines, service = hours * MACHINE, hours * SERVICE + moved * SHUFFLE
    print(f"{rows:,} rows at {engine} times the CPU time:")
    print(f"  {hours:,.0f} core-hours; in four hours on {hours / 4:,.0f} cores")
    print(f"  {logs * rows / 1e12:.1f} TB read, {moved / 1e3:.1f} shuffled, ", end="")
    print(f"{kept / 1e3:.1f} written")
    print(f"  ${machines:,.0f} of machines; as a service ${service:,.0f}")
    print(f"  ${kept * STORAGE:,.0f} for each day that all artifacts are kept")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
