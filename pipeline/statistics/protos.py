"""The statistics of a split as TensorFlow Data Validation and Facets read them."""

from collections.abc import Mapping

from tensorflow_metadata.proto.v0 import statistics_pb2

TIMES = ("from", "to")  # custom statistics of the column by whose time rows are split


def statistics_proto(
    split: str, records: dict
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Makes a split's proto of the records of `job.analyze`."""
    rows = records[split, None]
    proto = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = proto.datasets.add(name=split, num_examples=rows["rows"])
    for name, presence in rows["columns"].items():
        record = records.get((split, name))
        # Numbers that are written as texts are numbers here.
        kind = presence["type"]
        if kind == "STRING" and record and "mean" in record:
            kind = "FLOAT"
        feature = dataset.features.add(type=kind)
        feature.path.step.append(name)
        for which, time in zip(TIMES, rows["times"].get(name, ()), strict=False):
            feature.custom_stats.add(name=which, num=time)
        if kind in ("INT", "FLOAT"):
            stats = feature.num_stats
            _fill_numbers(feature, record)
        elif kind == "STRING":
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
    feature.custom_stats.add(name="num_fractions", num=special["fraction"])


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
