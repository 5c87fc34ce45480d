"""The same work in one script: polars analyses and transforms, tfx-bsl encodes.

Like the job, it records missing rates, counted values, moments, quantiles and label
rates, and writes four shards, compressed at level 1.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
import pyarrow as pa  # noqa: E402
import tensorflow as tf  # noqa: E402
from tfx_bsl.coders.example_coder import RecordBatchToExamples  # noqa: E402

SHARDS, BATCH = 4, 16_384


def preprocess(job: dict) -> None:
    """Runs the job."""
    output = Path(job["output"])
    categories, numbers, labels = job["categories"], job["numbers"], job["labels"]
    types = dict.fromkeys(categories, pl.String)
    types |= dict.fromkeys([*numbers, *labels], pl.Float64)
    rows = pl.read_csv(job["logs"], schema_overrides=types, n_rows=job["rows"])
    statistics = {"missing": rows.null_count().to_dicts()[0]}
    levels = np.linspace(0, 1, 1001)
    for name in numbers:
        column = rows[name].drop_nulls()
        quantiles = np.quantile(column.to_numpy(), levels)
        statistics[name] = {
            "mean": column.mean(),
            "std": column.std(ddof=0),
            "quantiles": quantiles.tolist(),
        }
    statistics["rates"] = {name: rows[name].mean() for name in labels}
    (output / "vocabulary").mkdir()
    columns = {name: rows[name].cast(pl.Float32) for name in labels}
    for name in numbers:
        of = statistics[name]
        scaled = (rows[name] - of["mean"]) / (of["std"] or 1.0)
        columns[name] = scaled.cast(pl.Float32)
    for name in categories:
        counts = rows[name].drop_nulls().value_counts()
        counts = counts.sort(["count", name], descending=[True, False])
        values = counts[name]
        statistics[name] = counts.head(100).rows()
        text = "".join(f"{value}\n" for value in values)
        (output / "vocabulary" / name).write_text(text)
        ids = pl.Series(np.arange(1, len(values) + 1))
        columns[name] = rows[name].replace_strict(
            values, ids, default=0, return_dtype=pl.Int64
        )
    (output / "statistics.json").write_text(json.dumps(statistics))
    table = pl.DataFrame(columns).to_arrow()
    lists = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        offsets = np.arange(len(column) + 1, dtype=np.int32)
        lists[name] = pa.ListArray.from_arrays(offsets, column)
    table = pa.table(lists)
    options = tf.io.TFRecordOptions("GZIP", compression_level=1)
    for shard in range(SHARDS):
        start, stop = (len(table) * i // SHARDS for i in (shard, shard + 1))
        path = output / f"records-{shard:05d}-of-{SHARDS:05d}.gz"
        with tf.io.TFRecordWriter(str(path), options) as writer:
            for batch in table[start:stop].to_batches(BATCH):
                for record in RecordBatchToExamples(batch):
                    writer.write(record)


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    started = time.perf_counter()
    preprocess(job)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
