"""The Beam job that measures models: per task, over all rows and per slice value.

    ranges of rows -> Arrow batches -> every model's predictions
        -> (task, slice column, value) : array (sources, rows)  -> group by key
        -> metrics.measure of each source

One shuffle, of arrays and not of rows. The metrics are exact, which needs all rows of
a group in one place: about 110 bytes a row while they are sorted, 1.1 GB for 10 million
rows. Tasks and slices are measured in parallel. With `evaluate.group`, the rows' values
of that column go along; where they are counted each is but a code. Pieces are put in
the order of their rows, so that the numbers are the same whoever made them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline import progress
from pipeline.artifacts import examples, saved_model
from pipeline.beam import results
from pipeline.beam.work import Work
from pipeline.components.evaluator import metrics
from pipeline.config import Config
from pipeline.logs.values import texts
from pipeline.progress import NOWHERE, Done
from tfmtl.metrics import exact
from tfmtl.metrics.exact.interval import holm

ALL = "all"  # The slice column, and the value, of the group of all rows.
MISSING = "(missing)"
# {comparison: (source, the one that it is compared with)}
PAIRS = {other: ("model", other) for other in ("baseline", "single_task")}

Key = tuple[str, str, str]  # task, slice column, value
# The first row; labels, weights if the task has them, and scores, (1 or 2 + sources,
# rows), with a line for each class of each source where there are classes; the group of
# each row, if there are groups.
Piece = tuple[int, np.ndarray, pa.Array | None]


def evaluate(
    config: Config,
    split: Path,
    models: Mapping[str, Path],
    sources: Mapping[str, list[str]],
    work: Path,
    pairs: Mapping[str, tuple[str, str]] = PAIRS,
) -> list[dict]:
    """Runs the job and returns one record per task, slice column and value.

    Args:
        config: The pipeline's config.
        split: The folder of the examples to measure on.
        models: {source: SavedModel}, such as "model" and "baseline".
        sources: {task: which models predict it, and "best_reachable" if a column
            of the examples holds the best possible prediction}.
        work: A folder where the job may write; a distributed runner must reach it.
        pairs: {comparison: (source, the one that it is compared with)}, on the same
            rows.

    Returns:
        Records {"task", "slice", "value", "rows", "mean_label"} and what
        `metrics.measure` returns, those of all rows with "curves" also. A task's
        `row_weight` weighs all but "rows". Sorted; the largest groups first.
    """
    workers = results.Workers(config.beam, work)
    with progress.counting(examples.count_rows(split), work) as done:
        measure = MeasureModels(Measured(config, models, sources, pairs), done)
        records = results.run(workers, examples.ranges(split), measure).values()
    tasks = [task.name for task in config.tasks]
    columns = [ALL, *slice_columns(config)]
    return sorted(
        records,
        key=lambda r: (
            tasks.index(r["task"]),
            columns.index(r["slice"]),
            -r["rows"],
            r["value"],
        ),
    )


def sources_of(config: Config, models: Mapping[str, Path]) -> dict[str, list[str]]:
    """{task: which of the models, {source: SavedModel}, predict it}."""
    predicted = {
        name: saved_model.signatures(path)[saved_model.DEFAULT].outputs
        for name, path in models.items()
    }
    return {
        task.name: [name for name in models if task.name in predicted[name]]
        for task in config.tasks
    }


def adjust(results: Sequence[dict], together: bool = False) -> None:
    """Adds "p_adjusted" to all gains: those of all rows, and those of slices, by Holm.

    Each is one family of comparisons: whoever calls a gain below 0.05 real is wrong
    anywhere in the family in at most 5 of 100 runs.

    Args:
        results: What `evaluate` returned.
        together: Whether all comparisons are one family. Defaults to one each.
    """
    families: dict[tuple, list[dict]] = {}
    for record in results:
        for comparison, gains in record.get("gain", {}).items():
            for metric, gain in gains.items():
                if metric in metrics.PRIMARY.values():
                    key = together or comparison, record["slice"] == ALL
                    families.setdefault(key, []).append(gain)
    for gains in families.values():
        adjusted = holm(np.array([gain["p"] for gain in gains]))
        for gain, p in zip(gains, adjusted, strict=True):
            gain["p_adjusted"] = float(p)


def slice_columns(config: Config) -> list[str]:
    """The columns whose values are measured apart: the domain first."""
    domain = [config.domain] if config.domain else []
    return list(dict.fromkeys(domain + config.evaluate.slices))


class Measured(NamedTuple):
    """What is measured; see `evaluate`."""

    config: Config
    models: Mapping[str, Path]
    sources: Mapping[str, list[str]]
    pairs: Mapping[str, tuple[str, str]] = PAIRS


class MeasureModels(beam.PTransform):
    """`examples.Range` -> ((task, column, value), record)."""

    def __init__(self, measured: Measured, done: Done = NOWHERE) -> None:
        super().__init__()
        self._score = _Score(measured, done)
        self._measure = _Measure(measured)

    def expand(self, ranges: beam.PCollection) -> beam.PCollection:
        """Adds the transforms."""
        return (
            ranges
            | "Score" >> beam.ParDo(self._score)
            | "Group" >> beam.GroupByKey()
            | "Measure" >> beam.ParDo(self._measure)
        )


class _Score(Work):
    """`examples.Range` -> ((task, column, value), piece)."""

    def __init__(self, measured: Measured, done: Done) -> None:
        self._config, self._models, self._sources, _ = measured
        self._done = done

    def setup(self) -> None:
        self._scorers = {
            name: saved_model.Scorer(path) for name, path in self._models.items()
        }

    def process(self, rows: examples.Range) -> Iterator[tuple[Key, Piece]]:
        start = rows.first
        for batch in rows.batches():
            yield from self._batch(batch, start)
            start += batch.num_rows
            self._done.add(batch.num_rows)

    def _batch(self, batch: pa.RecordBatch, start: int) -> Iterator[tuple[Key, Piece]]:
        predicted = {name: scorer(batch) for name, scorer in self._scorers.items()}
        labels = examples.labels(batch, self._config.tasks)
        group = None
        if self._config.evaluate.group:
            group = batch.column(self._config.evaluate.group)
        groups = [(ALL, ALL, np.arange(batch.num_rows))]
        for column in slice_columns(self._config):
            groups += [
                (column, value, at) for value, at in value_rows(batch.column(column))
            ]
        for task in self._config.tasks:
            best = self._config.evaluate.best_reachable.get(task.name)
            weight = [examples.weights(labels, task)] if task.is_weighted else []
            scores = [
                examples.floats(batch.column(best))
                if source == "best_reachable"
                else metrics.predictions(task, predicted[source]).T
                for source in self._sources[task.name]
            ]
            # (1 or 2 + sources, rows); of classes, a line for each
            stacked = np.vstack([labels[task.label_column], *weight, *scores])
            counted = examples.in_space(labels, task, self._config.tasks)
            for column, value, at in groups:
                at = at[counted[at]]
                if len(at):
                    of_rows = None if group is None else group.take(pa.array(at))
                    piece = start, stacked[:, at], of_rows
                    yield (task.name, column, value), piece


class _Measure(Work):
    """(key, pieces) -> (key, record)."""

    def __init__(self, measured: Measured) -> None:
        self._tasks = {task.name: task for task in measured.config.tasks}
        self._sources, self._pairs = measured.sources, measured.pairs
        self._more = measured.config.evaluate.metrics

    def process(
        self, element: tuple[Key, Iterable[Piece]]
    ) -> Iterator[tuple[Key, dict]]:
        key, pieces = element
        task, column, value = key
        _, arrays, groups = zip(*sorted(pieces, key=lambda p: p[0]), strict=True)
        label, *scores = np.concatenate(arrays, axis=1)
        weight = scores.pop(0) if self._tasks[task].is_weighted else None
        if width := self._tasks[task].classes:
            starts = range(0, len(scores), width)
            scores = [np.stack(scores[at : at + width], axis=1) for at in starts]
        group = None if groups[0] is None else examples.codes(groups)
        del arrays, groups
        record = {
            "task": task,
            "slice": column,
            "value": value,
            "rows": len(label),
            "mean_label": float(np.average(label.astype(np.float64), weights=weight)),
        }
        kind = self._tasks[task].kind
        of_source = dict(zip(self._sources[task], scores, strict=True))
        record |= metrics.measure(
            kind, label, of_source, weight, group, self._pairs, self._more
        )
        if kind == "binary":
            record["positives"] = int((label > 0.5).sum())
        if column == ALL:
            curves = {
                source: _curves(kind, label, score, weight)
                for source, score in of_source.items()
                if source in ("model", "best_reachable")
                and not record[source]["invalid"]
            }
            record |= {"curves": curves} if curves else {}
        yield key, record


def _curves(kind: str, label, score, weight) -> dict[str, list]:
    values = metrics.means(score)
    curves = {"calibration": exact.calibration_bins(label, values, weight=weight)}
    if kind == "binary":
        curves["roc"] = exact.roc(label, score, weight=weight)
    return curves


def value_rows(column: pa.Array) -> Iterator[tuple[str, np.ndarray]]:
    """Yields each value of a column as text, and the positions of its rows."""
    encoded = texts.of(column).fill_null(MISSING).dictionary_encode()
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(encoded.dictionary)))
    positions = np.split(order, ends[:-1])
    yield from zip(encoded.dictionary.to_pylist(), positions, strict=True)
