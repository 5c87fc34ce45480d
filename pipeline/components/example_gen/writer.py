"""Rows of logs become examples, in shards of the three splits, or dead letters."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from pipeline.artifacts import layout
from pipeline.artifacts.layout import SPLITS
from pipeline.beam.atomic import writing
from pipeline.components.example_gen import splits
from pipeline.components.example_gen.plan import Plan, Report
from pipeline.components.example_gen.shards import Shards
from pipeline.logs import evaluation, files
from pipeline.logs.dead_letters import DeadLetters, SourcedRows
from pipeline.logs.files import Source
from pipeline.logs.values import casting, lists, times
from pipeline.logs.values.casting import Misfits
from pipeline.logs.values.scalars import readable


def ingest(plan: Plan, index: int, group: Sequence[Source]) -> Report:
    """Reads some parts of logs and writes their rows and dead letters."""
    with Output(plan, layout.part(index)) as output:
        rows_in, filtered, forms = 0, 0, Counter()
        for number, source in enumerate(group):
            for chunk in files.read(source, done=plan.done):
                output.letters.add_unparsed(source, chunk.unparsed)
                rows_in += chunk.lines
                raw, positions, wrong, dropped = evaluation.select(plan.where, chunk)
                filtered += dropped
                batch, misfits = casting.cast(raw, plan.columns)
                forms.update(chunk.forms | casting.whole_forms(raw, plan.columns))
                part = np.full(raw.num_rows, number)
                rows = SourcedRows(raw, group, part, positions)
                output.add(batch, rows, {**misfits, **wrong})
    report = output.report()
    return report._replace(rows_in=rows_in, filtered=filtered, forms=forms)


class Output:
    """What one call of a worker writes: shards of the three splits, and dead letters.

    A context manager; `report` counts what was written when it is left.
    """

    def __init__(self, plan: Plan, name: str):
        self.plan = plan
        self.pool = ThreadPoolExecutor(1)
        self.letters = DeadLetters(plan.folder, name, plan.work)
        self.shards = [
            Shards(layout.split(plan.folder, split), name, plan.work, self.pool)
            for split in SPLITS
        ]

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, kind, error, trace) -> None:
        with self.pool, writing(self.plan.folder):
            with self.letters:
                if error is not None:
                    raise error
                self.rows = [shards.close() for shards in self.shards]

    def report(self) -> Report:
        """What has been written."""
        return Report(
            rows=Counter(dict(zip(SPLITS, self.rows, strict=True))),
            dead=self.letters.count,
            reasons=tuple(self.letters.reasons),
        )

    def add(self, batch: pa.RecordBatch, rows: SourcedRows, misfits: Misfits) -> None:
        """Computes the labels, splits the rows and writes them.

        Args:
            batch: The rows with the types of examples, without their labels.
            rows: Where they are from.
            misfits: Those that become dead letters whatever follows.
        """
        unlabelled = batch
        for name, expression in self.plan.labels.items():
            values, wrong = expression.values(unlabelled)
            label = pa.array(values, mask=np.isnan(values))
            batch = batch.append_column(name, label)
            misfits = {**wrong, **misfits}
        misfits = {**lists.unequal(batch, self.plan.side_fields), **misfits}
        split, unsplit = _assign(self.plan, rows, batch)
        misfits = {**unsplit, **misfits}
        split[list(misfits)] = -1
        for number, shards in enumerate(self.shards):
            shards.add(batch.filter(pa.array(split == number)))
        self.letters.add(rows, misfits)


def _assign(
    plan: Plan, rows: SourcedRows, batch: pa.RecordBatch
) -> tuple[np.ndarray, Misfits]:
    """The split of each row, as a position in `SPLITS`, and who has none."""
    split, misfits = plan.split, {}
    if split.by == "time":
        column = batch.column(split.column)
        values = times.seconds(column)
        needed = "a number or an ISO 8601 time"
        misfits = _unsplit(split.column, column, ~np.isfinite(values), needed)
        return splits.by_time(values, plan.limits), misfits
    given = np.array([SPLITS.index(part.split or "train") for part in rows.parts])
    found = given.astype(np.int8)[rows.part]
    if split.by == "given" and not plan.cuts_valid:
        return found, {}
    columns = {name: batch.column(name) for name in split.columns}
    for name, column in columns.items():
        missing = column.is_null().to_numpy(zero_copy_only=False)
        misfits |= _unsplit(name, column, missing, "a value")
    if columns:
        places = splits.hashed(list(columns.values()))
    else:
        files = [part.path for part in rows.parts]
        places = splits.drawn(files, rows.part, rows.positions, split.seed)
    if split.by != "given":
        return splits.by_share(places, split.train, split.valid), misfits
    cut = (found == SPLITS.index("train")) & (places < split.valid)
    return np.where(cut, SPLITS.index("valid"), found), misfits


def _unsplit(name: str, column: pa.Array, bad: np.ndarray, needed: str) -> Misfits:
    return {
        int(row): f"column {name!r}: the split needs {needed}. Received: "
        f"{readable(column, int(row))!r}"
        for row in np.flatnonzero(bad)
    }
