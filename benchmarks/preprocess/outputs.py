"""What tfmtl wrote, held against pandas and against what TFT wrote on the same rows."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.csv

from pipeline.logs import tf_examples, tfrecord

TOLERANCE = 1e-4  # of a z-score; float32, and TFT sums in float32


def against_pandas(job: dict, workspace: Path) -> list[str]:
    """Returns which statistics of tfmtl are not those of pandas."""
    types = dict.fromkeys(job["categories"], str)
    logs = pd.read_csv(job["logs"], dtype=types, keep_default_na=False, na_values=[""])
    (folder,) = (workspace / "tfmtl").glob("StatisticsGen/statistics/*")
    problems = []
    for name in job["categories"]:
        counts = logs[name].value_counts().reset_index()
        counts = counts.sort_values(["count", name], ascending=[False, True])
        values = (workspace / "tfmtl" / "vocabulary" / name).read_text().split("\n")
        found = pd.read_parquet(folder / "vocabulary" / name).set_index("value")
        if values[:-1] != counts[name].tolist():
            problems.append(f"{name}: other values, or another order")
        elif found["count"][values[:-1]].tolist() != counts["count"].tolist():
            problems.append(f"{name}: other counts")
    moments = json.loads((folder / "moments.json").read_text())
    levels = np.linspace(0, 1, 1001)
    for name in job["numbers"]:
        column, found = logs[name].astype(np.float64), moments[name]
        wanted = {
            "count": column.count(),
            "missing": column.isna().sum(),
            "mean": column.mean(),
            "std": column.std(ddof=0),
            "quantiles": column.quantile(levels).to_numpy(),
        }
        for what, value in wanted.items():
            if not np.allclose(found[what], value, rtol=1e-9, atol=0):
                problems.append(f"{name}: another {what}")
    return problems


def against_tft(job: dict, workspace: Path) -> list[str]:
    """Returns what is not the same in the records of tfmtl and TFT.

    Args:
        job: As the workers got it.
        workspace: Has a folder of each worker's output.
    """
    logs = pyarrow.csv.read_csv(
        job["logs"],
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(job["categories"], "string"),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    ours, theirs = (workspace / name for name in ("tfmtl", "tft"))
    problems, same = [], {}
    for name in job["categories"]:
        counted = pc.value_counts(logs[name].combine_chunks().drop_null())
        count = {v["values"]: v["counts"] for v in counted.to_pylist()}
        mine, other = (
            (folder / "vocabulary" / name).read_text().split("\n")[:-1]
            for folder in (ours, theirs)
        )
        if sorted(mine) != sorted(other) or set(mine) != set(count):
            problems.append(f"{name}: the vocabularies have other values")
        elif [count[v] for v in mine] != [count[v] for v in other]:
            problems.append(f"{name}: the vocabularies have another order")
        else:
            # One number for each value, whatever its id: its place in our vocabulary.
            place = {value: i for i, value in enumerate(mine)}
            same[name] = np.array([place[value] for value in other] + [-1])
    if problems:
        return problems
    mine, other = _columns(ours), _columns(theirs)
    for name in job["categories"]:
        mine[name] = mine[name] - 1  # 0 is for missing and unknown
        other[name] = same[name][other[name].astype(int)]  # -1 is
    names = [*job["categories"], *job["labels"], *job["numbers"]]
    # TFT keeps no order of rows; equal rows are equal, whichever comes first.
    tables = [
        table[:, np.lexsort(table[::-1])]
        for table in (np.stack([c[name] for name in names]) for c in (mine, other))
    ]
    if tables[0].shape != tables[1].shape:
        return [f"{tables[0].shape[1]} rows, where TFT wrote {tables[1].shape[1]}"]
    for name, a, b in zip(names, *tables, strict=True):
        tolerance = TOLERANCE if name in job["numbers"] else 0
        worst = float(np.abs(a - b).max())
        if not worst <= tolerance:
            problems.append(f"{name}: differs by up to {worst:g}")
    return problems


def _columns(folder: Path) -> dict[str, np.ndarray]:
    batches = [
        batch
        for file in sorted(folder.glob("records-*.gz"))
        if file.stat().st_size > 20  # of no record
        for _, batch in tf_examples.decode(_records(file)).batches
    ]
    return {
        name: np.concatenate(
            [pc.list_flatten(batch.column(name)).to_numpy() for batch in batches]
        ).astype(np.float64)
        for name in batches[0].schema.names
    }


def _records(file: Path) -> list[bytes]:
    with gzip.open(file) as stream:
        return [record for record, _ in tfrecord.read(stream)]
