"""ExampleGen: logs -> typed examples in three splits, as Parquet shards.

First the logs are looked at: which columns of which types, how large ones are cut, and
how the times spread where the split is by time. Then a Beam job reads them, gives the
columns their types, computes the labels, splits the rows and writes the shards; with
`data.actions` or `data.history` it joins on the way. A row that does not fit goes to
`dead_letter/` with its source, position and reason.

Nothing is lost: `rows_in` = `rows` + `dead` + `filtered` + `incomplete`, always; and of
each log of actions, `rows_in` = `matched` + `unmatched` + `duplicates` + `kept` +
`filtered` + `dead`.
"""

import functools
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.artifacts import layout
from pipeline.artifacts.layout import SPLITS
from pipeline.beam.results import parallel_map
from pipeline.components.example_gen import join, partitions, splits, writer
from pipeline.components.example_gen.dead_letters import REASONS
from pipeline.components.example_gen.inspect import (
    InspectionSpec,
    LogSchema,
    inspect,
    missing,
)
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.logs import casting, column_types
from pipeline.logs import files as sources
from pipeline.logs.casting import Column
from pipeline.logs.files import Source
from pipeline.statistics import sketch

# Small files are read together up to this size, so that their rows share shards.
_GROUP_BYTES = 8 << 20


