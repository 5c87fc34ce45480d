"""A join larger than memory: peak memory and speed of ExampleGen, and of all stages.

    python benchmarks/joins.py [--rows 5000000] [--actions 2000000] [--stages all]

Writes logs like those of configs/feed.yaml, filled with random numbers: impressions of
26 features with a tenth as many users as rows, and clicks, each within an hour of an
impression, in a log of their own. ExampleGen joins them by user and video within 30
minutes, and lists each user's last 20 clicks. Each run has a process of its own;
imports are in its seconds.

`--hot 0.2` gives a fifth of all rows to one user, whose rows cannot be divided.

It fails (exit status 1) if a run of ExampleGen needs more than 2 GB, or makes fewer
than 30,000 rows a second.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from preprocess import scale

MOST_MEMORY = 2.0  # GB
LEAST_SPEED = 30_000  # rows/s
SECONDS_A_ROW = 0.1  # of the logs
COMMANDS = {
    "example_gen": ["run", "--only", "ExampleGen"],
    "all": ["preprocess"],
}


def prepare(folder: Path, rows: int, actions: int, hot: float) -> Path:
    """Writes the logs and the config; returns the config's path."""
    config = yaml.safe_load((scale.ROOT / "configs" / "feed.yaml").read_text())
    shown, clicks = folder / "shown", folder / "clicks"
    for logs in (shown, clicks):
        logs.mkdir(parents=True)
    for start in range(0, rows, scale.FILE_ROWS):
        count = min(scale.FILE_ROWS, rows - start)
        table = scale.feed_rows(config, start, count, users=rows // 10)
        rng = np.random.default_rng(start)
        if hot:
            user = table["user_id"].to_numpy(zero_copy_only=False)
            user[rng.random(count) < hot] = "hot"
            place = table.schema.get_field_index("user_id")
            table = table.set_column(place, "user_id", pa.array(user))
        at = np.arange(start, start + count) * SECONDS_A_ROW
        place = table.schema.get_field_index("timestamp")
        table = table.set_column(place, "timestamp", pa.array(at))
        table = table.drop_columns(["played"])
        chosen = np.sort(rng.choice(count, actions * count // rows, replace=False))
        clicked = table.select(["user_id", "video_id"]).take(pa.array(chosen))
        later = at[chosen] + rng.random(len(chosen)) * 3600
        clicked = clicked.append_column("timestamp", pa.array(later))
        pq.write_table(table, shown / f"{start:09d}.parquet")
        pq.write_table(clicked, clicks / f"{start:09d}.parquet")
    name = "played"
    config["data"] = {
        "logs": [f"{shown}/*.parquet"],
        "time": "timestamp",
        "actions": [
            {
                "name": name,
                "logs": [f"{clicks}/*.parquet"],
                "key": ["user_id", "video_id"],
                "time": "timestamp",
                "window": "30m",
            }
        ],
        "history": [
            {
                "name": "clicked",
                "actions": name,
                "key": "user_id",
                "column": "video_id",
                "max_length": 20,
            }
        ],
        "split": {"by": "time", "column": "timestamp", "train": 0.9, "valid": 0.05},
    }
    config["workspace"] = str(folder / "out")
    config["features"].append(
        {"name": "clicked", "kind": "sequence", "of": "video_id", "max_length": 20}
    )
    del config["evaluate"]
    path = folder / "feed.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def measure(config: Path, stages: str) -> tuple[float, float, float]:
    """Runs a command; returns seconds, CPU seconds and peak memory in GB."""
    command, *flags = COMMANDS[stages]
    shutil.rmtree(config.parent / "out", ignore_errors=True)
    started = time.perf_counter()
    with (config.parent / f"{stages}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", command, config, *flags, "--no-cache"],
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(scale.ROOT)},
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the job failed; see {log.name}")
    seconds = time.perf_counter() - started
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def main(argv: list[str] | None = None) -> int:
    """Prints the table; returns 1 if a threshold is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--actions", type=int, default=2_000_000)
    parser.add_argument("--hot", type=float, default=0.0)
    parser.add_argument(
        "--stages", choices=COMMANDS, nargs="+", default=["example_gen"]
    )
    parser.add_argument(
        "--workspace", type=lambda p: Path(p).resolve(), default="workspace/joins"
    )
    args = parser.parse_args(argv)
    shutil.rmtree(args.workspace, ignore_errors=True)
    config = prepare(args.workspace, args.rows, args.actions, args.hot)
    print(f"{args.rows:,} impressions, {args.actions:,} actions, {args.hot:.0%} hot")
    missed = False
    for stages in args.stages:
        seconds, cpu, memory = measure(config, stages)
        speed = args.rows / seconds
        line = f"{stages:<12}{seconds:>8.1f} s{cpu:>8.1f} CPU s{speed:>10,.0f} rows/s"
        line += f"{memory:>8.2f} GB at most"
        if stages == "example_gen":
            passed = memory <= MOST_MEMORY and speed >= LEAST_SPEED
            missed |= not passed
            line += f": {'passed' if passed else 'MISSED'}"
        print(line, flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
