"""How the job's time grows with the rows, and its memory with the distinct users.

The logs have the columns of configs/feed.yaml, filled with random numbers: half as
many users as rows, each seen about twice, and 100,000 videos.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).parent.parent.parent
MOST_GROWTH = 2.2  # of the time, from 1 to 2 million rows
MOST_MEMORY = 4.0  # GB
FILE_ROWS = 500_000
_VIDEOS = 100_000


def measure(workspace: Path, rows: int) -> bool:
    """Prints time and memory; returns whether a threshold was missed.

    Args:
        workspace: Where to write; logs and outputs are removed in the end.
        rows: Of the run whose memory counts; 0 for none.
    """
    missed = False
    print(f"{'feed rows':>12}{'seconds':>10}{'rows/s':>10}{'peak GB':>10}")
    seconds = {}
    for count in (1_000_000, 2_000_000, rows):
        if not count:
            continue
        folder = workspace / f"feed-{count}"
        shutil.rmtree(folder, ignore_errors=True)
        config = prepare(folder, count)
        seconds[count], memory = _run(config, folder)
        speed = count / seconds[count]
        line = f"{count:>12,}{seconds[count]:>10.1f}{speed:>10,.0f}{memory:>10.2f}"
        if count == 2_000_000:
            growth = seconds[2_000_000] / seconds[1_000_000]
            passed = growth <= MOST_GROWTH
            line += f"   {growth:.2f} times as long, at most {MOST_GROWTH}"
        elif count == rows:
            passed = memory <= MOST_MEMORY
            line += f"   at most {MOST_MEMORY}"
        else:
            passed = None
        if passed is not None:
            line += f": {'passed' if passed else 'MISSED'}"
            missed |= not passed
        print(line, flush=True)
        shutil.rmtree(folder)
    return missed


def prepare(folder: Path, rows: int) -> Path:
    """Writes logs and a config; returns the config's path."""
    config = yaml.safe_load((ROOT / "configs" / "feed.yaml").read_text())
    (folder / "logs").mkdir(parents=True)
    for start in range(0, rows, FILE_ROWS):
        count = min(FILE_ROWS, rows - start)
        table = feed_rows(config, start, count, users=rows // 2)
        pq.write_table(table, folder / "logs" / f"{start:09d}.parquet")
    config["data"] = {
        "logs": [str(folder / "logs" / "*.parquet")],
        "split": {"by": "time", "column": "timestamp", "train": 0.9, "valid": 0.05},
    }
    del config["evaluate"]
    path = folder / "feed.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def feed_rows(config: dict, start: int, count: int, users: int) -> pa.Table:
    """Rows with the columns of the feed, filled with random numbers."""
    rng = np.random.default_rng(start)
    sizes = {"user_id": users, "video_id": _VIDEOS, "author_id": 20_000}
    columns = {"timestamp": pa.array(np.arange(start, start + count))}
    for feature in config["features"]:
        name = feature["name"]
        if feature["kind"] == "numeric":
            columns[name] = pa.array(rng.random(count) * 100)
        elif feature["kind"] == "sequence":
            offsets = np.append(0, np.cumsum(rng.integers(0, 7, count)))
            values = _ids("video_id", rng.integers(0, _VIDEOS, offsets[-1]))
            columns[name] = pa.ListArray.from_arrays(
                pa.array(offsets, pa.int32()), values
            )
        else:
            size = sizes.get(name, 20)
            columns[name] = _ids(name, rng.integers(0, size, count))
    for task in config["tasks"]:
        columns[task["name"]] = pa.array((rng.random(count) < 0.2).astype(np.int8))
    columns["played"] = pa.array(np.ones(count, np.int8))
    return pa.table(columns)


def _ids(name: str, numbers: np.ndarray) -> pa.Array:
    """Texts such as "user_id-1234567"."""
    texts = pa.array(numbers).cast(pa.string())
    return pc.binary_join_element_wise(f"{name}-", texts, "")


def _run(config: Path, folder: Path) -> tuple[float, float]:
    """Runs the job in a process of its own; returns seconds and peak memory in GB."""
    job = folder / "job.json"
    request = {"config": str(config), "output": str(folder / "out"), "collect": False}
    job.write_text(json.dumps(request))
    worker = Path(__file__).parent / "tfmtl_worker.py"
    with (folder.parent / "scale.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, worker, job],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        lines = process.stdout.read().splitlines()
        process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the job failed; see {log.name}.\n" + "\n".join(lines))
    return float(lines[-1]), usage.ru_maxrss / 1e6
