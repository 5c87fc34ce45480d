"""Does reading TFRecords keep up with training?

    python benchmarks/input_pipeline.py --census DIR [--set KEY=VALUE ...]

Runs configs/census.yaml (DIR holds its two files) and configs/feed.yaml up to
Transform, with 256 rows a record (`--set transform.rows_per_record=1` for one), and
compares `fit` of the configured PLE fed by `tfmtl.data.read`, shuffled as the
trainer does, with `fit` fed by the same batches cached in memory, at batch 1024 and
8192. The two take turns, an epoch each, after one that warms up. Prints rows a second
(medians) and the share that files reach, by the clock, which counts, and by CPU time,
which other work on the machine disturbs less; and rows a second of reading alone.

It fails (exit status 1) if a share is below 85 %.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

import tfmtl
from pipeline import config as configs
from pipeline.artifacts import layout
from pipeline.components.trainer import component
from pipeline.config.declarations import declare
from pipeline.run import run

ROOT = Path(__file__).parent.parent
LEAST_SHARE = 0.85


def load(name: str, overrides: list[str], workspace: Path) -> tuple:
    """Runs a config up to Transform; returns (it, features, tasks, files, rows)."""
    config = configs.load(
        ROOT / "configs" / f"{name}.yaml",
        [
            f"workspace={workspace / name}",
            f"push.destination={workspace / name}/served",
            "transform.rows_per_record=256",
            *overrides,
        ],
    )
    artifacts = run(config, until="Transform", report=lambda line: None)
    sizes = json.loads((artifacts["transform_graph"] / layout.FEATURES).read_text())
    examples = artifacts["transformed_examples"]
    rows = json.loads((examples / layout.SUMMARY).read_text())["rows"]["train"]
    files = sorted(layout.split(examples, "train").glob(layout.RECORD_FILES))
    return config, *declare(config, sizes), list(map(str, files)), rows


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Returns the seconds some work takes, by the clock and of CPU time."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - cpu


def measure(name: str, loaded: tuple, batch: int, repeats: int) -> bool:
    """Prints the line of one data set and batch size; returns whether it missed."""
    config, features, tasks, files, rows = loaded
    model = component.build(config, features, tasks)

    def read(**options) -> tf.data.Dataset:
        # Batches of one size, so that nothing is compiled twice.
        return tfmtl.data.read(
            files, features, tasks, batch, drop_remainder=True, rows=rows, **options
        )

    from_files = read(shuffle=component._SHUFFLE, seed=0)
    from_memory = read().cache().prefetch(2)
    trained = rows // batch * batch
    works = {
        "files": lambda: model.fit(from_files, shuffle=False, verbose=0),
        "memory": lambda: model.fit(from_memory, shuffle=False, verbose=0),
        "reading": lambda: [None for _ in from_files],
    }
    turns = {what: [] for what in works}
    for turn in range(repeats + 1):
        for what, work in works.items():
            seconds = timed(work)
            if turn:  # the first compiles and fills the cache
                turns[what].append(seconds)
    speeds = {
        what: trained / statistics.median(clock for clock, _ in seconds)
        for what, seconds in turns.items()
    }
    share, of_cpu = (
        statistics.median(
            memory[i] / files[i]
            for memory, files in zip(turns["memory"], turns["files"], strict=True)
        )
        for i in range(2)
    )
    passed = share >= LEAST_SHARE
    print(
        f"{name:<8}{batch:>6}"
        + "".join(f"{speeds[what]:>12,.0f}" for what in works)
        + f"{share:>9.2f}{of_cpu:>13.2f}  {'passed' if passed else 'MISSED'}",
        flush=True,
    )
    return not passed


def main(argv: list[str] | None = None) -> int:
    """Prints the table; returns 1 if a share is too small."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--census", metavar="DIR", required=True)
    parser.add_argument("--data", nargs="+", default=["census", "feed"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1024, 8192])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workspace", type=Path, default="workspace/input_pipeline")
    args = parser.parse_args(argv)
    missed = []
    print("rows/s:          from files from memory     reading    share  of CPU time")
    for name in args.data:
        census = [f"data.options.data={args.census}"] if name == "census" else []
        loaded = load(name, [*census, *args.set], args.workspace)
        for batch in args.batch:
            missed.append(measure(name, loaded, batch, args.repeats))
    return int(any(missed))


if __name__ == "__main__":
    sys.exit(main())
