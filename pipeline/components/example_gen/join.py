"""A Beam job: impressions get what came of them, and what their user did before.

```
impressions --\
click log   ----read--> batches by partition --GroupByKey--> match --> examples
play log    --/
```

All that belongs together meets in one partition after one shuffle, whatever the number
of logs. `pipeline.components.example_gen.matching` has the rules.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.artifacts import layout
from pipeline.beam import results
from pipeline.beam.results import Workers
from pipeline.components.example_gen import matching, partitions, writer
from pipeline.components.example_gen.joined_logs import (
    HISTORY,
    IMPRESSIONS,
    KEY,
    PART,
    POSITION,
    TIME,
    Log,
)
from pipeline.components.example_gen.plan import Plan, Report, total
from pipeline.config.data import Data
from pipeline.config.joins import Action, History
from pipeline.errors import PipelineError
from pipeline.logs.dead_letters import SourcedRows
from pipeline.logs.files import Source
from pipeline.logs.formats import CHUNK_ROWS
from pipeline.logs.values import times
from pipeline.logs.values.scalars import readable

FATES = ("matched", "unmatched", "duplicates", "kept")  # of actions
# What a compressed log holds is taken for four times its size.
_PARTITION_BYTES, _EXPANSION = 32 << 20, 4


def join(
    plan: Plan,
    data: Data,
    logs: Sequence[Log],
    groups: Sequence[Sequence[Source]],
    workers: Workers,
) -> dict[str, Report]:
    """Runs the job.

    Args:
        plan: What is done with every row.
        data: The section of the config.
        logs: The impressions, and the logs of actions.
        groups: The parts of the impressions, as they are read together.
        workers: Who does it.

    Returns:
        {name of a log: what became of its rows}.

    Raises:
        PipelineError: If a file cannot be read or written.
    """
    size = sum(
        part.size * (_EXPANSION if part.compression else 1)
        for log in logs
        for part in log.parts
    )
    count = min(max(-(-size // _PARTITION_BYTES), 1), 10_000)
    number = itertools.count()
    elements = [
        (0, i, [(next(number), part) for part in group])
        for i, group in enumerate(groups)
    ]
    elements += [
        (which, i, [(i, part)])
        for which, log in enumerate(logs[1:], 1)
        for i, part in enumerate(log.parts)
    ]
    found = results.run(workers, elements, Join(plan, data, logs, count))
    return {
        log.name: total(report for (_, of, _), report in found.items() if of == which)
        for which, log in enumerate(logs)
    }


class Join(beam.PTransform):
    """`partitions.Element` -> (key, report); writes the examples.

    The key is (0, which log, element) of what was read, (1, which log, partition) of
    what was matched.

    Args:
        plan: What is done with every row.
        data: The section of the config.
        logs: The impressions, and the logs of actions.
        count: Of partitions.
    """

    def __init__(self, plan: Plan, data: Data, logs: Sequence[Log], count: int):
        super().__init__()
        self._read = partitions.Read(plan, logs, count)
        self._match = _Match(plan, data, logs)

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        """Adds the transforms."""
        read = elements | "Read" >> beam.ParDo(self._read)
        rows = read | "Rows" >> beam.Filter(lambda found: found[0] != partitions.REPORT)
        done = read | "Reports" >> beam.FlatMap(_report)
        end = done | "End" >> beam.Map(lambda d: d[2]) | beam.CombineGlobally(_latest)
        matched = (
            rows
            | "Shuffle" >> beam.GroupByKey()
            | "Match" >> beam.ParDo(self._match, beam.pvalue.AsSingleton(end))
        )
        was_read = done | "Keys" >> beam.Map(lambda d: ((0, *d[0]), d[1]))
        return (was_read, matched) | "Both" >> beam.Flatten()


def _report(found: tuple[int, Any]) -> list[Any]:
    partition, report = found
    return [report] if partition == partitions.REPORT else []


def _latest(times: Iterable[float]) -> float:
    return max(times, default=-np.inf)


class _Match(beam.DoFn):
    """(partition, [(which log, rows)]) -> (key, report) of each log; see `Join`."""

    def __init__(self, plan: Plan, data: Data, logs: Sequence[Log]):
        self.plan, self.data, self.logs = plan, data, logs

    def process(
        self, element: tuple[int, Iterable[tuple[int, bytes]]], end: float
    ) -> Iterator[tuple[tuple[int, int, int], Any]]:  # of a `Report`, Beam makes a row
        number, batches = element
        packed: dict[int, list[bytes]] = {which: [] for which in range(len(self.logs))}
        for which, batch in batches:
            packed[which].append(batch)
        rows = {
            log.name: partitions.unpacked(log, packed[which])
            for which, log in enumerate(self.logs)
        }
        if self.data.until is not None:
            (end,) = times.seconds(pa.array([self.data.until]), self.logs[0].unit)
        try:
            reports = self._match(number, rows, end)
        except PipelineError as error:
            reports = {IMPRESSIONS: error}
        for which, log in enumerate(self.logs):
            if log.name in reports:
                yield (1, which, number), reports[log.name]

    def _match(
        self, number: int, rows: dict[str, pa.RecordBatch], end: float
    ) -> dict[str, Report]:
        impressions, reports = rows[IMPRESSIONS], {}
        made, dropped = {}, np.zeros(impressions.num_rows, bool)
        for action in self.data.actions:
            new = _unique(rows[action.name])
            of = rows[action.name] = rows[action.name].filter(pa.array(new))
            fates, unlabelled, at_once = Counter(duplicates=int(np.sum(~new))), 0, 0
            if action.window is None:
                fates["kept"] = of.num_rows
            else:
                columns, late, owner = outcomes(action, impressions, of, end)
                matched = int(np.sum(owner >= 0))
                made |= columns
                dropped |= late
                fates.update(matched=matched, unmatched=of.num_rows - matched)
                unlabelled = columns[action.name].null_count
                at_once = _at_once(impressions, of, owner)
            reports[action.name] = Report(
                rows=fates, unlabelled=unlabelled, at_once=at_once
            )
        for history in self.data.history:
            listed = rows[history.actions or IMPRESSIONS]
            made[history.name] = earlier_items(history, impressions, listed)
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
                source = SourcedRows(batch, self.logs[0].parts, part, position)
                output.add(batch, source, {})
        report = output.report()._replace(incomplete=int(np.sum(dropped)))
        return {**reports, IMPRESSIONS: report}


def outcomes(
    action: Action, impressions: pa.RecordBatch, rows: pa.RecordBatch, end: float
) -> tuple[dict[str, pa.Array], np.ndarray, np.ndarray]:
    """What came of the impressions.

    Args:
        action: Which actions count.
        impressions: The impressions of a partition, as they travel.
        rows: The actions of the partition, as they travel.
        end: The time at which the logs end.

    Returns:
        The new columns; bool (impressions,), those to be dropped; int64 (actions,),
        the impression of each, -1 for none.
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
    owner = matching.owners(
        keys, times, action_keys, action_times, action.window, action.min_delay
    )
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
    return columns, dropped, owner


def _at_once(
    impressions: pa.RecordBatch, rows: pa.RecordBatch, owner: np.ndarray
) -> int:
    """How many actions are at the very time of their impression."""
    times = impressions.column(TIME).to_numpy()[owner[owner >= 0]]
    return int(np.sum(times == rows.column(TIME).to_numpy()[owner >= 0]))


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
            column = rows.column(name)
            if pa.types.is_nested(column.type):  # Arrow does not compare such
                shown = [str(readable(column, row)) for row in range(len(column))]
                column = pa.array(shown, pa.string())
            indices = column.dictionary_encode().indices
            codes.append(indices.fill_null(-1).to_numpy(zero_copy_only=False))
    return matching.first_of_equals(*codes)
