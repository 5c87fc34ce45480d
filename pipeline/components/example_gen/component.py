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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline import progress
from pipeline.artifacts import layout
from pipeline.artifacts.layout import SPLITS
from pipeline.beam.results import Workers, parallel_map
from pipeline.components.example_gen import join, splits, writer
from pipeline.components.example_gen import plan as plans
from pipeline.components.example_gen.columns import check_columns
from pipeline.components.example_gen.joined_logs import IMPRESSIONS, joined_logs
from pipeline.components.example_gen.plan import Report
from pipeline.components.example_gen.spec import Spec
from pipeline.config import Config, expressions
from pipeline.errors import PipelineError
from pipeline.logs import csv, parts, table_files
from pipeline.logs import files as sources
from pipeline.logs.dead_letters import REASONS
from pipeline.logs.files import Source
from pipeline.logs.inspect import InspectionSpec, inspect
from pipeline.logs.values import texts


def example_gen(
    config: Config,
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    rows: int | None = None,
) -> dict:
    """Reads the logs, splits the rows and writes them as examples.

    Args:
        config: Its `data` section names the logs and the split.
        inputs: "logs": a folder of files, where `data.source` made them; with
            `data.split.by: given` it has subfolders train, valid and test.
        outputs: "examples": gets `Split-*/data-*-of-*.parquet`, `summary.json` and,
            if there are any, `dead_letter/*.jsonl`.
        rows: About how many rows of each log are read, the first of its files. Defaults
            to all.

    Returns:
        "rows", "rows_in", "dead", "filtered", "incomplete", "files", "train", "valid",
        "test", "actions", {name: its counts}, and "unlabelled", {name of actions:
        impressions that got no label of it}.

    Raises:
        PipelineError: If files or columns are missing, a file cannot be read to its
            end, more rows than `data.max_dead_letter_rate` do not fit, or a split gets
            no rows.
    """
    folder, spec = outputs["examples"], Spec(config)
    data = spec.data
    action_files = [
        sources.find(
            _patterns(f"data.actions.{i}.logs", action.logs),
            action,
            [name for _, name in data.needed_of(i)],
        )
        for i, action in enumerate(data.actions)
    ]
    if rows is not None:
        action_files = [_heads(of, rows) for of in action_files]
    with tempfile.TemporaryDirectory(prefix=".work-", dir=folder) as name:
        workers = Workers(config.beam, Path(name))
        files = _find(spec, inputs, workers)
        if rows is not None:
            files = _heads(files, rows)
        kinds = {name: kind for _, name, kind in spec.named[::-1]}
        wanted = InspectionSpec(kinds, *splits.fold(spec.time, spec.where))
        logs = inspect(wanted, files, workers)
        actions = [inspect(InspectionSpec({}), of, workers) for of in action_files]
        check_columns(spec, logs, actions)
        plan = plans.plan(spec, logs, folder, workers.folder)
        for split in SPLITS:
            layout.split(folder, split).mkdir(exist_ok=True)
        groups = parts.groups(logs.parts)
        size = sum(part.size for log in (logs, *actions) for part in log.parts)
        with progress.counting(size, workers.folder) as done:
            plan = plan._replace(done=done)
            if data.actions or data.history:
                read = joined_logs(spec, plan.columns, logs, actions)
                reports = join.join(plan, data, read, groups, workers)
            else:
                ingest = functools.partial(writer.ingest, plan)
                found = parallel_map(workers, ingest, groups)
                reports = {IMPRESSIONS: plans.total(found)}
    # Not of all splits where some other command reads rows for one of them.
    some = isinstance(data.logs, dict) and not plan.cuts_valid
    wanted = list(data.logs) if some else SPLITS
    _check(data.max_dead_letter_rate, reports, wanted)
    for name in SPLITS:
        _number(layout.split(folder, name))
    return _summary(config, folder, reports, files)


def _patterns(
    where: str, globs: Sequence[str], split: str | None = None
) -> list[tuple[str, str, str | None]]:
    return [(f"{where}.{i}", pattern, split) for i, pattern in enumerate(globs)]


def _find(spec: Spec, inputs: Mapping[str, Path], workers: Workers) -> list[Source]:
    data, logs = spec.data, spec.data.logs
    wanted = [name for _, name, _ in spec.named] + [name for _, name in data.needed()]
    if logs is None:
        given = data.split.by == "given"
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
    tables = table_files.prepare(data, wanted, spec.missing, workers)
    return sources.find(patterns, data, wanted, tables)


def _heads(files: Sequence[Source], rows: int) -> list[Source]:
    """The first rows of the files, some of each split."""
    of_splits = [[f for f in files if f.split == s] for s in (None, *SPLITS)]
    return [head for of in of_splits for head in sources.heads(of, rows)]


def _number(folder: Path) -> None:
    """Gives the shards their final names, in the order of the sources."""
    shards = layout.part_shards(folder)
    for i, shard in enumerate(shards):
        shard.rename(folder / layout.example_shard(i, len(shards)))


