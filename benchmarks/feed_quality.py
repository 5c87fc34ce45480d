"""How near does the model come to the best reachable ranking on the simulated feed?

    python benchmarks/feed_quality.py [--seeds 7 8 9] [--set key=value ...]

For each seed (of the data and of the training) it runs configs/feed.yaml up to the
Evaluator and prints, per task over the test split, the model's metric, the best
reachable one, and that of a baseline: the mean of the log-odds of the video's and the
user's own rate in the train split, smoothed. Then the means with 95 % intervals (t).

It fails (exit status 1) if click, long view or watch seconds is on average more than
0.03 below the best reachable, or a rare task not above the baseline.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import config as configs
from pipeline.artifacts import examples, layout
from pipeline.run import run
from tfmtl.metrics import exact

ROOT = Path(__file__).parent.parent
COMMON, RARE = ("click", "long_view", "watch_seconds"), ("like", "follow", "forward")
LARGEST_GAP = 0.03
_T = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36}  # 95 %


def rate_baseline(train: pd.DataFrame, test: pd.DataFrame, task: str) -> np.ndarray:
    """Scores test rows by how often the user and the video got the action before."""
    rate = train[task].mean()
    score = np.zeros(len(test))
    for key in ("user_id", "video_id"):
        seen = train.groupby(key)[task].agg(["sum", "count"])
        strength = 1 / rate  # as many rows as one action takes on average
        smoothed = (seen["sum"] + rate * strength) / (seen["count"] + strength)
        p = test[key].map(smoothed).fillna(rate).to_numpy()
        score += np.log(p / (1 - p)) / 2
    return score


def measure(seed: int, overrides: list[str]) -> pd.DataFrame:
    """Runs the pipeline with a seed; returns model, best and baseline per task."""
    config = configs.load(
        ROOT / "configs" / "feed.yaml",
        [
            f"workspace=workspace/feed_quality/{seed}",
            f"push.destination=workspace/feed_quality/{seed}/served",
            f"data.options.seed={seed}",
            f"train.seed={seed}",
            *overrides,
        ],
    )
    artifacts = run(config, until="Evaluator")
    measured = json.loads((artifacts["evaluation"] / layout.METRICS).read_text())
    train, test = (
        pd.concat(
            batch.select(["user_id", "video_id", *RARE]).to_pandas()
            for batch in examples.read_batches(
                layout.split(artifacts["examples"], split)
            )
        )
        for split in ("train", "test")
    )
    rows = {}
    for record in measured["results"]:
        if record["slice"] == "all":
            task = record["task"]
            metric = "spearman" if task == "watch_seconds" else "auc"
            rows[task] = {
                "model": record["model"][metric],
                "best": record["best_reachable"][metric],
            }
            if task in RARE:
                label = test[task].to_numpy()
                score = rate_baseline(train, test, task)
                rows[task]["baseline"] = exact.auc(label, score)
    return pd.DataFrame(rows).T


def main(argv: list[str] | None = None) -> int:
    """Prints the tables; returns 1 if a threshold is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[7, 8, 9])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args(argv)
    tables = []
    for seed in args.seeds:
        tables.append(measure(seed, args.set))
        print(f"\nseed {seed}\n{tables[-1].round(4).to_string()}\n", flush=True)
    missed = False
    n = len(tables)
    for task in (*COMMON, *RARE):
        rows = pd.DataFrame([table.loc[task] for table in tables])
        what = "best" if task in COMMON else "baseline"
        differences = rows["model"] - rows[what]
        mean = differences.mean()
        half = _T.get(n, 2.0) * differences.std() / n**0.5 if n > 1 else float("nan")
        passed = mean >= -LARGEST_GAP if task in COMMON else mean > 0
        missed |= not passed
        print(
            f"{task:<14} model - {what:<9} {mean:+.4f} +- {half:.4f}  "
            f"{'passed' if passed else 'MISSED'}"
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
