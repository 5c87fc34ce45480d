"""The Beam job that measures models: per task, over all rows and per slice value.

    ranges of rows -> Arrow batches -> every model's predictions
        -> (task, slice column, value) : array (sources, rows)  -> group by key
        -> metrics.measure of each source

One shuffle, of arrays and not of rows. The metrics are exact, which needs all rows of
a group in one place: about 110 bytes a row while they are sorted, 1.1 GB for 10 million
rows. Tasks and slices are measured in parallel.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline import metrics
from pipeline.beam import arrow, runner
from pipeline.config import Config
from tfmtl.metrics import exact

ALL = "all"  # The slice column, and the value, of the group of all rows.
MISSING = "(missing)"
_ROWS = 8 * arrow.BATCH_ROWS  # of one element of the first collection

Key = tuple[str, str, str]  # task, slice column, value


def evaluate(
    config: Config,
    split: Path,
    models: Mapping[str, Path],
    sources: Mapping[str, list[str]],
    results: Path,
) -> list[dict]:
    """Runs the job and returns one record per task, slice column and value.

    Args:
        config: The pipeline's config.
        split: The folder of the examples to measure on.
        models: {source: SavedModel}, such as "model" and "baseline".
        sources: {task: which models predict it, and "best_reachable" if a column
            of the examples holds the best possible prediction}.
        results: A folder where the job may write; a distributed runner must reach it.

    Returns:
        Records {"task", "slice", "value", "rows", "mean_label", source: metrics...},
        those of all rows with "curves" also. Sorted; the largest groups first.
    """
    rows = arrow.count_rows(split)
    ranges = [(at, min(at + _ROWS, rows)) for at in range(0, rows, _ROWS)]
    path = results / "groups"
    with runner.pipeline(config) as job:
        _ = (
            job
            | "Ranges" >> beam.Create(ranges)
            | "Spread" >> beam.Reshuffle()
            | "Score" >> beam.ParDo(_Score(config, split, models, sources))
            | "Group" >> beam.GroupByKey()
            | "Measure" >> beam.ParDo(_Measure(config, sources))
            | "Write" >> beam.io.WriteToText(str(path), append_trailing_newlines=True)
        )
    files = sorted(results.glob("groups-*"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    records = [json.loads(line) for line in lines]
    for file in files:
        file.unlink()
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


def slice_columns(config: Config) -> list[str]:
    """The columns whose values are measured apart: the domain first."""
    domain = [config.domain] if config.domain else []
    return list(dict.fromkeys(domain + config.evaluate.slices))


class _Score(beam.DoFn):
    """(first row, row to stop before) -> ((task, column, value), (sources, rows))."""

    def __init__(
        self,
        config: Config,
        split: Path,
        models: Mapping[str, Path],
        sources: Mapping[str, list[str]],
    ) -> None:
        self._config = config
        self._split = split
        self._models = models
        self._sources = sources

    def setup(self) -> None:
        from pipeline.saved_model import Scorer

        self._scorers = {name: Scorer(path) for name, path in self._models.items()}

    def process(self, rows: tuple[int, int]) -> Iterator[tuple[Key, np.ndarray]]:
        start, stop = rows
        for batch in arrow.read_batches(self._split, start=start, stop=stop):
            yield from self._batch(batch)

    def _batch(self, batch: pa.RecordBatch) -> Iterator[tuple[Key, np.ndarray]]:
        predicted = {name: scorer(batch) for name, scorer in self._scorers.items()}
        labels = arrow.labels(batch, self._config.tasks)
        groups = [(ALL, ALL, np.arange(batch.num_rows))]
        for column in slice_columns(self._config):
            groups += [
                (column, value, at) for value, at in _values(batch.column(column))
            ]
        for task in self._config.tasks:
            best = self._config.evaluate.best_reachable.get(task.name)
            stacked = np.stack(
                [labels[task.label_column]]
                + [
                    arrow.floats(batch.column(best))
                    if source == "best_reachable"
                    else predicted[source][task.name]
                    for source in self._sources[task.name]
                ]
            )  # (1 + sources, rows)
            counted = arrow.in_space(labels, task, self._config.tasks)
            for column, value, at in groups:
                at = at[counted[at]]
                if len(at):
                    yield (task.name, column, value), stacked[:, at]


class _Measure(beam.DoFn):
    """((task, column, value), arrays) -> a record as JSON."""

    def __init__(self, config: Config, sources: Mapping[str, list[str]]) -> None:
        self._kinds = {task.name: task.kind for task in config.tasks}
        self._sources = sources

    def process(self, element: tuple[Key, Iterable[np.ndarray]]) -> Iterator[str]:
        (task, column, value), arrays = element
        label, *scores = np.concatenate(list(arrays), axis=1)
        record = {
            "task": task,
            "slice": column,
            "value": value,
            "rows": len(label),
            "mean_label": float(label.mean(dtype=np.float64)),
        }
        kind = self._kinds[task]
        for source, score in zip(self._sources[task], scores, strict=True):
            record[source] = metrics.measure(kind, label, score)
            if column == ALL and source != "baseline" and not record[source]["invalid"]:
                curves = record.setdefault("curves", {}).setdefault(source, {})
                curves["calibration"] = exact.calibration_bins(label, score)
                if kind == "binary":
                    curves["roc"] = exact.roc(label, score)
        yield json.dumps(record, allow_nan=False)


def _values(column: pa.Array) -> Iterator[tuple[str, np.ndarray]]:
    """Yields each value of a column as text, and the positions of its rows."""
    encoded = column.cast(pa.string()).fill_null(MISSING).dictionary_encode()
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(encoded.dictionary)))
    positions = np.split(order, ends[:-1])
    yield from zip(encoded.dictionary.to_pylist(), positions, strict=True)
