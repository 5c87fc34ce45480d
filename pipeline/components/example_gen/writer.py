"""What ExampleGen's workers do with logs: look at them, and turn them into examples."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.artifacts import layout
from pipeline.artifacts.layout import SPLITS
from pipeline.components.example_gen import splits
from pipeline.components.example_gen.dead_letters import DeadLetters, Letter, readable
from pipeline.components.example_gen.shards import Shards
from pipeline.config import Config, expressions
from pipeline.errors import PipelineError
from pipeline.logs import casting as columns
from pipeline.logs import evaluation, files
from pipeline.logs.casting import Column, Misfits
from pipeline.logs.files import Source


class Plan(NamedTuple):
    """What is done with every row.

    Attributes:
        config: Its `data` section.
        columns: The columns of the logs.
        limits: Of the split by time.
        folder: Where the examples go.
        work: A folder for what is not whole yet.
    """

    config: Config
    columns: list[Column]
    limits: np.ndarray | None
    folder: Path
    work: Path


class Report(NamedTuple):
    """What became of the rows of some logs.

    `rows` by split; `dead` with the first `reasons`; `filtered`: `where` did not hold;
    `incomplete`: dropped, since the time for an action was not over; `forms`: of whole
    numbers, as `columns.whole_forms` finds them.
    """

    rows: dict[str, int]
    dead: int
    reasons: list[str]
    filtered: int = 0
    incomplete: int = 0
    forms: frozenset[tuple[str, str]] = frozenset()

    @property
    def rows_in(self) -> int:
        """All rows that were read."""
        return sum(self.rows.values()) + self.dead + self.filtered + self.incomplete


def total(reports: Sequence[Report]) -> Report:
    """The sum of reports."""
    return Report(
        {name: sum(report.rows[name] for report in reports) for name in SPLITS},
        sum(report.dead for report in reports),
        [reason for report in reports for reason in report.reasons],
        sum(report.filtered for report in reports),
        sum(report.incomplete for report in reports),
        frozenset().union(*(report.forms for report in reports)),
    )


class SourcedRows(NamedTuple):
    """Rows with the types of examples, and where each is from.

    Attributes:
        batch: The rows.
        parts: Parts of logs.
        part: int (rows,). The position in `parts` that a row is from.
        positions: int64 (rows,). Its place there.
        raw: The rows as they stand in the logs.
    """

    batch: pa.RecordBatch
    parts: Sequence[Source]
    part: np.ndarray
    positions: np.ndarray
    raw: pa.RecordBatch


def kinds_of(config: Config) -> dict[str, str]:
    """{column: type} of the columns that the config names."""
    kinds: dict[str, str] = {}
    for path, name, kind in config.columns():
        if name in config.data.made():
            continue
        earlier = kinds.get(name, kind)
        if earlier != kind and (kind != "any" or earlier == "list"):
            raise PipelineError(
                f"{path}: column {name!r} cannot be of type {kind!r} here and "
                f"{earlier!r} elsewhere. Give the logs two columns"
            )
        kinds[name] = earlier
    return kinds


def ingest(plan: Plan, index: int, group: Sequence[Source]) -> Report:
    """Reads some parts of logs and writes their rows and dead letters."""
    with Output(plan, layout.part(index)) as output:
        filtered, forms = 0, frozenset()
        for number, source in enumerate(group):
            for chunk in files.read(source):
                output.letters.add_unparsed(source, chunk.unparsed)
                raw, positions, wrong, dropped = select(
                    plan.config, plan.config.data.where, chunk.rows, chunk.positions
                )
                filtered += dropped
                batch, misfits = columns.cast(raw, plan.columns)
                forms |= columns.whole_forms(raw, plan.columns)
                part = np.full(raw.num_rows, number)
                rows = SourcedRows(batch, group, part, positions, raw)
                output.add(rows, {**misfits, **wrong})
    return output.report()._replace(filtered=filtered, forms=forms)


def select(
    config: Config, where: str | None, rows: pa.RecordBatch, positions: np.ndarray
) -> tuple[pa.RecordBatch, np.ndarray, Misfits, int]:
    """The rows for which an expression holds, and those on which it cannot be computed.

    Args:
        config: Says which texts are missing values.
        where: The expression; all rows are selected without one.
        rows: The rows.
        positions: (rows,). Where they stand.

    Returns:
        The rows and their positions; {row: what is wrong}; how many rows are left out.
    """
    if where is None:
        return rows, positions, {}, 0
    holds, wrong = evaluation.values(
        expressions.parse(where), rows, config.missing_words
    )
    kept = np.nan_to_num(holds) != 0
    kept[list(wrong)] = True
    place = np.cumsum(kept) - 1
    misfits = {int(place[row]): reason for row, reason in wrong.items()}
    chosen = rows.filter(pa.array(kept))
    return chosen, positions[kept], misfits, int(np.sum(~kept))


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
        labels = plan.config.data.labels
        self.labels = {name: expressions.parse(text) for name, text in labels.items()}

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
        rows = dict(zip(SPLITS, self.rows, strict=True))
        return Report(rows, self.letters.count, self.letters.reasons)

    def add(self, rows: SourcedRows, misfits: Misfits) -> None:
        """Computes the labels, splits the rows and writes them.

        Args:
            rows: The rows, without their labels.
            misfits: Those that become dead letters whatever follows.
        """
        batch = rows.batch
        for name, tree in self.labels.items():
            values, wrong = evaluation.values(
                tree, rows.batch, self.plan.config.missing_words
            )
            label = pa.array(values, mask=np.isnan(values))
            batch = batch.append_column(name, label)
            misfits = {**wrong, **misfits}
        split, unsplit = _assign(self.plan, rows, batch)
        misfits = {**unsplit, **misfits}
        split[list(misfits)] = -1
        for number, shards in enumerate(self.shards):
            shards.add(batch.filter(pa.array(split == number)))
        self.letters.add(
            letters(rows.parts, rows.part, rows.positions, rows.raw, misfits)
        )


def letters(
    parts: Sequence[Source],
    part: np.ndarray | int,
    positions: np.ndarray,
    raw: pa.RecordBatch,
    misfits: Misfits,
) -> Iterator[Letter]:
    """Dead letters of the rows that do not fit; arguments as of `SourcedRows`."""
    for row, reason in misfits.items():
        source = parts[part if isinstance(part, int) else part[row]]
        yield Letter(source, int(positions[row]), reason, readable(raw, row))


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What goes wrong while files are written becomes an error about the folder."""
    try:
        yield
    except OSError as error:
        raise PipelineError(
            f"{folder}: cannot be written to: {error}. Make room, or set `workspace` "
            "to a folder on another disk"
        ) from error


def _assign(
    plan: Plan, rows: SourcedRows, batch: pa.RecordBatch
) -> tuple[np.ndarray, Misfits]:
    """The split of each row, as a position in `SPLITS`, and who has none."""
    split = plan.config.data.split
    if split.by == "given":
        given = [SPLITS.index(part.split) for part in rows.parts]
        return np.array(given, np.int8)[rows.part], {}
    column = batch.column(split.column)
    if split.by == "hash":
        bad = column.is_null().to_numpy(zero_copy_only=False)
        result = splits.by_hash(column, split.train, split.valid)
    else:
        values = splits.times(column)
        bad = ~np.isfinite(values)
        result = splits.by_time(values, plan.limits)
    needs = "a number or an ISO 8601 time" if split.by == "time" else "a value"
    return result, {
        int(row): f"column {split.column!r}: the split needs {needs}. Received: "
        f"{column[int(row)].as_py()!r}"
        for row in np.flatnonzero(bad)
    }
