"""StatisticsGen: what the columns of each split hold, from one pass over the examples.

| statistics/             |                                                        |
|-------------------------|--------------------------------------------------------|
| Split-*/FeatureStats.pb | opens in TensorFlow Data Validation and Facets         |
| moments.json            | train: what numeric features are scaled with           |
| label_rates.json        | {split: {domain or "all": {task: {"rows", "mean"}}}}   |
| label_correlations.json | {split: [{"tasks": [a, b], "rows", "correlation"}]}    |
| vocabulary/COLUMN/      | train: shards of Parquet with each value and its count |
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from tensorflow_metadata.proto.v0 import statistics_pb2

from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.statistics import job
from pipeline.statistics.columns import Values

SPLITS = ("train", "valid", "test")


def statistics_gen(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> dict:
    """Computes the statistics of all splits.

    Args:
        config: The pipeline's config.
        inputs: "examples".
        outputs: "statistics".

    Returns:
        {"rows", "columns", "vocabulary": {feature: distinct values}}.

    Raises:
        PipelineError: If a split has no rows.
    """
    statistics = outputs["statistics"]
    records = job.analyze(config, inputs["examples"], SPLITS, statistics)
    empty = [split for split in SPLITS if (split, "") not in records]
    if empty:
        raise PipelineError(
            f"every split must have rows. Received none in: {', '.join(empty)}. Change "
            "`data.split` or the logs"
        )
    for split in SPLITS:
        folder = statistics / f"Split-{split}"
        folder.mkdir()
        proto = feature_statistics(split, records)
        (folder / "FeatureStats.pb").write_bytes(
            proto.SerializeToString(deterministic=True)
        )
    moments = {
        feature.name: _moments(feature.name, records)
        for feature in config.features
        if feature.kind == "numeric"
    }
    _write_json(statistics / "moments.json", moments)
    rates = {split: _label_rates(records[split, ""]) for split in SPLITS}
    _write_json(statistics / "label_rates.json", rates)
    pairs = {split: records[split, ""]["pairs"] for split in SPLITS}
    _write_json(statistics / "label_correlations.json", pairs)
    vocabulary = {}
    for name in job.vocabulary_columns(config):
        record = records.get(("train", name), {"unique": 0})
        vocabulary[name] = record["unique"]
        if not record["unique"]:
            none = Values(pa.array([], pa.binary()), pa.array([], pa.int64()))
            path = statistics / "vocabulary" / name / "values-00000-of-00001.parquet"
            job.write_vocabulary(none, path)
    return {
        "rows": sum(records[split, ""]["rows"] for split in SPLITS),
        "columns": len(records["train", ""]["columns"]),
        "vocabulary": vocabulary,
    }


def read(
    statistics: Path, split: str
) -> tuple[int, dict[str, statistics_pb2.FeatureNameStatistics]]:
    """Returns a split's rows, and its statistics by column."""
    path = statistics / f"Split-{split}" / "FeatureStats.pb"
    proto = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
    return by_column(proto)


def by_column(
    proto: statistics_pb2.DatasetFeatureStatisticsList,
) -> tuple[int, dict[str, statistics_pb2.FeatureNameStatistics]]:
    """Returns the rows of the one data set in a proto, and its statistics by column."""
    dataset = proto.datasets[0]
    return dataset.num_examples, {f.path.step[0]: f for f in dataset.features}


def common(
    feature: statistics_pb2.FeatureNameStatistics,
) -> statistics_pb2.CommonStatistics:
    """What a column's statistics say whatever its type is."""
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def feature_statistics(
    split: str, records: dict
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Makes a split's proto of the records of `analysis.analyze`."""
    rows = records[split, ""]
    proto = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = proto.datasets.add(name=split, num_examples=rows["rows"])
    for name, presence in rows["columns"].items():
        feature = dataset.features.add(type=presence["type"])
        feature.path.step.append(name)
        record = records.get((split, name))
        if presence["type"] in ("INT", "FLOAT"):
            stats = feature.num_stats
            _fill_numbers(feature, record)
        elif presence["type"] == "STRING":
            stats = feature.string_stats
            if record:  # nothing was counted in a column that is all null
                _fill_values(stats, presence["total"], record)
        else:
            stats = feature.bytes_stats
        present = presence["present"]
        stats.common_stats.CopyFrom(
            statistics_pb2.CommonStatistics(
                num_non_missing=present,
                num_missing=presence["missing"],
                min_num_values=presence["least"],
                max_num_values=presence["most"],
                avg_num_values=presence["total"] / max(present, 1),
                tot_num_values=presence["total"],
            )
        )
    return proto


def _fill_numbers(
    feature: statistics_pb2.FeatureNameStatistics, record: Mapping
) -> None:
    stats, special, levels = feature.num_stats, record["special"], record["quantiles"]
    stats.mean = record["mean"]
    stats.std_dev = record["std"]
    stats.num_zeros = special["zero"]
    stats.min = float("-inf") if special["-inf"] else levels[0]
    stats.median = levels[500]
    stats.max = float("inf") if special["inf"] else levels[-1]
    histogram = statistics_pb2.Histogram
    for type_, edges, counts in (
        (histogram.STANDARD, record["edges"], record["histogram"]),
        (histogram.QUANTILES, levels[::100], [record["count"] / 10] * 10),
    ):
        filled = stats.histograms.add(type=type_, num_nan=special["nan"])
        for low, high, count in zip(edges, edges[1:], counts, strict=False):
            filled.buckets.add(low_value=low, high_value=high, sample_count=count)
    feature.custom_stats.add(name="num_ones", num=special["one"])


def _fill_values(
    stats: statistics_pb2.StringStatistics, total: int, record: Mapping
) -> None:
    stats.unique = record["unique"]
    stats.avg_length = record["bytes"] / max(total, 1)
    for rank, (value, count) in enumerate(record["top"]):
        stats.top_values.add(value=value, frequency=count)
        stats.rank_histogram.buckets.add(
            low_rank=rank, high_rank=rank, label=value, sample_count=count
        )


def _moments(name: str, records: dict) -> dict:
    record, presence = records["train", name], records["train", ""]["columns"][name]
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
    }


def _label_rates(rows: dict) -> dict:
    rates: dict[str, dict] = {}
    for domain, task, count, mean in rows["labels"]:
        rates.setdefault(domain, {})[task] = {"rows": count, "mean": mean}
    return rates


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")
