"""Boosted trees on a pipeline's examples, in an environment without TensorFlow.

    python lightgbm_worker.py REQUEST.json ANSWER.json

REQUEST has "splits" {train, valid, test: folder of Parquet shards}, "features" {name:
kind} and "tasks" [label]. ANSWER has {"valid", "test"}: {task: AUC}, and "trees" {task:
how many}. Categories are numbered in their order as texts; whether LightGBM is told
that they are categories changes little here.
"""

import json
import sys
from pathlib import Path

import lightgbm
import pandas as pd

PARAMETERS = {
    "objective": "binary",
    "metric": "auc",
    "num_leaves": 31,
    "learning_rate": 0.05,
    "verbose": -1,
    "seed": 0,
}
MOST_TREES, PATIENCE = 2000, 50


def read(splits, features, tasks):
    """Returns {split: (numbers, labels)}."""
    columns = [*features, *tasks]
    tables = {
        split: pd.read_parquet(Path(folder), columns=columns)
        for split, folder in splits.items()
    }
    known = {
        name: pd.Index(tables["train"][name].dropna().sort_values().unique())
        for name, kind in features.items()
        if kind == "categorical"
    }
    found = {}
    for split, table in tables.items():
        numbers = table[[*features]].copy()
        for name, values in known.items():
            numbers[name] = values.get_indexer(table[name])  # -1: missing or unknown
        found[split] = numbers.to_numpy("float32"), table[tasks]
    return found


def auc(label, score):
    """The area under the ROC curve, ties counting half."""
    ranks = pd.Series(score).rank().to_numpy()
    positive = label.to_numpy() > 0
    count = positive.sum()
    above = ranks[positive].sum() - count * (count + 1) / 2
    return float(above / (count * (len(positive) - count)))


def main(request, answer):
    """Trains a model a task."""
    request = json.loads(Path(request).read_text())
    data = read(request["splits"], request["features"], request["tasks"])
    found = {"valid": {}, "test": {}, "trees": {}}
    for task in request["tasks"]:
        x, y = data["train"]
        train = lightgbm.Dataset(x, y[task])
        x, y = data["valid"]
        model = lightgbm.train(
            PARAMETERS,
            train,
            MOST_TREES,
            [train.create_valid(x, y[task])],
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        found["trees"][task] = model.best_iteration
        for split in ("valid", "test"):
            x, y = data[split]
            found[split][task] = auc(y[task], model.predict(x))
    Path(answer).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
