"""Transform: the transform graph, and the examples it makes for the Trainer.

    examples, statistics -> transform_graph       transform_fn/  a SavedModel
                                                  features.json  what models are made of
                         -> transformed_examples  Split-*/*.tfrecord.gz
                                                  summary.json   {"rows": {split: n}}

A record holds the transformed features, and the labels and space columns as they are
(NaN = missing), of one row or of `transform.rows_per_record`. The shards of a split
hold its rows in the order of the examples.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from pipeline import progress
from pipeline.artifacts import examples, layout, warm_start
from pipeline.beam import results
from pipeline.beam.atomic import atomic_write
from pipeline.beam.work import Work
from pipeline.components.transform import label_levels, tf_example
from pipeline.config import Config
from pipeline.config.features import each_alone, input_names
from pipeline.errors import PipelineError
from pipeline.logs import tfrecord
from pipeline.progress import NOWHERE, Done
from pipeline.storage import away

_SHARD_ROWS = 100_000
_THREADS = 2  # of a worker
_TRAIN_SHARDS = 4  # at least, as training reads several files at a time
# Path -> the graph that has just been saved there, for workers of this process: a
# second copy of it takes a second, and a vocabulary of millions a gigabyte.
_loaded: dict[str, Any] = {}


def transform(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> dict:
    """Makes the transform graph and applies it to all splits.

    Args:
        config: The pipeline's config.
        inputs: "examples", "statistics"; others are not read.
        outputs: "transform_graph", "transformed_examples".

    Returns:
        {"rows", "splits": {split: rows}, "ids": {categorical feature: ids}, "notes"}.
    """
    # Late, as TensorFlow takes seconds to import.
    from pipeline.components.transform import graph as transform_graph

    shards, rows = [], {}
    for split, source in layout.splits(inputs["examples"]).items():
        target = layout.split(outputs["transformed_examples"], split)
        target.mkdir()
        counts = examples.count_each(source)
        rows[split] = sum(counts.values())
        least = _TRAIN_SHARDS if split == "train" else 1
        shards += _shards(counts, target, least)
    if not shards:
        raise PipelineError(
            f"no examples: {inputs['examples']} has no folder "
            f"{layout.SPLIT_FOLDERS}. Run ExampleGen again"
        )

    saved = outputs["transform_graph"] / layout.TRANSFORM_GRAPH
    source, notes = warm_start.folder(config), []
    with tempfile.TemporaryDirectory() as assets:
        graph = transform_graph.build(
            config.features,
            inputs["statistics"],
            Path(assets),
            config.data.missing,
            [f.name for f in config.features if config.missing_words(f.name) is None],
            warm_start.vocabularies(source) if source else None,
            notes.append,
        )
        graph.save(saved)
    described = graph.describe()
    train = layout.split(inputs["examples"], "train")
    workers = results.Workers(config.beam, outputs["transformed_examples"], [saved])
    for task in config.tasks:
        if group := task.quantile_group:
            found = label_levels.levels(
                config, task, train, graph.edges(group), workers
            )
            described[group].setdefault("levels", {})[task.name] = found
    (outputs["transform_graph"] / layout.FEATURES).write_text(
        json.dumps(described, indent=1) + "\n"
    )

    groups = [shards[at : at + _THREADS] for at in range(0, len(shards), _THREADS)]
    _loaded[str(saved)] = graph
    try:
        with progress.counting(sum(rows.values()), workers.folder) as done:
            write = WriteTransformed(config, saved, done)
            written = results.run(workers, groups, write)
    finally:
        _loaded.clear()
    results.check_all(workers, len(written), len(shards), "shards")
    for half in outputs["transformed_examples"].glob("*/.*"):
        half.unlink()  # Its worker died; another one has written the shard.
    summary = json.dumps({"rows": rows}, indent=1) + "\n"
    (outputs["transformed_examples"] / layout.SUMMARY).write_text(summary)
    ids = {name: d["size"] for name, d in described.items() if "size" in d}
    return {"rows": sum(rows.values()), "splits": rows, "ids": ids, "notes": notes}


class Shard(NamedTuple):
    """A range of a split's rows, and the file that gets them.

    Attributes:
        source: Shards of the split's examples.
        start: The first row, counted over these.
        stop: The row to stop before.
        path: The file.
    """

    source: Sequence[Path]
    start: int
    stop: int
    path: Path


def _shards(counts: Mapping[Path, int], target: Path, least: int) -> Iterator[Shard]:
    """Cuts a split into ranges of rows of about one size."""
    rows = sum(counts.values())
    count = min(max(least, -(-rows // _SHARD_ROWS)), max(rows, 1))
    cuts = [(rows * i // count, rows * (i + 1) // count) for i in range(count)]
    for i, place in enumerate(examples.place(counts, cuts)):
        yield Shard(*place, target / layout.transformed_shard(i, count))


class WriteTransformed(beam.PTransform):
    """Lists of `Shard`s, each written side by side -> (path, rows) of every shard.

    Args:
        config: The pipeline's config.
        graph: The transform graph, a SavedModel.
        done: Counts the rows. Defaults to nowhere.
    """

    def __init__(self, config: Config, graph: Path, done: Done = NOWHERE):
        super().__init__()
        self._write = _WriteShards(config, graph, done)

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        """Adds the transforms."""
        return shards | "Write" >> beam.ParDo(self._write)


class _WriteShards(Work):
    """Transforms ranges of rows, batch by batch, into a TFRecord shard each."""

    def __init__(self, config: Config, graph: Path, done: Done):
        self._features, self._tasks = config.features, config.tasks
        self._inputs = config.raw_features
        self._each_alone = each_alone(config.features)
        self._rows_per_record = config.transform.rows_per_record
        self._graph, self._done = str(graph), done

    def setup(self) -> None:
        import tensorflow as tf

        # The loaded object owns the tables, so it is kept and not only its function.
        self._module = _loaded.get(self._graph) or tf.saved_model.load(
            str(away.fetch(Path(self._graph)))
        )

    def process(self, shards: Sequence[Shard]) -> Iterator[tuple[str, Any]]:
        # What the threads do is in NumPy, TensorFlow and zlib for the most part.
        with ThreadPoolExecutor(len(shards)) as threads:
            yield from threads.map(self._write, shards)

    def _write(self, shard: Shard) -> tuple[str, int | PipelineError]:
        try:
            with atomic_write(shard.path) as part:
                tfrecord.write(part, self._blocks(shard))
        except PipelineError as error:
            return str(shard.path), error
        return str(shard.path), shard.stop - shard.start

    def _blocks(self, shard: Shard) -> Iterator[np.ndarray]:
        """Yields serialized examples, of one batch after the other."""
        import tensorflow as tf

        names = [feature.name for feature in self._inputs]
        columns = [*names, *examples.label_columns(self._tasks)]
        rows = 0
        source, start, stop, _ = shard
        for batch in examples.read_batches(
            source, columns=columns, start=start, stop=stop, dictionaries=True
        ):
            raw = examples.distinct_inputs(batch, self._inputs)
            # Where the graph treats each string by itself, it sees it once only.
            if not self._each_alone:
                raw = {name: (_whole(*of), None) for name, of in raw.items()}
            transformed = self._module.transform(
                {name: tf.constant(_fed(*values)) for name, values in raw.items()}
            )
            places = {name: where for name, (_, where) in raw.items()}
            values = {
                output: _rows(transformed[output].numpy(), places.get(feature.name))
                for feature in self._features
                for output in input_names(feature)
            }
            values |= examples.labels(batch, self._tasks)
            yield from tf_example.blocks(values, self._rows_per_record)
            rows += batch.num_rows
            self._done.add(batch.num_rows)
        if rows != stop - start:
            raise PipelineError(
                f"{source[0]} and the shards behind it must hold the rows {start} to "
                f"{stop}. Received: {rows} of them. The examples have changed since "
                "the job began; run it again"
            )


def _whole(values: np.ndarray, where: np.ndarray | None) -> np.ndarray:
    """The value of each row."""
    return values if where is None else values[where]


def _fed(values: np.ndarray, where: np.ndarray | None) -> np.ndarray:
    """Distinct values in the shape in which the graph takes the feature."""
    if where is None or where.ndim == 1:
        return values
    length = where.shape[1]
    padding = [b""] * (-len(values) % length)
    return np.append(values, padding).reshape(-1, length)


def _rows(transformed: np.ndarray, where: np.ndarray | None) -> np.ndarray:
    """The feature of each row, of what the graph made of the distinct values."""
    return transformed if where is None else transformed.reshape(-1)[where]
