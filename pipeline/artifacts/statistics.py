"""The statistics artifact, as the stages after StatisticsGen read it."""

from pathlib import Path

from tensorflow_metadata.proto.v0 import statistics_pb2

from pipeline.artifacts import layout


def read(
    statistics: Path, split: str
) -> tuple[int, dict[str, statistics_pb2.FeatureNameStatistics]]:
    """Returns a split's rows, and its statistics by column."""
    path = layout.split(statistics, split) / layout.FEATURE_STATISTICS
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
