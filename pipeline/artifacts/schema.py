"""The schema artifact: a `tensorflow_metadata` Schema in text form."""

from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from pipeline.artifacts import layout


def read(schema: Path) -> schema_pb2.Schema:
    """Returns the schema in an artifact."""
    return text_format.Parse((schema / layout.SCHEMA).read_text(), schema_pb2.Schema())


def write(folder: Path, schema: schema_pb2.Schema) -> None:
    """Writes the artifact."""
    text = text_format.MessageToString(schema, as_utf8=True)
    (folder / layout.SCHEMA).write_text(text)


def type_of(stats: statistics_pb2.FeatureNameStatistics) -> int:
    """The schema's type of a column's statistics."""
    return {
        statistics_pb2.FeatureNameStatistics.INT: schema_pb2.INT,
        statistics_pb2.FeatureNameStatistics.FLOAT: schema_pb2.FLOAT,
    }.get(stats.type, schema_pb2.BYTES)
