"""What do encoders and side fields of a history bring on the simulated feed?

    python benchmarks/sequences.py [--seeds 0 1 2 3 4] [--impressions 60000]
        [--variants mean "mean, side" ...] [--set key=value]

The history is made from the log: the videos that a user played before, and as side
fields their authors, categories, seconds and age. For each variant and seed of the
training it runs configs/feed.yaml with it up to the Evaluator, and prints of click and
long view over the test split AUC and AUC within a user; then the means, and the
difference to `mean`, with 95 % intervals (t) over the seeds. Every run stays in the
cache.
"""

import argparse
import json
from pathlib import Path

import pandas as pd
import yaml
from losses import with_interval

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


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--impressions", type=int, default=60_000)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=[*VARIANTS])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
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
