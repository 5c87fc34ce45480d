"""The Beam job that reads every split once and records what it learns of the columns.

    ranges of rows -> Arrow batches -> ((split, column, bucket), part) -> merge per key
        -> vocabulary shards, and one small record a key

All columns share one shuffle, of the parts of whole batches, so the number of stages
does not grow with the number of columns. The values of a string column are spread over
keys by their hash, the more the more rows there are: no worker holds the vocabulary of
a large log. What comes together in one place after that are the most frequent values
and a few numbers.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import progress
from pipeline.artifacts import examples as arrow
from pipeline.artifacts import layout
from pipeline.beam import results
from pipeline.beam.atomic import atomic_write
from pipeline.beam.work import Work
from pipeline.config import Config
from pipeline.config.features import CategoricalFeature, column_type
from pipeline.progress import NOWHERE, Done
from pipeline.statistics import columns
from pipeline.statistics.columns import NumericStatistics, StringStatistics
from pipeline.statistics.sketch import histogram, quantiles
from pipeline.statistics.splits import SplitStatistics

TOP = 100  # most frequent values that are kept of a string column
LEVELS = ("levels", "level_counts")  # keys of the records of some numeric columns
BATCH_ROWS = 32_768
_RANGE = 8 * BATCH_ROWS  # rows of one element of the first collection
_BUCKET_ROWS = 250_000  # that call for one more bucket of each string column
_MOST_BUCKETS = 32

Key = tuple[str, str, int]  # split, column, bucket
_WEIGHTED = ("weighted", "map")  # types of columns
_OF_ROWS = ("", -1)  # instead of a column, which may have no name, and its bucket


def analyze(
    config: Config, examples: Path, splits: Iterable[str], folder: Path
) -> dict[tuple[str, str | None], dict]:
    """Runs the job.

    Args:
        config: The pipeline's config.
        examples: The folder of the splits' folders.
        splits: Names of the splits.
        folder: Where the job may write; a distributed runner must reach it.
            `vocabulary/column/*.parquet`, with columns `value` and `count`, stay there
            for every categorical feature that is not hashed.

    Returns:
        {(split, column): record} as `_numbers` and `_values` make them, and
        {(split, None): record} as `_rows` does.

    Raises:
        PipelineError: If the job did not see every row.
    """
    ranges, rows = [], {}
    for split in splits:
        counts = arrow.count_each(layout.split(examples, split))
        total = rows[split] = sum(counts.values())
        starts = range(0, total, _RANGE)
        cuts = [(at, min(at + _RANGE, total)) for at in starts]
        ranges += [(split, *place) for place in arrow.place(counts, cuts)]
    workers = results.Workers(config.beam, folder)
    with progress.counting(sum(rows.values()), folder) as done:
        columns_of = ColumnStatistics(config, sum(rows.values()), folder, done)
        found: dict[Key, dict] = results.run(workers, ranges, columns_of)
    merged: dict[tuple[str, str | None], dict] = {}
    for (split, *of), record in found.items():
        column = None if tuple(of) == _OF_ROWS else of[0]
        if (split, column) in merged:  # another bucket of the same values
            record = _merge_values(merged[split, column], record)
        merged[split, column] = record
    for split, total in rows.items():
        seen = merged.get((split, None), {"rows": 0})["rows"]
        results.check_all(workers, seen, total, f"rows of the split {split}")
    for half in folder.glob(f"{layout.VOCABULARY}/*/.*"):
        half.unlink()  # Its worker died; another one has written the shard.
    return merged


class ColumnStatistics(beam.PTransform):
    """(split, shards, start, stop) -> (key, record), in one shuffle for all columns.

    Args:
        config: The pipeline's config.
        rows: Of all ranges.
        folder: Gets the vocabularies.
        done: Counts the rows. Defaults to nowhere.
    """

    def __init__(
        self,
        config: Config,
        rows: int,
        folder: Path,
        done: Done = NOWHERE,
    ):
        super().__init__()
        self._config, self._folder = config, folder
        self._buckets = min(1 + rows // _BUCKET_ROWS, _MOST_BUCKETS)
        self._read = _Read(config, self._buckets, done)

    def expand(self, ranges: beam.PCollection) -> beam.PCollection:
        """Adds the transforms."""
        return (
            ranges
            | "Read" >> beam.ParDo(self._read)
            | "Merge" >> beam.CombinePerKey(_Merge())
            | "Record" >> beam.ParDo(_Record(self._config, self._folder, self._buckets))
        )


class _Read(Work):
    """(split, shards, start, stop) -> (key, part) for each column of each batch."""

    def __init__(self, config: Config, buckets: int, done: Done):
        self._config = config
        kinds = {f.name: column_type(f) for f in config.raw_features}
        self._vectors = {name for name, kind in kinds.items() if kind == "vector"}
        self._numbers = {name for name, kind in kinds.items() if kind == "numbers"}
        self._weighted = {name for name, kind in kinds.items() if kind in _WEIGHTED}
        self._buckets = buckets
        self._done = done

    def process(self, element: tuple) -> Iterator[tuple[Key, Any]]:
        split, shards, start, stop = element
        for batch in arrow.read_batches(
            shards, BATCH_ROWS, start=start, stop=stop, dictionaries=True
        ):
            yield (split, *_OF_ROWS), SplitStatistics.of(batch, self._config)
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if name in self._vectors:
                    column = columns.norms(column)
                elif name in self._numbers:
                    column = columns.numbers(column)
                elif name in self._weighted:
                    column = columns.unweighted(column)
                part = columns.summarize(column)
                if isinstance(part, NumericStatistics):
                    yield (split, name, 0), part
                elif part is not None:
                    for bucket, values in part.buckets(self._buckets):
                        yield (split, name, bucket), values
            self._done.add(batch.num_rows)


class _Merge(beam.CombineFn):
    """Merges the parts of a key, all of one class; see `columns`."""

    def create_accumulator(self) -> list:
        return []

    def add_input(self, parts: list, part: Any) -> list:
        parts.append(part)
        return self._settle(parts)

    def merge_accumulators(self, accumulators: Iterable[list]) -> list:
        return self._settle([part for parts in accumulators for part in parts])

    def compact(self, parts: list) -> list:
        return [type(parts[0]).merge(parts)] if len(parts) > 1 else parts

    def extract_output(self, parts: list) -> Any:
        return self.compact(parts)[0]

    def _settle(self, parts: list) -> list:
        # Once the new parts outweigh the first, so that each entry is merged a few
        # times only however many parts come.
        if len(parts) > 16 and sum(map(len, parts[1:])) > len(parts[0]):
            return self.compact(parts)
        return parts


class _Record(Work):
    """(key, merged part) -> (key, record); writes the vocabularies."""

    def __init__(self, config: Config, folder: Path, buckets: int):
        self._folder = folder
        self._buckets = buckets
        self._with_vocabulary = vocabulary_columns(config)
        self._with_levels = [
            ("train", feature.name)
            for feature in config.features
            if getattr(feature, "piecewise_linear", None)
        ]

    def process(self, element: tuple[Key, Any]) -> Iterator[tuple[Key, dict]]:
        key, part = element
        if isinstance(part, SplitStatistics):
            record = _rows(part)
        elif isinstance(part, NumericStatistics):
            record = _numbers(part)
            if key[:2] in self._with_levels:
                record |= dict(zip(LEVELS, _levels(part), strict=True))
        else:
            part = part.most_frequent_first()
            record = _values(part)
            split, column, bucket = key
            if split == "train" and column in self._with_vocabulary:
                shard = layout.vocabulary_shard(
                    self._folder, column, bucket, self._buckets
                )
                write_vocabulary(part, shard)
        yield key, record


def vocabulary_columns(config: Config) -> list[str]:
    """The columns whose vocabulary Transform needs."""
    return [
        feature.name
        for feature in config.features
        if isinstance(feature, CategoricalFeature) and feature.by_vocabulary
    ]


def write_vocabulary(values: StringStatistics, path: Path) -> None:
    """Writes one shard of a vocabulary."""
    value = values.value.cast(pa.string())
    with atomic_write(path) as part:
        pq.write_table(pa.table({"value": value, "count": values.count}), part)


def _rows(part: SplitStatistics) -> dict:
    return {
        "rows": part.rows,
        "columns": {
            name: {"type": columns.kind(part.types[name]), **vars(presence)}
            for name, presence in part.columns.items()
        },
        "labels": [
            [domain, task, sums.rows, sums.mean]
            for (domain, task), sums in sorted(part.labels.items())
        ],
        "pairs": [
            {"tasks": tasks, "rows": pair.rows, "correlation": pair.correlation}
            for tasks, pair in part.pairs.items()
        ],
        "times": {name: list(map(float, of)) for name, of in part.times.items()},
    }


def _numbers(part: NumericStatistics) -> dict:
    edges, counts = histogram(part.sketch, 10)
    return {
        "count": part.moments.count,
        "special": {name: part.special[name] for name in columns.SPECIAL},
        "mean": part.moments.mean,
        "std": part.moments.std,
        "log1p_mean": part.log1p.mean,
        "log1p_std": part.log1p.std,
        "quantiles": quantiles(part.sketch, 1000).tolist(),
        "edges": edges.tolist(),
        "histogram": counts.tolist(),
    }


def _levels(part: NumericStatistics) -> tuple[list[float], list[int]]:
    """The distinct values and how often each occurs; of very many, groups of them."""
    return part.sketch.low.tolist(), part.sketch.count.tolist()


def _values(part: StringStatistics) -> dict:
    """`part` has its most frequent values first."""
    value = [text.decode(errors="replace") for text in part.value[:TOP].to_pylist()]
    length = pc.sum(pc.multiply(pc.binary_length(part.value), part.count)).as_py()
    return {
        "unique": len(part),
        "bytes": length,
        "top": list(zip(value, part.count[:TOP].to_pylist(), strict=True)),
    }


def _merge_values(one: dict, other: dict) -> dict:
    top = sorted(one["top"] + other["top"], key=lambda pair: (-pair[1], pair[0]))
    return {
        "unique": one["unique"] + other["unique"],
        "bytes": one["bytes"] + other["bytes"],
        "top": top[:TOP],
    }
