"""Permutation importance: what a model's metrics lose without a feature.

The column of a feature, of a sequence the whole list, is permuted over a sample of the
test rows, so that it keeps its values and tells nothing of its row any more. What the
AUC, or Spearman correlation, of a task then loses is what the model has from it.

    features -> every task's predictions of all rows -> group by task -> drops

An element is a feature, so the cost is features x rows predictions. The sample, the
permutations and the batches depend on the seed and on the rows' places in the split
alone: neither shards nor workers change a number.

Two features that tell the same share what they tell: each may look small.

References:
    Breiman, Random Forests, 2001, section 10.
    Fisher, Rudin and Dominici, All Models are Wrong, but Many are Useful, 2019.
"""

import functools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import progress
from pipeline.artifacts import examples, saved_model
from pipeline.beam import results
from pipeline.beam.work import Work
from pipeline.components.evaluator import job, metrics
from pipeline.config import Config
from pipeline.progress import Done
from pipeline.storage import away

# In the place of a feature: nothing is permuted. No feature has this name.
_NOTHING = ""
_SHOWN = "what features bring", "features"

# {value of the domain, or None for all rows: {feature: its drop}}
Drops = dict[str | None, dict[str, dict]]


def importance(config: Config, split: Path, model: Path, work: Path) -> dict:
    """Runs the jobs and returns the importance of all features.

    Args:
        config: The pipeline's config; `evaluate.importance` says how many rows.
        split: The folder of the examples to measure on.
        model: The SavedModel.
        work: A folder where the jobs may write; a distributed runner must reach it.

    Returns:
        {"rows": of the sample, "features": names, "metrics": {task: metric},
        "domain": its column or None, "tasks": {task: {feature: drop}}, "domains":
        {value: {task: {feature: drop}}}}, with drops as `metrics.drops` makes them.
    """
    features = [feature.name for feature in saved_model.features(model)]
    with tempfile.TemporaryDirectory(prefix=".importance-", dir=work) as folder:
        sample = Path(folder) / "sample"
        rows = _write_sample(config, split, features, sample)
        workers = results.Workers(config.beam, Path(folder))
        wanted = [_NOTHING, *features]
        with progress.counting(len(wanted), workers.folder, *_SHOWN) as done:
            measure = MeasureDrops(config, sample, model, done)
            found = results.run(workers, wanted, measure)
    domains: dict[str, dict[str, dict]] = {}
    for task in config.tasks:
        for value, drops in found[task.name].items():
            if value is not None:
                domains.setdefault(value, {})[task.name] = drops
    return {
        "rows": rows,
        "features": features,
        "metrics": {task.name: metrics.PRIMARY[task.kind] for task in config.tasks},
        "domain": config.domain,
        "tasks": {task.name: found[task.name][None] for task in config.tasks},
        "domains": dict(sorted(domains.items())),
    }


def _write_sample(
    config: Config, split: Path, features: Sequence[str], path: Path
) -> int:
    """Writes the sample's rows, in their order; returns how many there are."""
    wanted = [*features, *examples.label_columns(config.tasks)]
    wanted += [c for c in (config.domain, config.evaluate.group) if c]
    rows = examples.count_rows(split)
    chosen = np.arange(rows)
    if rows > config.evaluate.importance.rows:
        random = np.random.default_rng(config.evaluate.importance.seed)
        chosen = random.choice(rows, config.evaluate.importance.rows, replace=False)
        chosen.sort()
    take = functools.partial(_take, list(dict.fromkeys(wanted)), chosen)
    workers = results.Workers(config.beam, path.parent)
    tables = results.parallel_map(workers, take, examples.ranges(split))
    pq.write_table(pa.concat_tables(tables), path)
    return len(chosen)


