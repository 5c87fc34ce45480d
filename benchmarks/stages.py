"""What each Beam job costs a row: CPU time, bytes in the shuffle and on disk, memory.

    python benchmarks/stages.py [--rows 500000] [--stages ExampleGen Transform]

Writes impressions and clicks as `benchmarks/joins.py` does, two clicks to five
impressions, and runs the stages one after the other, each in a process of its own;
imports are in no figure but the memory's. The shuffle's bytes are those that a cluster
would move if it merged nothing before: the pickled pairs before each group-by-key.

docs/scale.md reckons with the figures. Nothing here can fail.
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

import apache_beam as beam
import joins
from preprocess import scale

from pipeline.beam import spill
from pipeline.config import load
from pipeline.run import run

STAGES = ("ExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Transform")
HERE = Path(__file__).parent
shuffled = 0  # bytes


def work(config: str, stage: str) -> None:
    """Runs a stage in this process; prints what it took as JSON."""
    beam.Pipeline.apply = _counting(beam.Pipeline.apply)
    spill.folder = lambda workers: None  # as on a cluster: the rows travel
    started, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
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
        combines = isinstance(transform, beam.CombinePerKey)
        if not combining and (combines or isinstance(transform, beam.GroupByKey)):
            name = f"Count {label or transform.label}"
            pairs = apply(job, beam.Map(_count), pairs, name)
        combining.extend([transform] * combines)
        try:
            return apply(job, transform, pairs, label)
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
    parser.add_argument("--stages", choices=STAGES, nargs="+", default=STAGES)
    parser.add_argument(
        "--workspace", type=lambda p: Path(p).resolve(), default="workspace/stages"
    )
    args = parser.parse_args(argv)
    shutil.rmtree(args.workspace, ignore_errors=True)
    config = joins.prepare(args.workspace, args.rows, args.rows * 2 // 5, 0.0)
    logs = sum(_size(args.workspace / name) for name in ("shown", "clicks"))
    print(f"{args.rows:,} rows, {logs / args.rows:,.0f} bytes of logs a row")
    print(f"{'':<18}rows/s a core  shuffled B/row  written B/row  memory GB  seconds")
    for stage in STAGES[: STAGES.index(args.stages[-1]) + 1]:
        call = f"import stages; stages.work({str(config)!r}, {stage!r})"
        with (args.workspace / f"{stage}.log").open("w") as log:
            done = subprocess.run(
                [sys.executable, "-c", call],
                env=os.environ | {"PYTHONPATH": f"{scale.ROOT}{os.pathsep}{HERE}"},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        if done.returncode:
            sys.exit(f"the stage failed; see {log.name}")
        taken = json.loads(done.stdout)
        written = _size(args.workspace / "out" / stage)
        if stage in args.stages:
            print(
                f"{stage:<18}{args.rows / taken['cpu']:>13,.0f}"
                f"{taken['shuffled'] / args.rows:>16,.0f}{written / args.rows:>15,.0f}"
                f"{taken['memory'] / 1e9:>11.2f}{taken['seconds']:>9.1f}",
                flush=True,
            )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