def _check(
    allowed: float, reports: Mapping[str, Report], wanted: Iterable[str]
) -> None:
    for i, report in enumerate(reports.values()):
        if report.dead > allowed * report.rows_in:
            where = f"rows of data.actions.{i - 1}" if i else "rows"
            raise PipelineError(
                f"data.max_dead_letter_rate: {report.dead:,} of {report.rows_in:,} "
                f"{where} ({report.dead / report.rows_in:.2%}) do not fit, where "
                f"{allowed:.2%} are allowed. Mend the logs or raise the rate. "
                f"{_first(report)}"
            )
    report = reports[IMPRESSIONS]
    rows = {name: report.rows[name] for name in SPLITS}
    empty = [name for name in wanted if not rows[name]]
    if empty:
        raise PipelineError(
            f"data.split: {' and '.join(empty)} got no rows. Received: {rows} "
            f"of {report.rows_in:,} rows; `where` left out {report.filtered:,}, "
            f"{report.incomplete:,} are incomplete, {report.dead:,} do not fit. Give "
            "other shares, a column with more values, or more logs. " + _first(report)
        )


def _first(report: Report) -> str:
    """Why the first of the rows that do not fit don't; "" if all do."""
    lines = "\n  ".join(report.reasons[:REASONS])
    return f"The first:\n  {lines}" if lines else ""


def _written(config: Config, reports: Iterable[Report]) -> list[str]:
    """What is to be said of how values are written."""
    forms = plans.total(reports).forms
    named = {name for _, name, _ in config.columns()}
    named |= {feature.source for feature in config.features}
    escaped = sorted({name for name, form in forms if form == csv.ESCAPED} & named)
    both = {name for name, _ in forms if {(name, "5"), (name, "5.0")} <= forms.keys()}
    countries = {name for name, form in forms if form == texts.NAMIBIA}
    said = [
        f"column {name!r}: whole numbers are written both as 5 and as 5.0, one value. "
        "Where these are two, name the column in data.verbatim"
        for name in sorted(both)
    ]
    said += [
        f"column {name!r}: {texts.NAMIBIA} counts as no value, as data.missing has it. "
        "If it is Namibia, name the column in data.verbatim"
        for name in sorted(countries)
    ]
    return said + [
        f"column {name!r}: quotes stand behind backslashes. If a backslash escapes a "
        'quote, the fields are cut wrongly: say so by `escape: "\\\\"` beside `logs`'
        for name in escaped
    ]


def _self_joined(config: Config, reports: Mapping[str, Report]) -> list[str]:
    """What is to be said of joins in which the rows of a log find themselves."""
    logs, found = config.data.logs, []
    for action in config.data.actions:
        report = reports[action.name]
        at_once, matched = report.at_once, report.rows["matched"]
        is_same = isinstance(logs, list) and set(logs) & set(action.logs)
        if is_same and at_once > matched / 2:
            found.append(
                f"action {action.name!r}: {at_once:,} of {matched:,} are at the very "
                "time of their impression, in the same log: rows match themselves. "
                "`min_delay: 0` counts later ones only"
            )
    return found


def _leaks(config: Config) -> list[str]:
    """What is to be said of labels that are made of features alone."""
    features = {feature.source for feature in config.features}
    return [
        f"data.labels.{name}: all that it is made of, {' and '.join(columns)}, are "
        "features, so that a model computes the label and learns nothing. Leave one out"
        for name, text in config.data.labels.items()
        if set(columns := expressions.columns_of(text)) <= features
    ]


def _summary(
    config: Config, folder: Path, reports: Mapping[str, Report], files: Sequence[Source]
) -> dict:
    report = reports[IMPRESSIONS]
    of_actions = {name: of for name, of in reports.items() if name != IMPRESSIONS}
    rows = {name: report.rows[name] for name in SPLITS}
    summary = {"rows_in": report.rows_in, "rows": rows, "dead": report.dead}
    summary |= {"filtered": report.filtered, "incomplete": report.incomplete}
    summary["actions"] = {
        name: {fate: of.rows[fate] for fate in join.FATES}
        | {"rows_in": of.rows_in, "filtered": of.filtered, "dead": of.dead}
        for name, of in of_actions.items()
    }
    # Of impressions, and so not among the counts of actions, which add up.
    summary["unlabelled"] = {name: of.unlabelled for name, of in of_actions.items()}
    (folder / layout.SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
    shares = [f"{name} {number:,}" for name, number in rows.items() if number]
    notes, warnings = [f"rows: {', '.join(shares)}"], []
    for name, of in summary["actions"].items():
        notes.append(f"{name}: {', '.join(f'{v:,} {k}' for k, v in of.items() if v)}")
        if unlabelled := summary["unlabelled"][name]:
            notes[-1] += f"; {unlabelled:,} impressions unlabelled"
    if dead := report.dead:
        # The runner renames NAME.tmp to NAME when the component is done.
        letters = layout.dead_letters(folder.with_suffix(""))
        warnings.append(
            f"{dead:,} of {report.rows_in:,} rows do not fit "
            f"({dead / report.rows_in:.2%}), see {letters}; first: {report.reasons[0]}"
        )
    warnings += _written(config, reports.values())
    warnings += _self_joined(config, reports) + _leaks(config)
    if blank := [file.path for file in files if not file.size]:
        warnings.append(
            f"{len(blank)} of {len(files)} files are empty, such as {blank[0]}"
        )
    counts = {"rows": sum(rows.values()), **rows, "files": len(files)}
    return {**summary, **counts, "notes": notes, "warnings": warnings}
