"""What do encoders and side fields of a history bring on the simulated feed?

    python benchmarks/sequences.py [--seeds 0 1 2 3 4] [--impressions 60000]
        [--variants mean "mean, side" ...] [--epochs 1]
    python benchmarks/sequences.py --cost [LENGTH]

The history is made from the log: the videos that a user played before, and as side
fields their authors, categories, seconds and age. configs/feed.yaml runs with it up to
Transform; for each variant and seed a Shared-Bottom of click and long view is then
trained on the train split. Prints AUC and AUC within a user over the test split; then
the means, and the difference to `mean` of the same seed, with 95 % intervals (t) over
the seeds. With --cost it prints the CPU time of a training step of a small model (1,024
rows, 16 wide) over that with `mean`, for each encoder, and runs no pipeline.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
import yaml
from losses import with_interval

import tfmtl
from pipeline import config as configs
from pipeline.artifacts import examples, layout
from pipeline.config import declarations
from pipeline.run import run
from tfmtl.metrics import exact

ROOT = Path(__file__).parent.parent
WORKSPACE = Path("workspace") / "sequences"
TASKS = ("click", "long_view")
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
VARIANTS["sim, side"] = ({"name": "sim", "category": "played_categories"}, True)


def prepare(impressions: int) -> tuple[configs.Config, dict[str, Path]]:
    """Returns configs/feed.yaml with the history in place of its own, and artifacts."""
    raw = yaml.safe_load((ROOT / "configs" / "feed.yaml").read_text())
    raw["data"] |= {"time": "timestamp", "history": [HISTORY]}
    lists = [{"name": "played_videos", "kind": "sequence", "of": "video_id"}]
    lists += [field | {"side_of": "played_videos"} for field in SIDE_FIELDS]
    others = [f for f in raw["features"] if f["name"] != "watched"]
    raw["features"] = others + [field | {"max_length": LENGTH} for field in lists]
    del raw["export"]["user_features"]
    WORKSPACE.mkdir(parents=True, exist_ok=True)
    path = WORKSPACE / "feed.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    options = [
        f"workspace={WORKSPACE}",
        f"push.destination={WORKSPACE}/served",
        f"data.options.impressions={impressions}",
    ]
    config = configs.load(path, options)
    return config, run(config, until="Transform")


def measure(config, artifacts, variant: str, seed: int, epochs: int) -> dict:
    """Trains with a variant; returns the metrics on the test split."""
    encoder, has_side_fields = VARIANTS[variant]
    sizes = json.loads((artifacts["transform_graph"] / layout.FEATURES).read_text())
    features, tasks = declarations.declare(config, sizes)
    tasks = [task for task in tasks if task.name in TASKS]
    features = [
        dataclasses.replace(f, encoder=encoder) if f.name == "played_videos" else f
        for f in features
        if has_side_fields or not getattr(f, "side_of", None)
    ]
    keras.utils.set_random_seed(seed)
    model = tfmtl.models.get("shared_bottom")(features, tasks)
    model.compile()

    def batches(split, **options):
        folder = layout.split(artifacts["transformed_examples"], split)
        files = str(folder / layout.RECORD_FILES)
        return tfmtl.data.read(files, features, tasks, 1024, **options)

    train = batches("train", shuffle=100_000, seed=seed)
    model.fit(train, epochs=epochs, verbose=0)
    scores = model.predict(batches("test"), verbose=0)
    split = layout.split(artifacts["examples"], "test")
    columns = ["user_id", *TASKS, "played"]
    rows = pd.concat(
        b.to_pandas() for b in examples.read_batches(split, columns=columns)
    )
    found = {"variant": variant, "seed": seed}
    for task in TASKS:
        inside = (task == "click") | (rows["played"].to_numpy() == 1)
        label, user = rows[task].to_numpy()[inside], rows["user_id"].to_numpy()[inside]
        score = scores[task].ravel()[inside]
        found[f"{task} auc"] = exact.auc(label, score)
        found[f"{task} gauc"] = exact.grouped_auc(label, score, user)
    return found


def cost(length: int, steps: int = 10) -> dict[str, float]:
    """Returns CPU seconds of a training step of each encoder, the least of three."""
    rng = np.random.default_rng(0)
    item = tfmtl.Categorical("item", vocabulary_size=10_000)
    kind = tfmtl.Categorical("kind", vocabulary_size=10)
    kinds = tfmtl.Sequence("kinds", of=kind, max_length=length, side_of="played")
    rows = {
        "item": rng.integers(1, 10_000, 1024),
        "played": rng.integers(1, 10_000, (1024, length)),
        "kind": rng.integers(1, 10, 1024),
        "kinds": rng.integers(1, 10, (1024, length)),
    }
    batch = tf.data.Dataset.from_tensors((rows, {"a": rng.integers(0, 2, 1024)}))
    found = {}
    sim = {"name": "sim", "category": "kinds"}
    for name in (*ENCODERS, "eta, side", "sim, side"):
        encoder, _, side = name.partition(", ")
        encoder = sim if encoder == "sim" else encoder
        played = tfmtl.Sequence("played", of=item, max_length=length, encoder=encoder)
        features = [item, played, *([kind, kinds] if side else [])]
        model = tfmtl.models.get("shared_bottom")(
            features, [tfmtl.Task("a")], units=(32,)
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
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--cost", type=int, nargs="?", const=50, metavar="LENGTH")
    args = parser.parse_args()
    if args.cost:
        seconds = cost(args.cost)
        for name, of_step in seconds.items():
            ratio = of_step / seconds["mean"]
            print(f"{name:<18}{1000 * of_step:8.1f} ms {ratio:6.1f}")
        return
    config, artifacts = prepare(args.impressions)
    variants = list(dict.fromkeys(["mean", *args.variants]))
    found = []
    for seed in args.seeds:
        for variant in variants:
            found.append(measure(config, artifacts, variant, seed, args.epochs))
            print(pd.DataFrame(found[-1:]).to_string(header=False), flush=True)
    values = pd.DataFrame(found).set_index(["variant", "seed"])
    print(values.groupby(level="variant", sort=False).mean().round(4).to_string())
    differences = {
        v: (values.loc[v] - values.loc["mean"]).agg(with_interval)
        for v in variants
        if v != "mean"
    }
    print(pd.DataFrame(differences).T.to_string())


if __name__ == "__main__":
    main()
