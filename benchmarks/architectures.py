"""Every architecture on the simulated feed, by one word of the config.

    python benchmarks/architectures.py [--impressions 100000] [--epochs 2] [NAME ...]

Runs configs/feed.yaml with `model.architecture=NAME` and default options up to the
InfraValidator and prints each task's AUC (Spearman correlation of watch seconds) on the
test split, the parameters and the seconds of training. One seed: a check that all of
them learn and can be served, not a ranking of them.

It fails (exit status 1) if an architecture is no better than a constant prediction on
some task (AUC 0.5, correlation 0; log-loss above that of the mean for click, long view
and like) or its exported model does not give the offline scores.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import tfmtl
from pipeline import config as configs
from pipeline.artifacts import blessing, layout
from pipeline.run import run

ROOT = Path(__file__).parent.parent


def measure(name: str, args: argparse.Namespace) -> tuple[str, list[str]]:
    """Runs one architecture; returns its line of the table and what it missed."""
    config = configs.load(
        ROOT / "configs" / "feed.yaml",
        [
            f"workspace={args.workspace}",
            f"push.destination={args.workspace}/served",
            f"data.options.impressions={args.impressions}",
            f"train.epochs={args.epochs}",
            f"model.architecture={name}",
            "model.options={}",
        ],
    )
    started = time.monotonic()
    artifacts = run(config, until="InfraValidator", report=lambda line: None)
    seconds = time.monotonic() - started
    measured = json.loads((artifacts["evaluation"] / layout.METRICS).read_text())
    missed = list(blessing.read(artifacts["infra_blessing"]))
    cells = []
    for task in measured["tasks"]:
        (record,) = (
            r
            for r in measured["results"]
            if r["slice"] == "all" and r["task"] == task["name"]
        )
        value = record["model"][task["metric"]]
        cells.append(f"{value:.4f}".rjust(max(6, len(task["name"]))))
        if value <= (0.5 if task["metric"] == "auc" else 0):
            missed.append(f"{task['name']} {task['metric']} {value:.4f}")
        entropy = record["model"].get("normalized_entropy", 0)
        if task["name"] in ("click", "long_view", "like") and entropy >= 1:
            missed.append(f"{task['name']} normalised entropy {entropy:.4f}")
    return f"{name:<15}{'  '.join(cells)}  {seconds:6.0f} s", missed


def main(argv: list[str] | None = None) -> int:
    """Prints the table; returns 1 if an architecture misses something."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--impressions", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--workspace", default="workspace/architectures")
    args = parser.parse_args(argv)
    failed = False
    print(f"{'':<15}click   long_view  like    follow  forward  watch_seconds")
    for name in args.names or tfmtl.models.names():
        line, missed = measure(name, args)
        failed |= bool(missed)
        print(line + "".join(f"\n  MISSED {what}" for what in missed), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