def _take(
    columns: list[str], chosen: np.ndarray, index: int, rows: examples.Range
) -> pa.Table:
    """The chosen ones of a range of rows."""
    start, taken = rows.first, []
    for batch in rows.batches(columns):
        at = chosen[np.searchsorted(chosen, start) :] - start
        start += batch.num_rows
        taken.append(batch.take(pa.array(at[at < batch.num_rows])))
    return pa.Table.from_batches(taken)


class MeasureDrops(beam.PTransform):
    """feature, or "" -> (task, {domain's value, or None: {feature: drop}}).

    Args:
        config: The pipeline's config.
        sample: A Parquet file with the rows.
        model: The SavedModel.
        done: Counts the features.
    """

    def __init__(self, config: Config, sample: Path, model: Path, done: Done) -> None:
        super().__init__()
        self._score = _Score(config, sample, model, done)
        self._measure = _Measure(config, sample)

    def expand(self, features: beam.PCollection) -> beam.PCollection:
        """Adds the transforms."""
        return (
            features
            | "Score" >> beam.ParDo(self._score)
            | "Group" >> beam.GroupByKey()
            | "Measure" >> beam.ParDo(self._measure)
        )


class _Score(Work):
    """feature -> (task, (feature, scores of all rows with its column permuted))."""

    def __init__(self, config: Config, sample: Path, model: Path, done: Done) -> None:
        self._config, self._sample, self._model = config, sample, model
        self._done = done

    def setup(self) -> None:
        from pipeline.artifacts.saved_model import Scorer

        self._scorer = Scorer(self._model)
        sample = _read(self._sample)
        self._rows = sample.num_rows
        self._inputs = self._scorer.inputs(sample)

    def process(self, feature: str) -> Iterator[tuple[str, tuple[str, np.ndarray]]]:
        inputs = dict(self._inputs)
        if feature != _NOTHING:
            import tensorflow as tf

            # By its name: other features do not change it.
            seed = [self._config.evaluate.importance.seed, *feature.encode()]
            order = np.random.default_rng(seed).permutation(self._rows)
            inputs[feature] = tf.gather(inputs[feature], order)
        found = []
        for start in range(0, self._rows, examples.BATCH_ROWS):
            rows = slice(start, start + examples.BATCH_ROWS)
            found.append(self._scorer.predict({n: t[rows] for n, t in inputs.items()}))
        for task in self._config.tasks:
            scores = np.concatenate([metrics.predictions(task, of) for of in found])
            yield task.name, (feature, scores)
        self._done.add(1)


class _Measure(Work):
    """(task, [(feature, scores)]) -> (task, drops)."""

    def __init__(self, config: Config, sample: Path) -> None:
        self._config, self._sample = config, sample

    def process(
        self, element: tuple[str, Iterable[tuple[str, np.ndarray]]]
    ) -> Iterator[tuple[str, Drops]]:
        name, scores = element
        config, sample = self._config, _read(self._sample)
        task = next(task for task in config.tasks if task.name == name)
        permuted = dict(sorted(scores))
        score = permuted.pop(_NOTHING)
        labels = examples.labels(sample, config.tasks)
        label = labels[task.label_column]
        weight = examples.weights(labels, task)
        group = None
        if config.evaluate.group:
            group = examples.codes([sample.column(config.evaluate.group)])
        counted = examples.in_space(labels, task, config.tasks)
        places: list[tuple[str | None, np.ndarray]] = [(None, np.arange(len(label)))]
        if config.domain:
            places += job.value_rows(sample.column(config.domain))
        drops = {}
        for value, at in places:
            at = at[counted[at]]
            if len(at):
                drops[value] = metrics.drops(
                    task.kind,
                    label[at],
                    score[at],
                    {feature: of[at] for feature, of in permuted.items()},
                    None if weight is None else weight[at],
                    None if group is None else group[at],
                )
        drops.setdefault(None, {})
        yield name, drops


def _read(sample: Path) -> pa.RecordBatch:
    (batch,) = pq.read_table(away.fetch(sample)).combine_chunks().to_batches()
    return batch
