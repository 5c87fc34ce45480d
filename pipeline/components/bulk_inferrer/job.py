"""The Beam job that scores rows: groups of parts of files -> shards of scores."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.artifacts import examples, layout
from pipeline.beam.atomic import writing
from pipeline.beam.work import Work
from pipeline.components.bulk_inferrer import writers
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.logs import files
from pipeline.logs.dead_letters import DeadLetters, SourcedRows
from pipeline.logs.files import Source
from pipeline.logs.values import casting, lists
from pipeline.logs.values.casting import Column
from pipeline.progress import NOWHERE, Done


class Plan(NamedTuple):
    """What is done with every row.

    Attributes:
        config: The pipeline's config.
        model: The SavedModel.
        signatures: Those that are called.
        features: The columns that it takes in.
        kept: {column of the scores: column of the rows}.
        format: Of the scores.
        folder: Where dead letters go.
        work: Where shards go until all are whole.
        done: Counts the rows. Defaults to nowhere.
        side_fields: {column of lists: the one whose events it lists, too}.
    """

    config: Config
    model: Path
    signatures: Sequence[str]
    features: list[Column]
    kept: dict[str, Column]
    format: str
    folder: Path
    work: Path
    done: Done = NOWHERE
    side_fields: Mapping[str, str] = {}


class Report(NamedTuple):
    """What became of some rows; `reasons` are the first for which they are dead."""

    rows_in: int
    scored: int
    dead: int
    reasons: list[str]


class Infer(beam.PTransform):
    """(index, group of parts) -> (index, report); writes a shard of each group."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, groups: beam.PCollection) -> beam.PCollection:
        """Adds the transform."""
        return groups | "Infer" >> beam.ParDo(_Infer(self._plan))


class _Infer(Work):
    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def setup(self) -> None:
        from pipeline.artifacts.saved_model import Scorer

        self._scorer = Scorer(self._plan.model, self._plan.signatures)

    def process(
        self, numbered: tuple[int, Sequence[Source]]
    ) -> Iterator[tuple[int, Report | PipelineError]]:
        index, group = numbered
        try:
            report = self._infer(layout.part(index), group)
        except PipelineError as error:
            report = error
        yield index, report

    def _infer(self, name: str, group: Sequence[Source]) -> Report:
        plan, rows_in = self._plan, 0
        wanted = [c.source for c in (*plan.features, *plan.kept.values())]
        wanted += [c.weights for c in plan.features if c.weights]
        wanted = list(dict.fromkeys(wanted))
        letters = DeadLetters(plan.folder, name, plan.work)

        def read() -> Iterator[tuple[list[pa.Array], list[dict]]]:
            nonlocal rows_in
            for source in group:
                listed = files.listed_columns(source) or wanted
                there = [name for name in wanted if name in listed]
                for chunk in files.read(source, there, plan.done):
                    rows_in += chunk.lines
                    letters.add_unparsed(source, chunk.unparsed)
                    features, misfits = casting.cast(chunk.rows, plan.features)
                    columns, wrong = casting.cast(chunk.rows, list(plan.kept.values()))
                    kept = columns.columns
                    unequal = lists.unequal(features, plan.side_fields)
                    misfits = {**unequal, **wrong, **misfits}
                    part = np.zeros(chunk.rows.num_rows, int)
                    rows = SourcedRows(chunk.rows, [source], part, chunk.positions)
                    letters.add(rows, misfits)
                    if misfits:
                        fits = np.ones(chunk.rows.num_rows, bool)
                        fits[list(misfits)] = False
                        features = features.filter(pa.array(fits))
                        kept = [column.filter(pa.array(fits)) for column in kept]
                    if features.num_rows:
                        yield kept, self._inputs(features)

        with writing(plan.folder), letters:
            shard = plan.work / layout.SCORE_FILES[plan.format].replace("*", name)
            scores = (self._scores(*rows) for rows in _ahead(read()))
            scored = writers.write(plan.format, shard, scores)
        return Report(rows_in, scored, letters.count, letters.reasons)

    def _inputs(self, features: pa.RecordBatch) -> list[dict]:
        """What the model takes in, in batches."""
        size = examples.BATCH_ROWS
        starts = range(0, features.num_rows, size)
        return [self._scorer.inputs(features.slice(at, size)) for at in starts]

    def _scores(self, kept: list[pa.Array], inputs: list[dict]) -> pa.RecordBatch:
        """The rows of a shard: what is kept of them, and what the model says."""
        found = [self._scorer.predict(batch) for batch in inputs]
        columns = dict(zip(self._plan.kept, kept, strict=True))
        for name in sorted(found[0]):
            columns[name] = pa.concat_arrays([pa.array(of[name]) for of in found])
        return pa.RecordBatch.from_pydict(columns)


def _ahead(items: Iterator[Any]) -> Iterator[Any]:
    """Yields items; the next one is made while one is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
