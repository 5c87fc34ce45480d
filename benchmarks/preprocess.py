"""Logs to TFRecords: `python -m pipeline preprocess`, TensorFlow Transform, a script.

    python benchmarks/preprocess.py --census DIR [--tft-rows 20000 40000] [--repeats 3]

DIR holds the two files of Census-Income. All read one CSV of the 199,523 rows that
train, and write compressed TFRecords with 33 vocabularies applied, 7 numbers scaled to
z-scores and 2 labels. Each has a process of its own; they take turns, but for TFT,
which runs once; imports are not in the clock.

- tfmtl: the command, with all of its stages, on its in-process runner. It also reads
  and writes 1,000 rows each of valid and test, as it wants all three splits.
- polars: a script without Beam. polars reads and analyses (missing rates, counts,
  moments, quantiles, label rates) and transforms, tfx-bsl encodes.
- tft: TensorFlow Transform as in its own Census example: `tfxio` reads, batches of
  Arrow go in and out, `compute_and_apply_vocabulary` and `scale_to_z_score`, on Beam's
  default local runner. With --tft-runner fn_api, on the in-process one that tfmtl
  names, which is faster. With two numbers of --tft-rows it runs on as many first rows,
  and its time for all is extrapolated along the line through both.

Then holds what tfmtl wrote against pandas (vocabularies with their counts and order,
moments, and all 1001 quantiles to 1e-9, as columns of at most 8192 distinct values have
no error) and, if TFT ran on all rows, its records against TFT's, row by row: the same
values have an id, in the same order but for those that occur equally often (TFT takes
these in descending order, tfmtl in ascending), and every z-score agrees to 1e-4.

It fails (exit status 1) if tfmtl does not reach 20 times the rows a second of TFT,
takes more than 3 times as long as the script, or writes anything else than they do.

    python benchmarks/preprocess.py --scale [--rows 10000000]

instead measures growth: the time of the job on 1 and 2 million rows of a feed, which
may grow by 2.2, and its peak memory for 10 million with 5 million users, which must
stay below 4 GB.

The peers are installed under --workspace at the first run (about 4 GB).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import environments
import pyarrow as pa
import pyarrow.csv
import yaml
from preprocess import outputs, scale

from pipeline.datasets import census

HERE = Path(__file__).parent
PEERS = {
    "tft": ["tensorflow==2.21.0", "tensorflow-transform==1.21.0"],
    "polars": ["polars==2.1.0", "tfx-bsl==1.21.0"],
}
LEAST_OF_TFT = 20.0  # times its rows a second
MOST_OF_SCRIPT = 3.0  # times its seconds
NUMBERS = [
    "age",
    "wage_per_hour",
    "capital_gains",
    "capital_losses",
    "stock_dividends",
    "num_emp",
    "weeks_worked",
]
LABELS = ["income_50k", "never_married"]
CATEGORIES = [
    name
    for name in census.COLUMNS
    if name not in (*NUMBERS, "income", "instance_weight")
]


def prepare(source: Path, workspace: Path) -> dict:
    """Writes the CSVs and the config that all read; returns the job without output."""
    generated = workspace / "generated"
    shutil.rmtree(generated, ignore_errors=True)
    generated.mkdir()
    census.generate(generated, data=str(source))
    logs = {}
    for split in ("train", "valid", "test"):
        path = workspace / f"{split}.csv"
        table = pa.csv.read_csv(
            generated / split / "census.csv",
            convert_options=pa.csv.ConvertOptions(
                include_columns=[*CATEGORIES, *NUMBERS, *LABELS],
                column_types=dict.fromkeys(census.COLUMNS, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        pa.csv.write_csv(table if split == "train" else table[:1000], path)
        logs[split] = [str(path)]
        if split == "train":
            rows = len(table)
    features = [{"name": name, "kind": "categorical"} for name in CATEGORIES]
    features += [{"name": name, "kind": "numeric"} for name in NUMBERS]
    config = {
        "name": "census",
        "workspace": "unused",
        # NA is an answer in these logs, and to the other tools a text like others.
        "data": {"logs": logs, "split": {"by": "given"}, "missing": []},
        "features": features,
        "tasks": [{"name": name} for name in LABELS],
        "push": {"destination": "unused"},
    }
    path = workspace / "census.yaml"
    path.write_text(yaml.safe_dump(config))
    return {
        "logs": logs["train"][0],
        "config": str(path),
        "rows": rows,
        "numbers": NUMBERS,
        "categories": CATEGORIES,
        "labels": LABELS,
    }


def python(name: str, workspace: Path) -> str:
    """Returns the Python that a worker runs in, after installing what it needs."""
    if name not in PEERS:
        return sys.executable
    return environments.python(workspace / f"venv-{name}", PEERS[name])


def measure(name: str, job: dict, workspace: Path) -> float:
    """Runs a worker; returns its seconds."""
    output = workspace / name
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    request = workspace / f"{name}.json"
    request.write_text(json.dumps({**job, "output": str(output)}))
    log = workspace / f"{name}.log"
    path = str(HERE.parent) if name == "tfmtl" else ""
    with log.open("w") as errors:
        done = subprocess.run(
            [
                python(name, workspace),
                HERE / "preprocess" / f"{name}_worker.py",
                request,
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
    if done.returncode:
        sys.exit(f"{name} failed; see {log}.\n{done.stdout}")
    return float(done.stdout.splitlines()[-1])


def compare(args: argparse.Namespace) -> bool:
    """Runs the three and prints the table; returns whether something was missed."""
    job = prepare(args.census, args.workspace)
    for name in PEERS:
        python(name, args.workspace)
    turns = {"tfmtl": [], "polars": []}
    for _ in range(args.repeats):
        for name, seconds in turns.items():
            seconds.append(measure(name, job, args.workspace))
    seconds = {name: statistics.median(turn) for name, turn in turns.items()}
    some = sorted(args.tft_rows) or [job["rows"]]
    with_tft = {**job, "runner": args.tft_runner}
    tft = [measure("tft", {**with_tft, "rows": n}, args.workspace) for n in some]
    for n, taken in zip(some, tft, strict=True):
        print(f"TFT on {n:,} rows: {taken:.1f} s", flush=True)
    slope = (tft[-1] - tft[0]) / max(some[-1] - some[0], 1)
    seconds["tft"] = tft[-1] + slope * (job["rows"] - some[-1])
    ratios = {name: taken / seconds["tfmtl"] for name, taken in seconds.items()}
    passed = {
        "tfmtl": True,
        "polars": 1 / ratios["polars"] <= MOST_OF_SCRIPT,
        "tft": ratios["tft"] >= LEAST_OF_TFT,
    }
    bounds = {
        "tfmtl": "",
        "polars": f"{1 / ratios['polars']:.2f} times as long, at most {MOST_OF_SCRIPT}",
        "tft": f"{ratios['tft']:.1f} times the rows/s, at least {LEAST_OF_TFT:.0f}",
    }
    print(f"{job['rows']:,} rows{'':<10}seconds      rows/s   tfmtl compared with it")
    for name, taken in seconds.items():
        verdict = "passed" if passed[name] else "MISSED"
        note = f"{bounds[name]}: {verdict}" if bounds[name] else ""
        if name == "tft" and some[-1] < job["rows"]:
            note += " (its seconds are extrapolated)"
        print(f"  {name:<18}{taken:>10.1f}  {job['rows'] / taken:>10,.0f}   {note}")
    missed = not all(passed.values())
    checks = {"pandas has the same statistics": outputs.against_pandas}
    if some[-1] == job["rows"]:
        checks["TFT wrote the same values in all rows"] = outputs.against_tft
    for claim, check in checks.items():
        problems = check(job, args.workspace)
        print(
            f"  {claim}: {'MISSED' if problems else 'passed'}", *problems, sep="\n    "
        )
        missed |= bool(problems)
    return missed


def main(argv: list[str] | None = None) -> int:
    """Prints the tables; returns 1 if a threshold is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--census", type=Path, metavar="DIR")
    parser.add_argument("--tft-rows", type=int, nargs="+", default=[], metavar="N")
    parser.add_argument(
        "--tft-runner", choices=["default", "fn_api"], default="default"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument(
        "--workspace", type=lambda p: Path(p).resolve(), default="workspace/preprocess"
    )
    args = parser.parse_args(argv)
    if not (args.scale or args.census):
        parser.error("give --census DIR, or --scale")
    args.workspace.mkdir(parents=True, exist_ok=True)
    missed = False
    if args.census:
        missed |= compare(args)
    if args.scale:
        missed |= scale.measure(args.workspace, args.rows)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
