"""Do DEPHN's parts pay on labels that are related, and on labels that are not?

    python benchmarks/label_pairs.py [--variants NAME ...] [--seeds 0 1 2 3 4]
        [--pairs related unrelated] [--rows 60000] [--output workspace/label_pairs]

The artificial pairs of DEPHN's paper. A network drawn at random gives each row a
confidence c, here of mean -1.1 and deviation 0.95, as where 28 % are clicked; from it
follow

    related     y = sgn(c) (2 ln(|c| + 1) + 0.1 exp(|c|))
    unrelated   y = sgn(c) (2 sin|c| + 0.1 cos|c|)

which correlate with c as in the paper (0.988 and 0.529; printed). The paper reads c off
a network trained on Criteo, which is not here, and does not say how labels are drawn:
here each is 1 with probability sigmoid of its value, the first task's with sigmoid(c).

`full` is DEPHN with the paper's linear towers, the others leave out one part each, or
all three: the virtual gradient, the explicit mapping (the sine), the soft selections.
Same data, sizes, epochs and rate for all; the epoch with the best validation loss
counts. Prints AUC on the test rows, the best reachable one, and the difference to
`full` of the same seed, means with 95 % intervals (t). Each seed draws its own data.

Every training's figures are kept as they come; a rerun does those that are missing.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from losses import with_interval

import tfmtl
from tfmtl.metrics import exact

FIELDS, VALUES, DIM, BATCH = 8, 50, 8, 512
MEAN, DEVIATION = -1.1, 0.95  # of the confidence
NAMES = [f"field_{i}" for i in range(FIELDS)]
TASKS = ("base", "second")
PARTS = {
    "virtual gradient": {"coefficient": None},
    "explicit mapping": {"mappings": ["raw"]},
    "soft selection": {"heads": 0},
}
VARIANTS = {
    "full": {},
    **{f"without {part}": options for part, options in PARTS.items()},
    "without all": {
        key: value for part in PARTS.values() for key, value in part.items()
    },
}
SECOND = {
    "related": lambda c: 2 * np.log(np.abs(c) + 1) + 0.1 * np.exp(np.abs(c)),
    "unrelated": lambda c: 2 * np.sin(np.abs(c)) + 0.1 * np.cos(np.abs(c)),
}


def draw(pair: str, rows: int, seed: int) -> tuple[dict, dict, dict]:
    """Returns ids, labels and the labels' true logits."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, VALUES, (rows, FIELDS))
    tables = random.normal(size=(FIELDS, VALUES, DIM))
    hidden = np.concatenate([tables[i][ids[:, i]] for i in range(FIELDS)], axis=1)
    for units in (64, 32):
        weights = random.normal(size=(hidden.shape[1], units))
        hidden = np.maximum(hidden @ weights / np.sqrt(hidden.shape[1] / 2), 0)
    score = hidden @ random.normal(size=hidden.shape[1])
    c = MEAN + DEVIATION * (score - score.mean()) / score.std()
    logits = {"base": c, "second": np.sign(c) * SECOND[pair](c)}
    labels = {
        task: (random.random(rows) < 1 / (1 + np.exp(-logit))).astype("float32")
        for task, logit in logits.items()
    }
    return {name: ids[:, i] for i, name in enumerate(NAMES)}, labels, logits


def train(variant: str, pair: str, seed: int, rows: int, epochs: int) -> dict:
    """Returns the AUC of each task on the test rows, and what could be reached.

    Eight of ten parts of the rows are for training, one for each of the others.
    """
    ids, labels, logits = draw(pair, rows, seed)
    cuts = [0, 8 * rows // 10, 9 * rows // 10, rows]
    parts = [slice(*pair) for pair in zip(cuts, cuts[1:], strict=False)]
    train, valid, test = (
        tf.data.Dataset.from_tensor_slices(
            (
                {n: x[part] for n, x in ids.items()},
                {n: y[part] for n, y in labels.items()},
            )
        )
        for part in parts
    )
    keras.utils.set_random_seed(seed)
    features = [
        tfmtl.Categorical(n, vocabulary_size=VALUES, embedding_dim=DIM) for n in NAMES
    ]
    model = tfmtl.models.get("dephn")(
        features,
        [tfmtl.Task(name, tower=()) for name in TASKS],
        **{"units": (64, 32), **VARIANTS[variant]},
    )
    model.compile(keras.optimizers.Adam(0.001))
    best = keras.callbacks.EarlyStopping(
        "val_loss", patience=epochs, restore_best_weights=True
    )
    found = model.fit(
        train.shuffle(rows, seed=seed).batch(BATCH, drop_remainder=True),
        validation_data=valid.batch(5000),
        epochs=epochs,
        callbacks=[best],
        verbose=0,
    )
    scores = model.predict(test.batch(5000), verbose=0)
    value = np.corrcoef(logits["base"], logits["second"])[0, 1]
    return {
        "parameters": model.count_params(),
        "valid": min(found.history["val_loss"]),
        "correlation": float(value),
        **{n: exact.auc(labels[n][parts[2]], np.ravel(scores[n])) for n in TASKS},
        **{
            f"best {n}": exact.auc(labels[n][parts[2]], logits[n][parts[2]])
            for n in TASKS
        },
    }


def measure(variant: str, pair: str, args: argparse.Namespace) -> pd.DataFrame:
    """Returns the figures of all seeds."""
    folder = args.output / f"{args.rows}-{args.epochs}"
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for seed in args.seeds:
        path = folder / f"{pair}-{variant.replace(' ', '_')}-{seed}.json"
        if not path.exists():
            result = train(variant, pair, seed, args.rows, args.epochs)
            path.write_text(json.dumps(result))
        found[seed] = json.loads(path.read_text())
    return pd.DataFrame(found).T


def main() -> None:
    """Prints a table for each pair."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=[*VARIANTS])
    parser.add_argument("--pairs", nargs="+", choices=SECOND, default=[*SECOND])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("workspace/label_pairs"))
    args = parser.parse_args()
    variants = list(dict.fromkeys(["full", *args.variants]))
    for pair in args.pairs:
        found = {variant: measure(variant, pair, args) for variant in variants}
        full = found["full"]
        table = {
            variant: {
                "parameters": f"{of['parameters'].iloc[0]:.0f}",
                **{task: with_interval(of[task]) for task in TASKS},
                **{f"{t} - full": with_interval(of[t] - full[t]) for t in TASKS},
            }
            for variant, of in found.items()
        }
        best = {task: with_interval(full[f"best {task}"]) for task in TASKS}
        print(f"{pair}: correlation {with_interval(full['correlation'])}")
        print(pd.DataFrame({**table, "best reachable": best}).T.fillna("").to_string())


if __name__ == "__main__":
    main()
