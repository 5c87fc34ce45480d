"""The data that peers are compared on: arrays in files that every worker can read.

In a folder: ids.npy (rows, categorical features), numbers.npy (rows, numeric features),
labels.npy (rows, tasks), and sizes.json: {"vocabulary": [rows of each table], "dim":
width of the embeddings}.
"""

import gzip
import json
from pathlib import Path

import numpy as np

# Of the 42 columns of Census-Income (KDD), by place: group 1 of the MMoE protocol has
# neither education (4) and marital status (7) nor the weight (24) and income (41).
_NUMBERS = (0, 5, 16, 17, 18, 30, 39)
_LEFT_OUT = (4, 7, 24, 41)


def census(source: Path, folder: Path, rows: int) -> None:
    """Writes the first rows of census-income.data.gz: 31 features, 7 numbers, 2 tasks.

    Args:
        source: Folder with census-income.data.gz.
        folder: Where to write.
        rows: How many.
    """
    with gzip.open(source / "census-income.data.gz", "rt") as file:
        lines = [next(file).rstrip(".\n").split(", ") for _ in range(rows)]
    columns = [np.array(column) for column in zip(*lines, strict=True)]
    ids, vocabulary = [], []
    for place, column in enumerate(columns):
        if place not in (*_NUMBERS, *_LEFT_OUT):
            known, found = np.unique(column, return_inverse=True)
            ids.append(found + 1)  # 0 stands for unknown
            vocabulary.append(len(known) + 1)
    numbers = np.stack([np.log1p(columns[i].astype(np.float32)) for i in _NUMBERS], 1)
    numbers = (numbers - numbers.mean(0)) / (numbers.std(0) + 1e-6)
    labels = [columns[41] == "50000+", columns[7] == "Never married"]
    _write(folder, np.stack(ids, 1), numbers, np.stack(labels, 1), vocabulary, 8)


def uniform(folder: Path, rows: int, features: int, table: int, seed: int = 0) -> None:
    """Writes ids drawn uniformly, 13 numbers and 3 tasks of random labels.

    Args:
        folder: Where to write.
        rows: How many.
        features: Categorical features, with embeddings of 16.
        table: Rows of each one's table.
        seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, table, (rows, features))
    numbers = rng.standard_normal((rows, 13))
    labels = rng.random((rows, 3)) < 0.2
    _write(folder, ids, numbers, labels, [table] * features, 16)


def _write(folder, ids, numbers, labels, vocabulary, dim):
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "ids.npy", ids.astype(np.int64))
    np.save(folder / "numbers.npy", numbers.astype(np.float32))
    np.save(folder / "labels.npy", labels.astype(np.float32))
    (folder / "sizes.json").write_text(
        json.dumps({"vocabulary": vocabulary, "dim": dim})
    )


def load(folder: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    """Returns ids, numbers, labels and sizes."""
    folder = Path(folder)
    arrays = (np.load(folder / f"{name}.npy") for name in ("ids", "numbers", "labels"))
    return *arrays, json.loads((folder / "sizes.json").read_text())
