"""SchemaGen: what the train split's statistics say that examples look like.

`schema/schema.pbtxt` is a `tensorflow_metadata` Schema in text form. Edit a copy of it
by hand to make it stricter; ExampleValidator holds the statistics of every split to it.
"""

from collections.abc import Mapping
from pathlib import Path

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from pipeline.artifacts import schema as schema_artifact
from pipeline.artifacts import statistics as statistics_artifact
from pipeline.config import Config

ENUM = 100  # A string column of at most so many values gets a domain.


def schema_gen(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> dict:
    """Infers the schema.

    Args:
        config: The pipeline's config. Its tasks say which columns are labels.
        inputs: "statistics".
        outputs: "schema".

    Returns:
        {"rows", "columns", "enums"}.
    """
    rows, statistics = statistics_artifact.read(inputs["statistics"], "train")
    schema = schema_pb2.Schema()
    for name, stats in statistics.items():
        schema.feature.append(_feature(name, stats))
    features = {feature.name: feature for feature in schema.feature}
    for feature in config.features:
        if feature.kind == "numeric":  # A model cannot take in what is infinite.
            features[feature.name].float_domain.disallow_inf = True
        elif feature.kind in ("sequence", "numeric_sequence", "multivalued", "lookup"):
            features[feature.name].value_count.CopyFrom(schema_pb2.ValueCount(min=0))
        elif feature.kind == "vector":
            width = schema_pb2.ValueCount(min=feature.dim, max=feature.dim)
            features[feature.name].value_count.CopyFrom(width)
    for task in config.tasks:
        domain = features[task.label_column].float_domain
        domain.disallow_inf = True
        if task.kind == "binary":
            domain.min, domain.max = 0, 1
        elif task.kind == "count":
            domain.min = 0
        elif task.kind == "classes":
            domain.min, domain.max = 0, task.classes - 1
        if task.row_weight is not None:
            weight = features[task.row_weight].float_domain
            weight.min, weight.disallow_inf = 0, True
    schema_artifact.write(outputs["schema"], schema)
    return {
        "rows": rows,
        "columns": len(schema.feature),
        "enums": sum(f.HasField("string_domain") for f in schema.feature),
    }


def _feature(
    name: str, stats: statistics_pb2.FeatureNameStatistics
) -> schema_pb2.Feature:
    common = statistics_artifact.common(stats)
    feature = schema_pb2.Feature(name=name, type=schema_artifact.type_of(stats))
    if common.num_non_missing:
        feature.presence.min_count = 1
    if not common.num_missing:
        feature.presence.min_fraction = 1
    feature.value_count.min = 0
    if common.tot_num_values == common.num_non_missing:
        feature.value_count.min = feature.value_count.max = 1
    strings = stats.string_stats
    if strings.rank_histogram.buckets and strings.unique <= ENUM:
        values = [bucket.label for bucket in strings.rank_histogram.buckets]
        feature.string_domain.value.extend(sorted(values))
    return feature
