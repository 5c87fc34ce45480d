"""What a server was asked, as statistics that can be held against the examples'.

The logs of served requests have the features as they were sent, and no labels. A value
that does not fit its column counts as missing, and so does a column that is not there.
"""

import functools
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts import layout
from pipeline.beam.atomic import atomic_write
from pipeline.beam.results import Workers, parallel_map
from pipeline.config import Config
from pipeline.logs import files as sources
from pipeline.logs.files import Source
from pipeline.logs.values import casting
from pipeline.statistics import job

_SPLIT = "served"


def analyze(config: Config, work: Path) -> dict:
    """Reads the logs of `validation.served`.

    Args:
        config: The pipeline's config.
        work: A folder that all workers see; it is left as it was.

    Returns:
        The records of the split "served", as `job.analyze` makes them.

    Raises:
        PipelineError: If a file is not there or cannot be read to its end.
    """
    patterns = [
        (f"validation.served.{i}", pattern, None)
        for i, pattern in enumerate(config.validation.served)
    ]
    files = sources.find(patterns, config.data)
    # Neither labels nor what depends on them: nobody knows them when a model is asked.
    features_only = config.model_copy(update={"tasks": [], "domain": None})
    with tempfile.TemporaryDirectory(prefix=".served-", dir=work) as name:
        folder = Path(name)
        layout.split(folder, _SPLIT).mkdir()
        write = functools.partial(_write, config, folder)
        parallel_map(Workers(config.beam, folder), write, files)
        return job.analyze(features_only, folder, [_SPLIT], folder)


def _write(config: Config, folder: Path, index: int, source: Source) -> None:
    """Writes the features of a file as the examples have them."""
    # A server is asked for features by their names.
    wanted = [
        column._replace(column=None, weights=None)
        for column in casting.feature_columns(config, config.raw_features)
    ]
    schema = pa.schema([(column.name, column.type) for column in wanted])
    target = layout.split(folder, _SPLIT) / layout.part_shard(layout.part(index), 0)
    with atomic_write(target, folder) as part, pq.ParquetWriter(part, schema) as writer:
        for chunk in sources.read(source):
            rows, _ = casting.cast(chunk.rows, wanted)
            writer.write_batch(rows)
