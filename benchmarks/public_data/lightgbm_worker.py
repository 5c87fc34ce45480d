"""Boosted trees on a pipeline's examples, in an environment without TensorFlow.

    python lightgbm_worker.py REQUEST.json ANSWER.json

REQUEST has "splits" {train, valid, test: folder of Parquet shards}, "features" [{name,
kind, of}] and "tasks" [{name, label, kind, spaces: columns that are 1 in its rows}].
ANSWER has {"valid", "test"}: {task: AUC, or Spearman's correlation of a regression},
and "trees" {task: how many}.

- Categories are numbered in their order as texts; whether LightGBM is told that they
  are categories changes little here. Of one with more than 255 values, numbers say
  little: it also gets how often the value is in the train rows, and the mean label
  there, of the other folds for the train rows themselves.
- A sequence becomes its length, its last value, and how often the row's own value of
  the feature that it lists is in it.
- A regression learns log(1 + label).
"""

import json
import sys
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

PARAMETERS = {
    "num_leaves": 31,
    "learning_rate": 0.05,
    "verbose": -1,
    "seed": 0,
    "num_threads": 1,  # several wait for each other where the machine is shared
}
OBJECTIVES = {
    "binary": {"objective": "binary", "metric": "auc"},
    "regression": {"objective": "regression", "metric": "l2"},
}
MOST_TREES, PATIENCE = 2000, 50
FEW_VALUES = 255
FOLDS = 5
PRIOR_ROWS = 20  # of the mean over all rows, in the mean of a value


def read(splits, features, tasks):
    """Returns {split: (numbers, rows)}, and the features of many values."""
    columns = {feature["name"] for feature in features}
    for task in tasks:
        columns |= {task["label"], *task["spaces"]}
    tables = {
        split: pd.read_parquet(Path(folder), columns=sorted(columns))
        for split, folder in splits.items()
    }
    categories = [f["name"] for f in features if f["kind"] == "categorical"]
    known = {
        name: pd.Index(tables["train"][name].dropna().sort_values().unique())
        for name in categories
    }
    found = {}
    for split, table in tables.items():
        numbers = {}
        for feature in features:
            name, of = feature["name"], feature["of"]
            if feature["kind"] == "sequence":
                numbers |= _of_lists(name, table[name], table[of], known[of])
            elif feature["kind"] == "categorical":
                # -1: missing or unknown
                numbers[name] = known[name].get_indexer(table[name])
            else:
                numbers[name] = table[name]
        found[split] = pd.DataFrame(numbers).astype("float32"), table
    return found, [name for name in categories if len(known[name]) > FEW_VALUES]


def _of_lists(name, lists, own, known):
    """What trees get of a sequence."""
    lists = [() if values is None else values for values in lists]
    last = [values[-1] if len(values) else None for values in lists]
    alike = [
        int(np.sum(np.asarray(values, object) == value))
        for values, value in zip(lists, own, strict=True)
    ]
    return {
        f"{name}.length": [len(values) for values in lists],
        f"{name}.last": known.get_indexer(last),
        f"{name}.alike": alike,
    }


def with_means(train, label, others, many):
    """Adds count and mean label of the values of columns with many.

    Args:
        train: The numbers of the train rows.
        label: Theirs.
        others: The numbers of other splits.
        many: The columns.

    Returns:
        The numbers of the train rows, and a list of those of the others.
    """
    fold = np.random.default_rng(0).integers(0, FOLDS, len(train))
    train, others = train.copy(), [numbers.copy() for numbers in others]
    prior = label.mean()
    for name in many:
        key = train[name]

        def means(of, keys, key=key):
            sums = label[of].groupby(key[of]).agg(["sum", "count"])
            mean = (sums["sum"] + PRIOR_ROWS * prior) / (sums["count"] + PRIOR_ROWS)
            return keys.map(mean).fillna(prior)

        count = key.value_counts()
        every = pd.Series(True, train.index)
        for numbers in others:
            keys = numbers[name]
            numbers[f"{name}.count"] = keys.map(count).fillna(0)
            numbers[f"{name}.mean"] = means(every, keys)
        train[f"{name}.count"] = key.map(count)
        train[f"{name}.mean"] = 0.0
        for i in range(FOLDS):
            train.loc[fold == i, f"{name}.mean"] = means(fold != i, key[fold == i])
    return train, others


def auc(label, score):
    """The area under the ROC curve, ties counting half."""
    ranks = pd.Series(score).rank().to_numpy()
    positive = label.to_numpy() > 0
    count = positive.sum()
    above = ranks[positive].sum() - count * (count + 1) / 2
    return float(above / (count * (len(positive) - count)))


def spearman(label, score):
    """Spearman's correlation."""
    return float(label.rank().corr(pd.Series(score, label.index).rank()))


def _rows(numbers, table, task):
    """The rows in the task's sample space, and their labels."""
    inside = table[task["label"]].notna()
    for space in task["spaces"]:
        inside &= table[space] == 1
    return (
        numbers[inside].reset_index(drop=True),
        table.loc[inside, task["label"]].reset_index(drop=True),
    )


def main(request, answer):
    """Trains a model a task."""
    request = json.loads(Path(request).read_text())
    data, many = read(request["splits"], request["features"], request["tasks"])
    found = {"valid": {}, "test": {}, "trees": {}}
    for task in request["tasks"]:
        rows = {split: _rows(*of, task) for split, of in data.items()}
        is_binary = task["kind"] == "binary"
        labels = {
            split: label if is_binary else np.log1p(label)
            for split, (_, label) in rows.items()
        }
        train, (valid, test) = with_means(
            rows["train"][0],
            labels["train"],
            [rows["valid"][0], rows["test"][0]],
            many,
        )
        learnt = lightgbm.Dataset(train, labels["train"])
        model = lightgbm.train(
            PARAMETERS | OBJECTIVES[task["kind"]],
            learnt,
            MOST_TREES,
            [learnt.create_valid(valid, labels["valid"])],
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        found["trees"][task["name"]] = model.best_iteration
        measure = auc if is_binary else spearman
        for split, numbers in (("valid", valid), ("test", test)):
            score = model.predict(numbers)
            found[split][task["name"]] = measure(labels[split], score)
    Path(answer).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
