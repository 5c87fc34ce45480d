"""What do encoders and side fields of a history bring?

    python benchmarks/sequences.py [feed] [--seeds 0 1 2 3 4] [--epochs 1]
        [--variants "mean, side" dien ...] [--to FILE] [--set KEY=VALUE]
    python benchmarks/sequences.py kuairand --data FOLDER
    python benchmarks/sequences.py --cost [LENGTH]

The history is made from the log. Of the simulated feed it is the videos that a user
played before, with their authors, categories, seconds and age as side fields; of
KuaiRand the videos clicked, with the seconds played, the duration, whether it was a
long view, the hour and the age. The config of that name runs with it up to Transform;
for each variant and seed a Shared-Bottom of click and long view is then trained on the
train split, and keeps the epoch with the least loss on the validation split.

Prints AUC and AUC within a user over the test split; then the means, and the difference
to `mean` of the same seed, with 95 % intervals (t) over the seeds and its standard
error. What stands in FILE, a line of JSON a training, is not trained again. With --cost
it prints the CPU time of a training step of a small model (1,024 rows, 16 wide) over
that with `mean`, for each encoder, and runs no pipeline.
"""

import argparse
import dataclasses
import json
import os
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
NUMBERS = {"kind": "numeric_sequence", "scaling": "log1p_zscore"}
HISTORIES = {
    "feed": {
        "name": "played_videos",
        "where": "played == 1",
        "fields": {
            "played_authors": "author_id",
            "played_categories": "category",
            "played_seconds": "watch_seconds",
        },
        "age": "played_ago",
    },
    "kuairand": {
        "name": "clicked_videos",
        "where": "is_click == 1",
        "min_delay": "5m",
        "fields": {
            "clicked_seconds": "play_time_ms",
            "clicked_durations": "duration_ms",
            "clicked_long": "long_view",
            "clicked_hours": "hourmin",
        },
        "age": "clicked_ago",
    },
}
SIDE_FIELDS = {
    "feed": [
        {"name": "played_authors", "kind": "sequence", "of": "author_id"},
        {"name": "played_categories", "kind": "sequence", "of": "category"},
        {"name": "played_seconds", **NUMBERS},
        {"name": "played_ago", **NUMBERS},
    ],
    "kuairand": [
        {"name": "clicked_seconds", **NUMBERS},
        {"name": "clicked_durations", **NUMBERS},
        {"name": "clicked_long", "kind": "numeric_sequence"},
        {"name": "clicked_hours", "kind": "sequence", "of": "hourmin"},
        {"name": "clicked_ago", **NUMBERS},
    ],
}
BATCH = {"feed": 1024, "kuairand": 256}
ENCODERS = ("mean", "target_attention", "dien", "bst", "sasrec", "eta")
VARIANTS = {name: (name, False) for name in ENCODERS}
VARIANTS |= {f"{name}, side": (name, True) for name in ENCODERS}
VARIANTS["sim, side"] = ({"name": "sim", "category": "played_categories"}, True)


def prepare(log: str, options: list[str]) -> tuple[configs.Config, dict[str, Path]]:
    """Returns the config of a log with the history in it, and its artifacts."""
    raw = yaml.safe_load((ROOT / "configs" / f"{log}.yaml").read_text())
    of_log = {"key": "user_id", "column": "video_id", "max_length": LENGTH}
    raw["data"]["history"] = [of_log | HISTORIES[log]]
    history = HISTORIES[log]["name"]
    fields = [{"name": history, "kind": "sequence", "of": "video_id"}]
    fields += [field | {"side_of": history} for field in SIDE_FIELDS[log]]
    fields = [field | {"max_length": LENGTH} for field in fields]
    raw["features"] = [f for f in raw["features"] if f["name"] != "watched"]
    if log == "feed":
        raw["data"]["time"] = "timestamp"
        del raw["export"]["user_features"]
    else:  # the events are compared with the video
        raw["data"] |= {"time": "time_ms", "time_unit": "ms"}
        raw["features"].append(
            {"name": "video_id", "kind": "categorical", "embedding_dim": 8}
        )
    raw["features"] += fields
    workspace = WORKSPACE / log
    workspace.mkdir(parents=True, exist_ok=True)
    path = workspace / f"{log}.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    own = [f"workspace={workspace}", f"push.destination={workspace}/served"]
    if log == "feed":
        own.append("data.options.impressions=60000")
    config = configs.load(path, [*own, *options])
    return config, run(config, until="Transform")