def example_gen(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> dict:
    """Reads the logs, splits the rows and writes them as examples.

    Args:
        config: Its `data` section names the logs and the split.
        inputs: "logs": a folder of files, where `data.source` made them; with
            `data.split.by: given` it has subfolders train, valid and test.
        outputs: "examples": gets `Split-*/data-*-of-*.parquet`, `summary.json` and,
            if there are any, `dead_letter/*.jsonl`.

    Returns:
        "rows", "rows_in", "dead", "filtered", "incomplete", "files", "train", "valid",
        "test", "actions", {name: its counts}, and "unlabelled", {name of actions:
        impressions that got no label of it}.

    Raises:
        PipelineError: If files or columns are missing, a file cannot be read to its
            end, more rows than `data.max_dead_letter_rate` do not fit, or a split gets
            no rows.
    """
    folder, data = outputs["examples"], config.data
    files = _find(config, inputs)
    action_files = [
        sources.find(_patterns(f"data.actions.{i}.logs", action.logs), action)
        for i, action in enumerate(data.actions)
    ]
    with tempfile.TemporaryDirectory(prefix=".work-", dir=folder) as name:
        work = Path(name)
        by_time = data.split.column if data.split.by == "time" else None
        spec = InspectionSpec(writer.kinds_of(config), by_time, data.where)
        logs = inspect(config, spec, files, work)
        actions = [
            inspect(config, InspectionSpec({}), files, work) for files in action_files
        ]
        _check_columns(config, logs, actions)
        schema = _columns(config, logs)
        plan = writer.Plan(config, schema, _limits(config, logs), folder, work)
        groups = list(_groups(logs.parts))
        if data.actions or data.history:
            result = join.join(
                plan,
                groups,
                partitions.impressions(config, logs.parts, schema, logs.types),
                [
                    partitions.actions(action, config, log.parts, log.types)
                    for action, log in zip(data.actions, actions, strict=True)
                ],
            )
        else:
            reports = parallel_map(
                config, functools.partial(writer.ingest, plan), groups, work
            )
            result = join.Result(reports, {}, {})
    report = writer.total(result.reports)
    _check(config, report, result)
    for name in SPLITS:
        _number(layout.split(folder, name))
    return _summary(folder, report, result, files)


def _patterns(
    where: str, globs: Sequence[str], split: str | None = None
) -> list[tuple[str, str, str | None]]:
    return [(f"{where}.{i}", pattern, split) for i, pattern in enumerate(globs)]


def _find(config: Config, inputs: Mapping[str, Path]) -> list[Source]:
    logs = config.data.logs
    if logs is None:
        given = config.data.split.by == "given"
        folders = {name: f"{name}/*" for name in SPLITS} if given else {None: "*"}
        patterns = [
            ("data.source", f"{inputs['logs']}/{pattern}", split)
            for split, pattern in folders.items()
        ]
    elif isinstance(logs, dict):
        patterns = [
            pattern
            for split, globs in logs.items()
            for pattern in _patterns(f"data.logs.{split}", globs, split)
        ]
    else:
        patterns = _patterns("data.logs", logs)
    return sources.find(patterns, config.data)


def _check_columns(
    config: Config, logs: LogSchema, actions: Sequence[LogSchema]
) -> None:
    """Raises a PipelineError for all columns that the logs lack."""
    made = config.data.made()
    needed = [(path, name) for path, name, _ in config.columns() if name not in made]
    others = {name: " It is made here, of the columns of the logs" for name in made}
    others |= {
        action.name: f" The action {action.name!r} makes it if it has a `window`"
        for action in config.data.actions
        if action.window is None
    }
    problems = _unread("data.logs", logs)
    problems = problems or missing(logs, [*needed, *config.data.needed()], others)
    for i, log in enumerate(actions):
        unread = _unread(f"data.actions.{i}.logs", log)
        problems += unread or missing(log, config.data.needed_of(i), {})
    taken = [name for name in made if name in logs.types]
    problems += [
        f"data: {name!r} is to be a new column, and the logs have one of that name. "
        "Give it another name"
        for name in taken
    ]
    problems = problems or list(_misfits(config, logs, actions))
    if problems:
        raise PipelineError("\n".join(problems))


def _misfits(
    config: Config, logs: LogSchema, actions: Sequence[LogSchema]
) -> Iterator[str]:
    """Yields what is to be said of columns whose types can hold nothing of use."""
    data = config.data
    wanted = [(logs, *column) for column in config.columns()]
    if data.split.by == "time":
        wanted.append((logs, "data.split.column", data.split.column, "time"))
    if data.time:
        wanted.append((logs, "data.time", data.time, "time"))
    for i, (action, log) in enumerate(zip(data.actions, actions, strict=True)):
        path = f"data.actions.{i}"
        wanted += [(logs, f"{path}.key", name, "string") for name in action.key]
        wanted += [(log, f"{path}.key", name, "string") for name in action.key.values()]
        wanted.append((log, f"{path}.time", action.time, "time"))
    for log, path, name, kind in wanted:
        for file in log.files:
            type_ = log.found[file.path].get(name)
            if type_ is not None and (reason := column_types.misfit(type_, kind)):
                yield (
                    f"{path}: column {name!r} is {reason}. Write the logs with such a "
                    f"column ({file.path})"
                )
                break


def _unread(where: str, log: LogSchema) -> list[str]:
    """What is to be said of a log in which no column was found."""
    if log.types:
        return []
    return [
        f"{where}: no row can be read in any of {len(log.files)} files, such as "
        f"{log.files[0].path}. JSON Lines have an object in each line, without a list "
        "around them"
    ]


def _columns(config: Config, logs: LogSchema) -> list[Column]:
    """The columns of the examples: all that the logs have, in their order."""
    kinds = writer.kinds_of(config)
    separators = {f.name: f.separator for f in config.features if f.kind == "sequence"}
    return [
        casting.column(
            config, name, kinds.get(name, "own"), type_, separators.get(name)
        )
        for name, type_ in logs.types.items()
    ]


def _limits(config: Config, logs: LogSchema) -> np.ndarray | None:
    split = config.data.split
    if split.by != "time":
        return None
    if not logs.times:
        raise PipelineError(
            f"data.split.column: a split by time needs numbers or ISO 8601 times. No "
            f"value of column {split.column!r} is one"
        )
    return splits.boundaries(sketch.merge(logs.times), split.train, split.valid)


def _groups(parts: Iterable[Source]) -> Iterator[tuple[Source, ...]]:
    group: list[Source] = []
    for part in parts:
        if group and sum(p.size for p in group) + part.size > _GROUP_BYTES:
            yield tuple(group)
            group = []
        group.append(part)
    if group:
        yield tuple(group)


def _number(folder: Path) -> None:
    """Gives the shards their final names, in the order of the sources."""
    parts = layout.part_shards(folder)
    for i, part in enumerate(parts):
        part.rename(folder / layout.example_shard(i, len(parts)))


def _check(config: Config, report: writer.Report, result: join.Result) -> None:
    allowed = config.data.max_dead_letter_rate
    counts = [("rows", report.dead, report.rows_in, report.reasons)]
    for i, action in enumerate(config.data.actions):
        read = result.read[action.name]
        where = f"rows of data.actions.{i}"
        counts.append((where, read.dead, read.rows_in, read.reasons))
    for where, dead, total, reasons in counts:
        if dead > allowed * total:
            raise PipelineError(
                f"data.max_dead_letter_rate: {dead:,} of {total:,} {where} "
                f"({dead / total:.2%}) do not fit, where {allowed:.2%} are allowed. "
                "Mend the logs or raise the rate. The first:\n  "
                + "\n  ".join(reasons[:REASONS])
            )
    empty = [name for name, count in report.rows.items() if not count]
    if empty:
        raise PipelineError(
            f"data.split: {' and '.join(empty)} got no rows. Received: {report.rows} "
            f"of {report.rows_in:,} rows; `where` left out {report.filtered:,}, "
            f"{report.incomplete:,} are incomplete, {report.dead:,} do not fit. Give "
            "other shares, a column with more values, or more logs"
        )


def _mixed(forms: frozenset[tuple[str, str]]) -> list[str]:
    """What is to be said of columns in which whole numbers are written in two ways."""
    both = {name for name, _ in forms if {(name, "5"), (name, "5.0")} <= forms}
    return [
        f"column {name!r}: whole numbers are written both as 5 and as 5.0, one value. "
        "Where these are two, name the column in data.verbatim"
        for name in sorted(both)
    ]


def _summary(
    folder: Path, report: writer.Report, result: join.Result, files: list[Source]
) -> dict:
    actions = {
        name: result.matches[name]._asdict() | result.read[name].counts()
        for name in result.matches
    }
    # Of impressions, and so not among the counts of actions, which add up.
    unlabelled = {name: of.pop("unlabelled") for name, of in actions.items()}
    counts = {"rows_in": report.rows_in, "rows": report.rows, "dead": report.dead}
    counts |= {"filtered": report.filtered, "incomplete": report.incomplete}
    summary = {**counts, "actions": actions, "unlabelled": unlabelled}
    (folder / layout.SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
    notes, warnings = [], []
    for name, of in actions.items():
        notes.append(f"{name}: {', '.join(f'{v:,} {k}' for k, v in of.items() if v)}")
        if unlabelled[name]:
            notes[-1] += f"; {unlabelled[name]:,} impressions unlabelled"
    if dead := report.dead:
        # The runner renames NAME.tmp to NAME when the component is done.
        letters = folder.with_suffix("") / "dead_letter"
        warnings.append(
            f"{dead:,} of {report.rows_in:,} rows do not fit "
            f"({dead / report.rows_in:.2%}), see {letters}; first: {report.reasons[0]}"
        )
    of_actions = (read.forms for read in result.read.values())
    warnings += _mixed(report.forms.union(*of_actions))
    if blank := [file.path for file in files if not file.size]:
        warnings.append(
            f"{len(blank)} of {len(files)} files are empty, such as {blank[0]}"
        )
    rows = {"rows": sum(report.rows.values()), **report.rows}
    return {
        **summary,
        **rows,
        "files": len(files),
        "notes": notes,
        "warnings": warnings,
    }
