"""A Beam job: impressions get what came of them, and what their user did before.

```
impressions --read--> batches by partition --\
click log   --read--> batches by partition ----CoGroupByKey--> match --> examples
play log    --read--> batches by partition --/
```

All that belongs together meets in one partition after one shuffle, whatever the number
of logs. `pipeline.components.example_gen.matching` has the rules.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.artifacts import layout
from pipeline.artifacts.layout import SPLITS
from pipeline.beam import results
from pipeline.beam.runner import pipeline
from pipeline.components.example_gen import matching, writer
from pipeline.components.example_gen import partitions as shuffle
from pipeline.components.example_gen.partitions import (
    HISTORY,
    KEY,
    PART,
    POSITION,
    TIME,
    Count,
    Log,
)
from pipeline.config.data import Action, History
from pipeline.logs.files import Source
from pipeline.logs.formats import CHUNK_ROWS

# What a compressed log holds is taken for four times its size.
_PARTITION_BYTES, _EXPANSION = 32 << 20, 4
_MATCH = ""  # the step's name; those that read have their log's


class Matches(NamedTuple):
    """Actions that were read, by what became of them.

    `duplicates` are equal to an earlier one in key, time and all columns that are read;
    `kept` are those of a log without a window, for histories only. `unlabelled` counts
    impressions, not actions: those of which nobody can tell what came.
    """

    matched: int = 0
    unmatched: int = 0
    duplicates: int = 0
    kept: int = 0
    unlabelled: int = 0


class Result(NamedTuple):
    """What became of all rows: the reports add up to the impressions' `rows_in`."""

    reports: list[writer.Report]
    read: dict[str, Count]
    matches: dict[str, Matches]


