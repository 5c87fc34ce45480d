"""One Beam job on several engines: seconds, CPU seconds, and whether rows are the same.

    python benchmarks/engines.py [--rows 200000] [--engines local flink dask]

Writes a feed like that of configs/feed.yaml, filled with random numbers, and prepares
it by `python -m pipeline preprocess` on each engine, all on this machine:

- local: in one process, Beam's FnApiRunner.
- processes: the same with two worker processes.
- prism: Beam's Prism, whose binary `make engine-prism` builds, the workers as threads
  of the command; prism-processes: as processes of their own.
- dask, flink, spark: on a cluster of two workers (tests/clusters; Flink and Spark need
  `make engine-flink` and `make engine-spark`); dask-1 ...: of one.

The seconds are those of the command, without the start of a cluster; the CPU seconds
are those of the command and of its cluster, imports and all.
It fails (exit status 1) if an engine writes other records
than the first of `--engines`: the hashes of all, sorted, are compared.
"""

import argparse
import contextlib
import gzip
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from preprocess import scale

from pipeline.artifacts import layout
from pipeline.logs import tfrecord

sys.path.append(str(scale.ROOT / "tests"))  # clusters/

PRISM = scale.ROOT / ".engines" / "prism"
# Beam starts worker processes by the name `python`.
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
_PRISM_FLAGS = ["--runner=PrismRunner", f"--prism_location={PRISM}"]
FLAGS = {
    "local": [],
    "processes": [
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=2",
    ],
    "prism": _PRISM_FLAGS,
    "prism-processes": [*_PRISM_FLAGS, "--experiments=use_loopback_process_worker"],
}
CLUSTERS = {
    f"{name}{suffix}": (name, workers)
    for name in ("dask", "flink", "spark")
    for suffix, workers in (("", 2), ("-1", 1))
}
ENGINES = [*FLAGS, *CLUSTERS]


def run(line: list, log: Path) -> subprocess.Popen:
    """Starts a Python module of this environment."""
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *line],
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env=os.environ | {"PYTHONPATH": str(scale.ROOT), "PATH": PATH},
        )


def end(process: subprocess.Popen) -> float:
    """Waits for a process; returns the CPU seconds of it and its children."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def measure(engine: str, config: Path) -> tuple[float, float]:
    """Runs the job; returns its seconds and CPU seconds."""
    folder = config.parent / engine
    folder.mkdir()
    command = ["pipeline", "preprocess", config, "--output", folder / "out"]
    command += FLAGS.get(engine, [])
    with contextlib.ExitStack() as stack:
        cpu = []
        if engine in CLUSTERS:
            name, workers = CLUSTERS[engine]
            start = importlib.import_module(f"clusters.{name}").start
            cluster = stack.enter_context(start(folder, workers))
            command += [f"--runner={cluster.runner}", *cluster.flags]
            cpu = cluster.cpu  # filled when it ends
        started = time.perf_counter()
        process = run(command, folder / "job.log")
        own = end(process)
        seconds = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"the job failed; see {folder}/job.log")
    return seconds, own + sum(cpu)


def checksum(engine: Path) -> str:
    """The hash of the sorted hashes of all records, by split."""
    found = hashlib.sha256()
    (records,) = (engine / "out" / "Transform" / "transformed_examples").iterdir()
    for split, folder in layout.splits(records).items():
        rows = []
        for shard in folder.glob(layout.RECORD_FILES):
            with gzip.open(shard) as file:
                rows += [hashlib.md5(row).digest() for row, _ in tfrecord.read(file)]
        found.update(f"{split} {len(rows)} ".encode() + b"".join(sorted(rows)))
    return found.hexdigest()[:16]


def main(argv: list[str] | None = None) -> int:
    """Prints the table; returns 1 if the records differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--engines", choices=ENGINES, nargs="+", default=ENGINES)
    parser.add_argument(
        "--workspace", type=lambda p: Path(p).resolve(), default="workspace/engines"
    )
    args = parser.parse_args(argv)
    if any(engine.startswith("prism") for engine in args.engines):
        if not PRISM.is_file():
            parser.error(f"{PRISM} is not there: run `make engine-prism`")
    shutil.rmtree(args.workspace, ignore_errors=True)
    config = scale.prepare(args.workspace, args.rows)
    print(f"{args.rows:>9,} rows   seconds   x   CPU s   x   records")
    first, sums = None, []
    for engine in args.engines:
        seconds, cpu = measure(engine, config)
        first = first or (seconds, cpu)
        sums.append(checksum(args.workspace / engine))
        verdict = "same" if sums[-1] == sums[0] else "OTHERS"
        print(
            f"{engine:<15}{seconds:>8.1f}{seconds / first[0]:>6.2f}"
            f"{cpu:>8.1f}{cpu / first[1]:>6.2f}   {sums[-1]} {verdict}",
            flush=True,
        )
        shutil.rmtree(args.workspace / engine / "out")
    return int(len(set(sums)) > 1)


if __name__ == "__main__":
    sys.exit(main())
