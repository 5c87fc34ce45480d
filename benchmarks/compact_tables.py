"""What do tables of two bytes a number, or one, cost in AUC on the simulated feed?

    python benchmarks/compact_tables.py [--seeds 0 1 2 3 4]

For each seed, a Shared-Bottom of click and long view is trained for two epochs, as
benchmarks/sequences.py does. Its test rows are then scored with the tables as they are
and rounded. Prints the differences of AUC and of AUC within a user, with 95 % intervals
(t) over the seeds, the largest difference of a prediction, and the megabytes of the
exported model.
"""

import argparse
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import sequences
from losses import with_interval

import tfmtl

TYPES = ("float32", "bfloat16", "int8")


def measure(config, artifacts, seed: int) -> list[dict]:
    """Trains a model; returns what it is with tables of each type."""
    model, _ = sequences.train("feed", config, artifacts, "mean", seed, 2)
    test = sequences.read("feed", artifacts, model, "test")
    weights = model.get_weights()
    exact = model.predict(test, verbose=0)
    found = []
    for kind in TYPES:
        model.set_weights(weights)
        tfmtl.round_tables(model, kind)
        scores = model.predict(test, verbose=0)
        off = max(np.abs(scores[task] - exact[task]).max() for task in exact)
        with tempfile.TemporaryDirectory() as folder:
            tfmtl.export(model, folder, tables=kind)
            files = [f for f in Path(folder).rglob("*") if f.is_file()]
            size = sum(f.stat().st_size for f in files) / 1e6
        metrics = sequences.measure("feed", artifacts, model)
        found.append({"tables": kind, "seed": seed, **metrics, "off": off, "MB": size})
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    config, artifacts = sequences.prepare("feed", args.set)
    found = []
    for seed in args.seeds:
        keras.utils.clear_session()
        found += measure(config, artifacts, seed)
    values = pd.DataFrame(found).set_index(["tables", "seed"])
    print(values.groupby(level="tables", sort=False).mean().to_string())
    for kind in TYPES[1:]:
        differences = (values.loc[kind] - values.loc["float32"]).drop(columns="MB")
        print(f"{kind} - float32, in millionths")
        print(differences.map(float).agg(_interval).to_string())


def _interval(values) -> str:
    """Returns the mean with its interval, in millionths."""
    return with_interval(1e6 * values)


if __name__ == "__main__":
    main()