def join(
    plan: writer.Plan,
    groups: Sequence[Sequence[Source]],
    impressions: Log,
    logs: Sequence[Log],
) -> Result:
    """Runs the job.

    Args:
        plan: What is done with every row.
        groups: The parts of the impressions, as they are read together.
        impressions: The impressions.
        logs: The logs of actions.

    Raises:
        PipelineError: If a file cannot be read or written.
    """
    size = sum(
        part.size * (_EXPANSION if part.compression else 1)
        for log in (impressions, *logs)
        for part in log.parts
    )
    partitions = min(max(-(-size // _PARTITION_BYTES), 1), 10_000)
    reports = plan.work / "reports"
    reports.mkdir()
    number = {id(part): i for i, part in enumerate(impressions.parts)}
    reads = [[[(number[id(part)], part) for part in group] for group in groups]]
    reads += [[[(i, part)] for i, part in enumerate(log.parts)] for log in logs]
    with pipeline(plan.config) as p:
        rows, ends = {}, []
        for log, items in zip((impressions, *logs), reads, strict=True):
            step = shuffle.Read(plan, log, partitions, reports)
            read = (
                p
                | f"{log.name}: parts" >> beam.Create(list(enumerate(items)))
                | f"{log.name}: read" >> beam.ParDo(step)
            )
            rows[log.name] = read | f"{log.name}: rows" >> beam.Filter(_is_rows)
            ends.append(read | f"{log.name}: end" >> beam.FlatMap(_end))
        end = ends | beam.Flatten() | beam.CombineGlobally(_latest)
        match = _Match(plan, impressions, logs, reports)
        _ = rows | beam.CoGroupByKey() | beam.ParDo(match, beam.pvalue.AsSingleton(end))
    return _result(reports, [log.name for log in (impressions, *logs)])


def _is_rows(element: tuple[int, Any]) -> bool:
    return element[0] != shuffle.END


def _end(element: tuple[int, Any]) -> list[float]:
    return [] if _is_rows(element) else [element[1]]


def _latest(times: Iterable[float]) -> float:
    return max(times, default=-np.inf)


def _result(folder: Path, names: list[str]) -> Result:
    reports = results.read(folder)

    def of_step(name: str) -> list[Any]:
        return [report for (step, _), report in reports.items() if step == name]

    def total(of: type, parts: list[Any]) -> Any:
        return of(
            *(sum(column, type(column[0])()) for column in zip(*parts, strict=True))
        )

    read = {name: of_step(name) for name in names}
    partitions = of_step(_MATCH)
    impressions = total(Count, [Count(), *read[names[0]]])
    lost = writer.Report(
        dict.fromkeys(SPLITS, 0),
        impressions.dead,
        list(impressions.reasons),
        impressions.filtered,
        forms=frozenset(impressions.forms),
    )
    return Result(
        [lost, *(report for report, _ in partitions)],
        {name: total(Count, [Count(), *parts]) for name, parts in read.items()},
        {
            name: total(Matches, [Matches(), *(of[name] for _, of in partitions)])
            for name in names[1:]
        },
    )


class _Match(shuffle.Step):
    """(partition, {log: batches}) -> the examples of a partition, written."""

    def __init__(
        self, plan: writer.Plan, impressions: Log, logs: Sequence[Log], reports: Path
    ):
        super().__init__(reports, _MATCH)
        self.plan, self.impressions, self.logs = plan, impressions, logs

    def run(
        self, element: tuple[int, dict[str, Iterable[bytes]]], end: float
    ) -> Iterator[Any]:
        yield from ()
        number, batches = element
        data = self.plan.config.data
        if data.until is not None:
            (end,) = shuffle.seconds(pa.array([data.until]), data)
        impressions = shuffle.unpacked(self.impressions, batches["impressions"])
        logs, counts = {}, {}
        for log in self.logs:
            rows = shuffle.unpacked(log, batches[log.name])
            new = _unique(rows)
            logs[log.name] = rows.filter(pa.array(new))
            counts[log.name] = Matches(duplicates=int(np.sum(~new)))
        made, dropped = {}, np.zeros(impressions.num_rows, bool)
        for action in data.actions:
            rows = logs[action.name]
            if action.window is None:
                counts[action.name] = counts[action.name]._replace(kept=rows.num_rows)
                continue
            columns, late, matched = outcomes(action, impressions, rows, end)
            made |= columns
            dropped |= late
            counts[action.name] = counts[action.name]._replace(
                matched=matched,
                unmatched=rows.num_rows - matched,
                unlabelled=columns[action.name].null_count,
            )
        for history in data.history:
            rows = logs[history.actions] if history.actions else impressions
            made[history.name] = earlier_items(history, impressions, rows)
        examples = impressions.select([column.name for column in self.plan.columns])
        for name, column in made.items():
            examples = examples.append_column(name, column)
        kept = np.flatnonzero(~dropped)
        with writer.Output(self.plan, layout.part(number)) as output:
            for start in range(0, len(kept), CHUNK_ROWS):
                chosen = kept[start : start + CHUNK_ROWS]
                batch = examples.take(pa.array(chosen))
                part, position = (
                    impressions.column(name).to_numpy()[chosen]
                    for name in (PART, POSITION)
                )
                parts = self.impressions.parts
                output.add(writer.SourcedRows(batch, parts, part, position, batch), {})
        report = output.report()._replace(incomplete=int(np.sum(dropped)))
        return report, counts


def outcomes(
    action: Action, impressions: pa.RecordBatch, rows: pa.RecordBatch, end: float
) -> tuple[dict[str, pa.Array], np.ndarray, int]:
    """What came of the impressions.

    Args:
        action: Which actions count.
        impressions: The impressions of a partition, as they travel.
        rows: The actions of the partition, as they travel.
        end: The time at which the logs end.

    Returns:
        The new columns; bool (impressions,), those to be dropped; how many actions
        belong to an impression.
    """
    keys, action_keys = matching.codes(
        *(
            [table.column(KEY + name) for name in action.key]
            for table in (impressions, rows)
        )
    )
    times, action_times = (
        table.column(TIME).to_numpy() for table in (impressions, rows)
    )
    owner = matching.owners(keys, times, action_keys, action_times, action.window)
    seen = np.bincount(owner[owner >= 0], minlength=len(keys)) > 0
    late = times + action.window > end
    unknown = np.zeros(len(keys), bool)
    for name in action.key:
        null = impressions.column(KEY + name).is_null()
        unknown |= null.to_numpy(zero_copy_only=False)
    if action.incomplete == "unlabelled":
        unknown |= late
    columns = {action.name: pa.array(seen.astype(np.float64), mask=unknown)}
    for name, value in action.values.items():
        column = matching.take(
            value.take, owner, action_times, rows.column(name), len(keys)
        )
        nothing = pa.scalar(None, column.type)
        columns[name] = pc.if_else(pa.array(unknown), nothing, column)
    dropped = late if action.incomplete == "drop" else np.zeros(len(keys), bool)
    return columns, dropped, int(np.sum(owner >= 0))


def earlier_items(
    history: History, impressions: pa.RecordBatch, rows: pa.RecordBatch
) -> pa.Array:
    """What the impressions' users did before: lists, the oldest first.

    Args:
        history: Which actions count.
        impressions: The impressions of a partition, as they travel.
        rows: The actions of the partition, or again the impressions.
    """
    items, key = rows.column(HISTORY + history.name), rows.column(KEY + history.key)
    rows = rows.filter(pc.and_(items.is_valid(), key.is_valid()))
    keys, action_keys = matching.codes(
        *([table.column(KEY + history.key)] for table in (impressions, rows))
    )
    offsets, positions = matching.earlier(
        keys,
        impressions.column(TIME).to_numpy(),
        action_keys,
        rows.column(TIME).to_numpy(),
        history.max_length,
        history.min_delay,
    )
    items = rows.column(HISTORY + history.name).take(pa.array(positions))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), items)


def _unique(rows: pa.RecordBatch) -> np.ndarray:
    """The rows that are equal to no earlier one: bool (rows,)."""
    codes = []
    for name in rows.schema.names:
        if name not in (PART, POSITION):
            indices = rows.column(name).dictionary_encode().indices
            codes.append(indices.fill_null(-1).to_numpy(zero_copy_only=False))
    return matching.first_of_equals(*codes)
