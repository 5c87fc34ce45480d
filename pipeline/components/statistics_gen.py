"""StatisticsGen: what the columns of each split hold, from one pass over the examples.

| statistics/             |                                                        |
|-------------------------|--------------------------------------------------------|
| Split-*/FeatureStats.pb | opens in TensorFlow Data Validation and Facets         |
| moments.json            | train: what numeric features are scaled with           |
| label_rates.json        | {split: {domain or "*": {task: {"rows", "mean"}}}}     |
| label_correlations.json | {split: [{"tasks": [a, b], "rows", "correlation"}]}    |
| vocabulary/COLUMN/      | train: shards of Parquet with each value and its count |
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from pipeline.artifacts import layout
from pipeline.artifacts.layout import SPLITS
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.statistics import job
from pipeline.statistics.columns import StringStatistics
from pipeline.statistics.protos import statistics_proto
from pipeline.statistics.splits import ALL


def statistics_gen(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> dict:
    """Computes the statistics of all splits.

    Args:
        config: The pipeline's config.
        inputs: "examples".
        outputs: "statistics".

    Returns:
        {"rows", "columns", "vocabulary": {feature: distinct values}, "notes"}.

    Raises:
        PipelineError: If a split has no rows.
    """
    statistics = outputs["statistics"]
    records = job.analyze(config, inputs["examples"], SPLITS, statistics)
    empty = [split for split in SPLITS if (split, None) not in records]
    if empty:
        raise PipelineError(
            f"every split must have rows. Received none in: {', '.join(empty)}. Change "
            "`data.split` or the logs"
        )
    for split in SPLITS:
        folder = layout.split(statistics, split)
        folder.mkdir()
        proto = statistics_proto(split, records)
        (folder / layout.FEATURE_STATISTICS).write_bytes(
            proto.SerializeToString(deterministic=True)
        )
    moments = {
        feature.name: _moments(feature.name, records)
        for feature in config.features
        if feature.kind in ("numeric", "numeric_sequence")
    }
    _write_json(statistics / layout.MOMENTS, moments)
    rates = {split: _label_rates(records[split, None]) for split in SPLITS}
    _write_json(statistics / layout.LABEL_RATES, rates)
    pairs = {split: records[split, None]["pairs"] for split in SPLITS}
    _write_json(statistics / layout.LABEL_CORRELATIONS, pairs)
    vocabulary = {}
    for name in job.vocabulary_columns(config):
        record = records.get(("train", name), {"unique": 0})
        vocabulary[name] = record["unique"]
        if not record["unique"]:
            none = StringStatistics(pa.array([], pa.binary()), pa.array([], pa.int64()))
            job.write_vocabulary(none, layout.vocabulary_shard(statistics, name, 0, 1))
    return {
        "rows": sum(records[split, None]["rows"] for split in SPLITS),
        "columns": len(records["train", None]["columns"]),
        "vocabulary": vocabulary,
        "notes": [f"labels of train: {_means(rates['train'][ALL])}"],
    }


def _means(rates: Mapping[str, Mapping[str, float]]) -> str:
    """The mean of each label, over the rows that count for its task."""
    found = [f"{task} {of['mean']:.4g}" for task, of in rates.items() if of["rows"]]
    return ", ".join(found)


def _moments(name: str, records: dict) -> dict:
    record, presence = records["train", name], records["train", None]["columns"][name]
    levels = record["quantiles"]
    return {
        "count": record["count"],
        "missing": presence["missing"] + record["special"]["nan"],
        "mean": record["mean"],
        "std": record["std"],
        "min": levels[0],
        "max": levels[-1],
        "log1p_mean": record["log1p_mean"],
        "log1p_std": record["log1p_std"],
        "quantiles": levels,
        **{key: record[key] for key in job.LEVELS if key in record},
    }


def _label_rates(rows: dict) -> dict:
    rates: dict[str, dict] = {}
    for domain, task, count, mean in rows["labels"]:
        rates.setdefault(domain, {})[task] = {"rows": count, "mean": mean}
    return rates


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")
