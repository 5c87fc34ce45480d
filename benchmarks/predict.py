"""How much of the bare model's speed is left when files are scored by the Beam job?

    python benchmarks/predict.py [--rows 1000000] [--turns 3] [--folder DIR]

Rows of the simulated feed (`configs/feed.yaml`: 26 features, PLE, six tasks and a fused
score) are written to Parquet, and a model is trained on others of them for an epoch;
both stay in DIR for the next time. Then `python -m pipeline predict` scores all rows,
with starting Beam, loading the model, reading, converting and writing, on the local
runner; and a bare loop feeds the same rows to the SavedModel, batches of 16,384 in
NumPy arrays, where only the calls count. Imports, and a first small job that makes
them, count for neither. They take turns, and the median turn's ratio counts.

It fails (exit status 1) if a row is lost, a score differs from the loop's by more than
1e-6 or, of a value above 1, a part of it, or predict does less than 0.6 of the loop's
rows a second.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is loaded

import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf

from pipeline import config as config_
from pipeline.artifacts import examples, layout, saved_model
from pipeline.components.bulk_inferrer.component import bulk_inferrer
from pipeline.config import Config
from pipeline.datasets import feed
from pipeline.logs.values import casting
from pipeline.run import run

CONFIG = Path(__file__).parents[1] / "configs" / "feed.yaml"
LEAST_OF_BARE, TOLERANCE = 0.6, 1e-6


def prepare(folder: Path, rows: int) -> tuple[Config, Path, Path]:
    """Returns the config, the model and the folder of the rows; makes what lacks."""
    overrides = [
        f"workspace={folder / 'workspace'}",
        "data.options={impressions: 60000, seed: 7}",
        "train.epochs=1",
    ]
    config = config_.load(CONFIG, overrides)
    model = run(config, until="Trainer")["model"] / layout.SERVING_MODEL
    logs = folder / f"rows-{rows}"
    if not logs.is_dir():
        part = folder / "rows.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        feed.generate(part, impressions=rows, seed=11)
        part.rename(logs)
    return config, model, logs


def bare(
    config: Config, model: Path, logs: Path
) -> tuple[dict[str, np.ndarray], float, float]:
    """Returns all scores, and the seconds and CPU seconds of the calls alone."""
    loaded = tf.saved_model.load(str(model))
    call = loaded.signatures[saved_model.DEFAULT]
    features = saved_model.features(model)
    columns = casting.feature_columns(config, features)
    found: list[dict[str, np.ndarray]] = []
    seconds = cpu = 0.0
    for file in sorted(logs.iterdir()):
        for rows in pq.ParquetFile(file).iter_batches(examples.BATCH_ROWS):
            batch, _ = casting.cast(rows, columns)
            raw = examples.raw_inputs(batch, features)
            if not found:
                call(**{name: tf.constant(array) for name, array in raw.items()})
            clock, of_cpu = time.perf_counter(), time.process_time()
            tensors = {name: tf.constant(array) for name, array in raw.items()}
            found.append({n: of.numpy().ravel() for n, of in call(**tensors).items()})
            seconds += time.perf_counter() - clock
            cpu += time.process_time() - of_cpu
    scores = {name: np.concatenate([of[name] for of in found]) for name in found[0]}
    return scores, seconds, cpu


def main(argv: list[str] | None = None) -> int:
    """Prints both speeds; returns 1 if a threshold is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="defaults to a temporary one")
    parser.add_argument(
        "--keep", default="request_id,user_id", help="'' for the default"
    )
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args(argv)
    keep = {name: name for name in args.keep.split(",")} if args.keep else None
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        config, model, logs = prepare(folder, args.rows)
        first = min(logs.iterdir())
        bulk_inferrer(config, [str(first)], Path(temporary) / "first", model, keep)
        turns = []
        off, lost = 0.0, 0
        for turn in range(args.turns):
            output = Path(temporary) / f"scores-{turn}"
            clock, of_cpu = time.perf_counter(), time.process_time()
            summary = bulk_inferrer(config, [f"{logs}/*"], output, model, keep)
            seconds, cpu = time.perf_counter() - clock, time.process_time() - of_cpu
            scores, bare_seconds, bare_cpu = bare(config, model, logs)
            turns.append((bare_seconds / seconds, bare_cpu / cpu))
            print(
                f"predict {args.rows / seconds:>9,.0f} rows/s, bare loop "
                f"{args.rows / bare_seconds:>9,.0f} rows/s",
                flush=True,
            )
            written = pq.read_table(sorted(output.glob(layout.PARQUET_FILES)))
            lost = max(lost, args.rows - min(written.num_rows, summary["scored"]))
            for name, expected in scores.items() if not lost else ():
                error = np.abs(written[name].to_numpy() - expected)
                off = max(off, float(np.max(error / np.maximum(1, np.abs(expected)))))
            shutil.rmtree(output)
    ratio, of_cpu = map(statistics.median, zip(*turns, strict=True))
    checks = {
        f"{lost:,} rows lost": lost == 0,
        f"scores differ by {off:.1e} (at most {TOLERANCE})": off <= TOLERANCE,
        f"{ratio:.2f} of the loop's speed (at least {LEAST_OF_BARE}), {of_cpu:.2f} by "
        "CPU time": ratio >= LEAST_OF_BARE,
    }
    for text, passed in checks.items():
        print(f"{text}: {'passed' if passed else 'MISSED'}")
    return int(not all(checks.values()))


if __name__ == "__main__":
    sys.exit(main())
