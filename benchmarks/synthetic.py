"""Does sharing pay where two tasks correlate by design? MMoE's and PLE's recipes.

    python benchmarks/synthetic.py [ARCHITECTURE ...] [--recipe mmoe]
        [--seeds 0 1 2 3 4] [--correlations 0.2 0.5 0.9 1] [--rows 50000]
        [--output FOLDER]

Two regressions on the same normal inputs, y_t = w_t x + sum_i sin(a_i w_t x + b_i) +
noise, with cos(w_1, w_2) the correlation. Recipe "mmoe" has 100 inputs and a_i = 5i,
b_i = i of five sines, with |w| = 0.3, which gives the label correlations that MMoE's
figure 2 shows (the paper leaves the numbers out); "ple" has 512 inputs and ten sines of
normal a and b, drawn anew for each seed, with |w| = 1. Each seed draws its own data.

With 100 inputs all architectures have MMoE's 13,056 parameters, within 3 %. Each
chooses its learning rate of three by the validation loss on data of its own (seed
1000), at every correlation; the epoch with the best validation loss counts. What is
compared is the squared error on test rows, relative to a task's variance; the gain is
what single-task models have more of it, seed by seed, with 95 % intervals (t).

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

RATES = (0.003, 0.01, 0.03)
TUNING_SEED = 1000
EPOCHS = 40
BATCH = 500
TASKS = ("a", "b")
ARCHITECTURES = {
    "single_task": {"units": (59,)},
    "shared_bottom": {"units": (110,)},
    "cross_stitch": {"units": (59,)},
    "mmoe": {"experts": 8, "expert_units": (14,)},
    "cgc": {"shared_experts": 4, "task_experts": 2, "expert_units": (14,)},
    "ple": {"shared_experts": 4, "task_experts": 2, "expert_units": ((12,), (12,))},
    "dcrnn": {"state_units": 11, "units": (22,)},
    # Of one field: its gates and virtual gradient, and nothing to cross.
    "dephn": {
        "units": (14,),
        "public": ["dnn"] * 4,
        "private": ["dnn"] * 2,
        "heads": 0,
        "mappings": ["raw"],
    },
}


def draw(recipe: str, correlation: float, rows: int, seed: int) -> tuple[dict, dict]:
    """Returns inputs and the labels of both tasks, of variance 1."""
    random = np.random.default_rng(seed)
    size, sines, length = (100, 5, 0.3) if recipe == "mmoe" else (512, 10, 1.0)
    first, second = np.linalg.qr(random.normal(size=(size, 2)))[0].T
    across = np.sqrt(1 - correlation**2)
    weights = length * first, length * (correlation * first + across * second)
    counted = np.arange(1, sines + 1)
    frequency, phase = (
        (5 * counted, counted) if recipe == "mmoe" else random.normal(size=(2, sines))
    )
    x = random.normal(size=(rows, size)).astype("float32")
    labels = {}
    for task, weight in zip(TASKS, weights, strict=True):
        z = x @ weight
        y = z + np.sin(z[:, None] * frequency + phase).sum(axis=1)
        y += random.normal(0, 0.1, rows)
        labels[task] = ((y - y.mean()) / y.std()).astype("float32")
    return {"x": x}, labels


def train(architecture: str, rate: float, data: tuple[dict, dict], seed: int) -> dict:
    """Returns validation loss and test errors of the epoch that validates best.

    Three of five parts of the rows are for training, one for each of the others.
    """
    inputs, labels = data
    rows = len(inputs["x"])
    cuts = [0, 3 * rows // 5, 4 * rows // 5, rows]
    train, valid, test = (
        tf.data.Dataset.from_tensor_slices(
            (
                {name: x[start:end] for name, x in inputs.items()},
                {name: y[start:end] for name, y in labels.items()},
            )
        )
        for start, end in zip(cuts, cuts[1:], strict=False)
    )
    keras.utils.set_random_seed(seed)
    features = [tfmtl.Vector("x", dim=inputs["x"].shape[1])]
    tasks = [tfmtl.Task(name, kind="regression", tower=(8,)) for name in TASKS]
    options = ARCHITECTURES[architecture]
    model = tfmtl.models.get(architecture)(features, tasks, **options)
    model.compile(keras.optimizers.Adam(rate), jit_compile=True, steps_per_execution=12)
    best = keras.callbacks.EarlyStopping(
        "val_loss", patience=EPOCHS, restore_best_weights=True
    )
    shuffled = train.shuffle(cuts[1], seed=seed).batch(BATCH, drop_remainder=True)
    found = model.fit(
        shuffled,
        validation_data=valid.batch(5000),
        epochs=EPOCHS,
        callbacks=[best],
        verbose=0,
    )
    errors = model.evaluate(test.batch(5000), return_dict=True, verbose=0)
    return {
        "parameters": model.count_params(),
        "valid": min(found.history["val_loss"]),
        **{task: errors[f"{task}_loss"] for task in TASKS},
    }


def measure(
    architecture: str, recipe: str, correlation: float, seeds: list[int], args
) -> pd.DataFrame:
    """Returns the figures of all seeds, trained at the rate that validates best."""
    folder = args.output / recipe / f"{args.rows}"
    folder.mkdir(parents=True, exist_ok=True)

    def kept(rate: float, seed: int) -> dict:
        path = folder / f"{architecture}-{correlation}-{rate}-{seed}.json"
        if not path.exists():
            data = draw(recipe, correlation, args.rows, seed)
            path.write_text(json.dumps(train(architecture, rate, data, seed)))
        return json.loads(path.read_text())

    rate = min(RATES, key=lambda rate: kept(rate, TUNING_SEED)["valid"])
    rows = [{"seed": seed, "rate": rate, **kept(rate, seed)} for seed in seeds]
    return pd.DataFrame(rows).set_index("seed")


def main() -> None:
    """Prints a table for each correlation."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("architectures", nargs="*", default=[*ARCHITECTURES])
    parser.add_argument("--recipe", choices=("mmoe", "ple"), default="mmoe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--correlations", type=float, nargs="+", default=[0.2, 0.5, 0.9, 1.0]
    )
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--output", type=Path, default=Path("workspace/synthetic"))
    args = parser.parse_args()
    names = list(dict.fromkeys(["single_task", *args.architectures]))
    if unknown := set(names) - set(ARCHITECTURES):
        parser.error(f"no options for {', '.join(sorted(unknown))}")
    for correlation in args.correlations:
        found = {
            name: measure(name, args.recipe, correlation, args.seeds, args)
            for name in names
        }
        alone = found["single_task"]
        table = {
            name: {
                "parameters": of["parameters"].iloc[0],
                "rate": of["rate"].iloc[0],
                **{task: with_interval(of[task]) for task in TASKS},
                **{
                    f"gain {task}": with_interval(alone[task] - of[task])
                    for task in TASKS
                },
            }
            for name, of in found.items()
        }
        print(f"correlation {correlation}")
        print(pd.DataFrame(table).T.to_string(), flush=True)


if __name__ == "__main__":
    main()
