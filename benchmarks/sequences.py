"""What do encoders and side fields of a history bring on the simulated feed?

    python benchmarks/sequences.py [--seeds 0 1 2 3 4] [--impressions 60000]
        [--variants mean "mean, side" ...] [--set key=value]
    python benchmarks/sequences.py --cost [LENGTH]

The history is made from the log: the videos that a user played before, and as side
fields their authors, categories, seconds and age. For each variant and seed of the
training it runs configs/feed.yaml with it up to the Evaluator, and prints of click and
long view over the test split AUC and AUC within a user; then the means, and the
difference to `mean`, with 95 % intervals (t) over the seeds. Every run stays in the
cache. With --cost it prints the CPU time of a training step of a small model (1,024
rows, 16 wide) over that with `mean`, for each encoder, and runs no pipeline.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
import yaml
from losses import with_interval

import tfmtl
from pipeline import config as configs
from pipeline.artifacts import layout
from pipeline.run import run

ROOT = Path(__file__).parent.parent
WORKSPACE = Path("workspace") / "sequences"
METRICS = ("click auc", "click gauc", "long_view auc", "long_view gauc")
LENGTH = 20
HISTORY = {
    "name": "played_videos",
    "key": "user_id",
    "column": "video_id",
    "where": "played == 1",
    "fields": {
        "played_authors": "author_id",
        "played_categories": "category",
        "played_seconds": "watch_seconds",
    },
    "age": "played_ago",
    "max_length": LENGTH,
}
SIDE_FIELDS = [
    {"name": "played_authors", "kind": "sequence", "of": "author_id"},
    {"name": "played_categories", "kind": "sequence", "of": "category"},
    {
        "name": "played_seconds",
        "kind": "numeric_sequence",
        "scaling": "log1p_zscore",
    },
    {"name": "played_ago", "kind": "numeric_sequence", "scaling": "log1p_zscore"},
]
ENCODERS = ("mean", "target_attention", "dien", "bst", "sasrec", "eta")
VARIANTS = {name: (name, False) for name in ENCODERS}
VARIANTS |= {f"{name}, side": (name, True) for name in ENCODERS}


def write(variant: str) -> Path:
    """Writes configs/feed.yaml with the history of a variant in place of its own."""
    encoder, has_side_fields = VARIANTS[variant]
    raw = yaml.safe_load((ROOT / "configs" / "feed.yaml").read_text())
    raw["data"] |= {"time": "timestamp", "history": [HISTORY]}
    played = {"name": "played_videos", "kind": "sequence", "of": "video_id"}
    lists = [played | {"encoder": encoder}]
    if has_side_fields:
        lists += [field | {"side_of": "played_videos"} for field in SIDE_FIELDS]
    lists = [feature | {"max_length": LENGTH} for feature in lists]
    others = [f for f in raw["features"] if f["name"] != "watched"]
    raw["features"] = others + lists
    del raw["export"]["user_features"]
    WORKSPACE.mkdir(parents=True, exist_ok=True)
    path = WORKSPACE / f"{encoder}{'_side' if has_side_fields else ''}.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def measure(variant: str, seed: int, impressions: int, overrides: list[str]) -> dict:
    """Trains with a variant; returns the metrics on the test split."""
    config = configs.load(
        write(variant),
        [
            f"workspace={WORKSPACE}",
            f"push.destination={WORKSPACE}/served",
            f"data.options.impressions={impressions}",
            f"train.seed={seed}",
            *overrides,
        ],
    )
    artifacts = run(config, until="Evaluator")
    measured = json.loads((artifacts["evaluation"] / layout.METRICS).read_text())
    of_task = {
        r["task"]: r["model"] for r in measured["results"] if r["slice"] == "all"
    }
    found = {name: of_task[name.split()[0]][name.split()[1]] for name in METRICS}
    return {"variant": variant, "seed": seed, **found}


def cost(length: int, steps: int = 10) -> dict[str, float]:
    """Returns CPU seconds of a training step of each encoder, the least of three."""
    rng = np.random.default_rng(0)
    item = tfmtl.Categorical("item", vocabulary_size=10_000)
    rows = {
        "item": rng.integers(1, 10_000, 1024),
        "played": rng.integers(1, 10_000, (1024, length)),
    }
    batch = tf.data.Dataset.from_tensors((rows, {"a": rng.integers(0, 2, 1024)}))
    found = {}
    for name in ENCODERS:
        played = tfmtl.Sequence("played", of=item, max_length=length, encoder=name)
        model = tfmtl.models.get("shared_bottom")(
            [item, played], [tfmtl.Task("a")], units=(32,)
        )
        model.compile()
        model.fit(batch.repeat(2), verbose=0)  # traces the step
        seconds = []
        for _ in range(3):
            start = time.process_time()
            model.fit(batch.repeat(steps), verbose=0)
            seconds.append((time.process_time() - start) / steps)
        found[name] = min(seconds)
    return found


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--impressions", type=int, default=60_000)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=[*VARIANTS])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--cost", type=int, nargs="?", const=50, metavar="LENGTH")
    args = parser.parse_args()
    if args.cost:
        seconds = cost(args.cost)
        for name, of_step in seconds.items():
            ratio = of_step / seconds["mean"]
            print(f"{name:<18}{1000 * of_step:8.1f} ms {ratio:6.1f}")
        return
    variants = list(dict.fromkeys(["mean", *args.variants]))
    found = pd.DataFrame(
        measure(variant, seed, args.impressions, args.set)
        for seed in args.seeds
        for variant in variants
    )
    print(found.to_string(index=False))
    values = found.set_index(["variant", "seed"])
    differences = pd.DataFrame(
        {v: (values.loc[v] - values.loc["mean"]).agg(with_interval) for v in variants}
    ).T
    means = values.groupby(level="variant", sort=False).mean().round(4)
    print(means.join(differences, rsuffix=" - mean").to_string())


if __name__ == "__main__":
    main()
