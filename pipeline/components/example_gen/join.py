"""A Beam job: impressions get what came of them, and what their user did before.

```
impressions --\
click log   ----read--> batches by partition --GroupByKey--> match --> examples
play log    --/
```

All that belongs together meets in one partition after one shuffle, whatever the number
of logs. `pipeline.components.example_gen.matching` has the rules. In this process, rows
wait for their partition on disk. A partition is matched by its keys and times alone;
its other columns then pass by.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.artifacts import layout
from pipeline.beam import results, spill
from pipeline.beam.results import Workers
from pipeline.beam.work import Work
from pipeline.components.example_gen import outcomes, partitions, writer
from pipeline.components.example_gen.joined_logs import (
    IMPRESSIONS,
    PART,
    POSITION,
    Log,
)
from pipeline.components.example_gen.packed import Packed, rechunked, unpack, unpacked
from pipeline.components.example_gen.plan import Plan, Report, total
from pipeline.config.data import Data
from pipeline.errors import PipelineError
from pipeline.logs.dead_letters import SourcedRows
from pipeline.logs.files import Source
from pipeline.logs.formats import CHUNK_ROWS
from pipeline.logs.values import times

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
    job = Join(plan, data, logs, count, spill.folder(workers))
    found = results.run(workers, elements, job)
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
        spilled: Where rows wait for their partition. Defaults to the runner's shuffle.
    """

    def __init__(
        self,
        plan: Plan,
        data: Data,
        logs: Sequence[Log],
        count: int,
        spilled: Path | None = None,
    ):
        super().__init__()
        self._read = partitions.Read(plan, logs, count, spilled)
        self._match = _Match(plan, data, logs)

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        """Adds the transforms."""
        read = elements | "Read" >> beam.ParDo(self._read)
        rows = read | "Rows" >> beam.Filter(_is_rows)
        done = read | "Reports" >> beam.FlatMap(_report)
        end = done | "End" >> beam.Map(_latest_of) | beam.CombineGlobally(_latest)
        matched = (
            rows
            | "Shuffle" >> beam.GroupByKey()
            | "Match" >> beam.ParDo(self._match, beam.pvalue.AsSingleton(end))
        )
        was_read = done | "Keys" >> beam.Map(_keyed)
        return (was_read, matched) | "Both" >> beam.Flatten()


# No lambdas: Beam would send them with the path of this file.
def _is_rows(found: tuple[int, Any]) -> bool:
    return found[0] != partitions.REPORT


def _latest_of(report: tuple) -> Any:
    return report[2]


def _keyed(report: tuple) -> tuple[tuple, Any]:
    return (0, *report[0]), report[1]


def _report(found: tuple[int, Any]) -> list[Any]:
    partition, report = found
    return [report] if partition == partitions.REPORT else []


def _latest(times: Iterable[float]) -> float:
    return max(times, default=-np.inf)


class _Match(Work):
    """(partition, [(which log, rows)]) -> (key, report) of each log; see `Join`."""

    def __init__(self, plan: Plan, data: Data, logs: Sequence[Log]):
        self.plan, self.data, self.logs = plan, data, logs

    def process(
        self, element: tuple[int, Iterable[tuple[int, Packed]]], end: float
    ) -> Iterator[tuple[tuple[int, int, int], Any]]:  # of a `Report`, Beam makes a row
        number, found = element
        packed: dict[str, list[Packed]] = {log.name: [] for log in self.logs}
        for which, rows in found:
            packed[self.logs[which].name].append(rows)
        if self.data.until is not None:
            (end,) = times.seconds(pa.array([self.data.until]), self.logs[0].unit)
        try:
            reports = self._match(number, packed, end)
        except PipelineError as error:
            reports = {IMPRESSIONS: error}
        for which, log in enumerate(self.logs):
            if log.name in reports:
                yield (1, which, number), reports[log.name]

    def _match(
        self, number: int, packed: Mapping[str, list[Packed]], end: float
    ) -> dict[str, Report]:
        wanted, reports = {IMPRESSIONS: self.logs[0].travelling()}, {}
        rows = {
            log.name: unpacked(log, packed[log.name], wanted.get(log.name, log.names))
            for log in self.logs
        }
        impressions = rows[IMPRESSIONS]
        made, dropped = {}, np.zeros(impressions.num_rows, bool)
        for action in self.data.actions:
            new = outcomes.unique(rows[action.name])
            of = rows[action.name] = rows[action.name].filter(pa.array(new))
            fates, unlabelled, at_once = Counter(duplicates=int(np.sum(~new))), 0, 0
            if action.window is None:
                fates["kept"] = of.num_rows
            else:
                columns, late, owner = outcomes.outcomes(action, impressions, of, end)
                matched = int(np.sum(owner >= 0))
                made |= columns
                dropped |= late
                fates.update(matched=matched, unmatched=of.num_rows - matched)
                unlabelled = columns[action.name].null_count
                at_once = outcomes.at_once(impressions, of, owner)
            reports[action.name] = Report(
                rows=fates, unlabelled=unlabelled, at_once=at_once
            )
        for history in self.data.history:
            listed = rows[history.actions or IMPRESSIONS]
            made |= outcomes.earlier(history, impressions, listed)
        del rows, impressions
        examples = self._examples(packed[IMPRESSIONS], made, dropped)
        with writer.Output(self.plan, layout.part(number)) as output:
            for batch in rechunked(examples, CHUNK_ROWS):
                part, place = (batch.column(n).to_numpy() for n in (PART, POSITION))
                batch = batch.drop_columns([PART, POSITION])
                output.add(
                    batch, SourcedRows(batch, self.logs[0].parts, part, place), {}
                )
        report = output.report()._replace(incomplete=int(np.sum(dropped)))
        return {**reports, IMPRESSIONS: report}

    def _examples(
        self, packed: Iterable[Packed], made: Mapping[str, Any], dropped: np.ndarray
    ) -> Iterator[pa.RecordBatch]:
        """Yields the examples of a partition, and where each row is from."""
        columns = [column.name for column in self.plan.columns]
        start = 0
        for rows in unpack(self.logs[0], packed, [*columns, PART, POSITION]):
            stop = start + rows.num_rows
            for name, column in made.items():
                rows = rows.append_column(name, column[start:stop])
            yield rows.filter(pa.array(~dropped[start:stop]))
            start = stop
