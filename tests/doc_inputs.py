"""What the pages speak of: features, tasks, and rows that have them."""

import numpy as np

import tfmtl

ROWS = 64
IDS = (
    "user_id video_id author_id tab user_impressions_tab item_id other country "
    "app_version"
).split()
TASKS = "click cart like long_view follow forward buy purchase hide".split()


def features():
    """Returns the features of the library; a table of each is small."""
    ids = [tfmtl.Categorical(name, num_buckets=10, embedding_dim=4) for name in IDS]
    return [*ids, tfmtl.Sequence("watched", of="video_id", max_length=3)]


def tasks():
    """Returns two tasks of the library."""
    return [tfmtl.Task(name, tower=(4,)) for name in ("click", "like")]


def rows(seed=0):
    """Returns {column: array} with all features and labels."""
    rng = np.random.default_rng(seed)
    columns = {name: rng.integers(1, 10, ROWS) for name in IDS}
    columns["watched"] = rng.integers(1, 10, (ROWS, 3))
    labels = {name: rng.integers(0, 2, ROWS).astype("float32") for name in TASKS}
    return columns | labels