def read(log: str, artifacts, model, split: str, **options) -> tf.data.Dataset:
    """Returns the batches of a split."""
    folder = layout.split(artifacts["transformed_examples"], split)
    files = str(folder / layout.RECORD_FILES)
    return tfmtl.data.read(files, model.features, model.tasks, BATCH[log], **options)


def train(log, config, artifacts, variant: str, seed: int, epochs: int):
    """Returns a trained model of a variant, and the number of epochs."""
    encoder, has_side_fields = VARIANTS[variant]
    sizes = json.loads((artifacts["transform_graph"] / layout.FEATURES).read_text())
    features, tasks = declarations.declare(config, sizes)
    tasks = [task for task in tasks if task.name in TASKS]
    history = HISTORIES[log]["name"]
    features = [
        dataclasses.replace(f, encoder=encoder) if f.name == history else f
        for f in features
        if has_side_fields or not getattr(f, "side_of", None)
    ]
    keras.utils.set_random_seed(seed)
    model = tfmtl.models.get("shared_bottom")(features, tasks)
    model.compile()
    best = keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True)
    losses = model.fit(
        read(log, artifacts, model, "train", shuffle=100_000, seed=seed),
        validation_data=read(log, artifacts, model, "valid") if epochs > 1 else None,
        callbacks=[best] if epochs > 1 else [],
        epochs=epochs,
        verbose=0,
    ).history["loss"]
    return model, len(losses)


def measure(log, artifacts, model) -> dict[str, float]:
    """Returns the metrics of a model on the test split."""
    scores = model.predict(read(log, artifacts, model, "test"), verbose=0)
    split = layout.split(artifacts["examples"], "test")
    spaces = {task.name: task.space for task in model.tasks if task.space}
    columns = ["user_id", *(task.label for task in model.tasks), *spaces.values()]
    rows = pd.concat(
        b.to_pandas() for b in examples.read_batches(split, columns=columns)
    )
    found = {}
    for task in model.tasks:
        inside = slice(None)
        if task.name in spaces:
            inside = rows[spaces[task.name]].to_numpy() == 1
        label = rows[task.label].to_numpy()[inside]
        user = rows["user_id"].to_numpy()[inside]
        score = scores[task.name].ravel()[inside]
        found[f"{task.name} auc"] = exact.auc(label, score)
        found[f"{task.name} gauc"] = exact.grouped_auc(label, score, user)
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


def with_error(values: np.ndarray) -> str:
    """Returns the mean of the seeds' values, its 95 % interval and standard error."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    return f"{with_interval(values)} ({error:.4f})"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("log", nargs="?", choices=HISTORIES, default="feed")
    parser.add_argument("--data", help="KuaiRand's folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS)
    parser.add_argument("--epochs", type=int, default=1, help="at most so many")
    parser.add_argument("--to", type=Path, metavar="FILE", help="of what is measured")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--cost", type=int, nargs="?", const=50, metavar="LENGTH")
    args = parser.parse_args()
    if args.cost:
        seconds = cost(args.cost)
        for name, of_step in seconds.items():
            ratio = of_step / seconds["mean"]
            print(f"{name:<18}{1000 * of_step:8.1f} ms {ratio:6.1f}")
        return
    if args.data:
        os.environ["DATA"] = args.data
    config, artifacts = prepare(args.log, args.set)
    possible = [v for v in VARIANTS if args.log == "feed" or v != "sim, side"]
    variants = list(dict.fromkeys(["mean", *(args.variants or possible)]))
    found = []
    if args.to and args.to.exists():
        found = [json.loads(line) for line in args.to.read_text().splitlines()]
    for seed in args.seeds:
        done = {(each["variant"], each["seed"]) for each in found}
        for variant in variants:
            if (variant, seed) in done:
                continue
            given = args.log, config, artifacts, variant, seed, args.epochs
            model, epochs = train(*given)
            one = {"variant": variant, "seed": seed, "epochs": epochs}
            one |= measure(args.log, artifacts, model)
            found.append(one)
            print(pd.DataFrame([one]).to_string(header=False), flush=True)
            if args.to:
                with args.to.open("a") as file:
                    file.write(json.dumps(one) + "\n")
    values = pd.DataFrame(found).set_index(["variant", "seed"]).sort_index()
    values = values.loc[(variants, args.seeds), :]
    print(values.groupby(level="variant", sort=False).mean().round(4).to_string())
    differences = {
        v: (values.loc[v] - values.loc["mean"]).agg(with_error)
        for v in variants
        if v != "mean"
    }
    print(pd.DataFrame(differences).T.to_string())


if __name__ == "__main__":
    main()
