"""What do other losses of an action bring on the simulated feed?

    python benchmarks/losses.py [--task click] [--only focal jrc] [--seeds 0 1 2]
        [--impressions 100000] [--set key=value]

For each loss and seed of the training it runs configs/feed.yaml up to the Evaluator and
prints, of the task over the test split: AUC, AUC within a user, log-loss and
calibration (predictions over labels), uncalibrated; then the means, and the difference
to `bce` of the same seed, with 95 % intervals (t) over the seeds. Every run stays in
the cache.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import config as configs
from pipeline.artifacts import layout
from pipeline.run import run
from tfmtl.metrics.exact.interval import student_quantile

ROOT = Path(__file__).parent.parent
METRICS = ("auc", "gauc", "log_loss", "calibration")
LOSSES = {
    "bce": "bce",
    "bce, smoothing 0.05": "{name: bce, label_smoothing: 0.05}",
    "focal": "focal",
    "bce + pairwise": "[bce, {name: pairwise, weight: 0.2}]",
    "bce + pairwise in tab": "[bce, {name: pairwise, group: tab, weight: 0.2}]",
    "jrc": "jrc",
    "jrc in user": "{name: jrc, group: user_id}",
}


def measure(
    task: str, loss: str, seed: int, impressions: int, overrides: list[str]
) -> dict:
    """Trains a task with a loss; returns its metrics on the test split."""
    config = configs.load(
        ROOT / "configs" / "feed.yaml",
        [
            "workspace=workspace/losses",
            "push.destination=workspace/losses/served",
            f"data.options.impressions={impressions}",
            f"train.seed={seed}",
            f"tasks.{task}.loss={LOSSES[loss]}",
            f"tasks.{task}.calibration=none",
            *overrides,
        ],
    )
    artifacts = run(config, until="Evaluator")
    measured = json.loads((artifacts["evaluation"] / layout.METRICS).read_text())
    (record,) = (
        record["model"]
        for record in measured["results"]
        if record["task"] == task and record["slice"] == "all"
    )
    return {"loss": loss, "seed": seed, **{name: record[name] for name in METRICS}}


def with_interval(values: np.ndarray) -> str:
    """Returns the mean of the seeds' values, with its 95 % interval."""
    if len(values) < 2:
        return f"{values.mean():.4f}"
    error = values.std(ddof=1) / np.sqrt(len(values))
    half = student_quantile(0.975, len(values) - 1) * error
    return f"{values.mean():.4f} ± {half:.4f}"


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--task", default="click", help="a binary task of the feed")
    parser.add_argument("--only", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--impressions", type=int, default=100_000)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    losses = list(dict.fromkeys(["bce", *args.only]))
    found = pd.DataFrame(
        measure(args.task, loss, seed, args.impressions, args.set)
        for seed in args.seeds
        for loss in losses
    )
    print(found.to_string(index=False))
    values = found.set_index(["loss", "seed"])
    table = values.groupby(level="loss", sort=False).agg(with_interval)
    of_bce = values.loc["bce"]
    for name in METRICS[:2]:
        table[f"{name} - bce"] = [
            with_interval((values.loc[loss] - of_bce)[name]) for loss in losses
        ]
    print(table.to_string())


if __name__ == "__main__":
    main()
