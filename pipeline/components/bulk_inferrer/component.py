"""BulkInferrer: files of rows -> files of scores, by the model that is served.

The rows are read as ExampleGen reads logs: the same formats, parts of large files,
types and words for missing values; but neither labels nor the split's column are
needed, and `data.where` leaves nothing out. A row that does not fit goes to
`dead_letter/`.

Nothing is lost: `rows_in` = `scored` + `dead`, always.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline import progress
from pipeline.artifacts import layout, saved_model
from pipeline.beam import results
from pipeline.beam.atomic import atomic_write
from pipeline.components.bulk_inferrer import kept, writers
from pipeline.components.bulk_inferrer.job import Infer, Plan, Report
from pipeline.config import Config
from pipeline.config.features import side_fields
from pipeline.errors import PipelineError
from pipeline.logs import files as sources
from pipeline.logs import parts, table_files
from pipeline.logs.dead_letters import REASONS
from pipeline.logs.inspect import InspectionSpec, LogSchema, inspect, missing, unread
from pipeline.logs.values import casting, column_types
from pipeline.storage import mirror

_LISTS = ("list", "weighted", "vector")  # types of columns of several values


def bulk_inferrer(
    config: Config,
    rows: Sequence[str],
    output: Path,
    model: Path | None = None,
    keep: Mapping[str, str] | None = None,
    format: str = "parquet",
) -> dict:
    """Scores rows with a model, all outputs of its `serving_default`.

    If its signature `rank` fuses the tasks into one `score`, that is written too.

    Args:
        config: Its `data` section says how files are read, its `beam` section by whom.
        rows: Globs of files with the raw features that the model takes.
        output: A folder that is empty or not there; gets `scores-*-of-*` and, when all
            of them are whole, `summary.json`.
        model: See `saved_model.find`. Defaults to the newest version at
            `push.destination`.
        keep: {column of the scores: column of the rows that it is}. Defaults to all
            columns of one value a row that are not called like an output.
        format: Of the scores: "parquet", "csv" or "tfrecord" (of `tf.Example`s).

    Returns:
        What `summary.json` has: "model", "rows_in", "scored", "dead", "outputs",
        "kept", "notes".

    Raises:
        PipelineError: There is no model, the rows lack what it takes, a file cannot be
            read to its end, the output is not empty, or more rows than
            `data.max_dead_letter_rate` do not fit.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise PipelineError(
            f"the scores need a folder of their own. Received: {output}, which is not "
            "empty. Name another, or remove it"
        )
    model = (
        saved_model.find(model)
        if model
        else saved_model.of_pipeline(config.push.destination)
    )
    names, outputs = _signatures(model)
    patterns = [("--input", pattern, None) for pattern in rows]
    features = saved_model.features(model)
    read = casting.feature_columns(config, features)
    wanted = [column.source for column in read] + list((keep or {}).values())
    wanted += [column.weights for column in read if column.weights]
    taken = {column.name for column in read}
    sides = side_fields(config.features)
    output.mkdir(parents=True, exist_ok=True)
    with (
        _empty_if_interrupted(output),
        tempfile.TemporaryDirectory(prefix=".work-", dir=output) as name,
    ):
        workers = results.Workers(config.beam, Path(name))
        tables = table_files.prepare(config.data, wanted, config.missing_words, workers)
        files = sources.find(patterns, config.data, wanted, tables)
        kinds = {column.source: column.kind for column in read}
        of_lists = all(file.format == "tfrecord" for file in files)
        spec = InspectionSpec(kinds, fold=kept.add_lists if of_lists else None)
        log = inspect(spec, files, workers)
        _check_features(config, model, kinds, log)
        if of_lists:
            log = log._replace(types=kept.single(log))
        if keep is None:
            lists = [name for name, kind in kinds.items() if kind in _LISTS]
            columns = kept.all_single(log, [*outputs, *lists])
        else:
            columns = kept.named(keep, log, outputs, format)
        groups = parts.groups(log.parts)
        size = sum(part.size for part in log.parts)
        with progress.counting(size, workers.folder) as done:
            plan = Plan(
                config,
                model,
                names,
                read,
                {
                    new: kept.column(name, writers.type_in(format, log.types[name]))
                    for new, name in columns.items()
                },
                format,
                output,
                workers.folder,
                done,
                {name: of for name, of in sides.items() if {name, of} <= taken},
            )
            found = results.run(workers, enumerate(groups), Infer(plan))
        results.check_all(workers, len(found), len(groups), "results")
        report = _total(list(found.values()))
        _check_rows(config, report, output)
        shards = sorted(workers.folder.glob(layout.SCORE_FILES[format]))
        for i, shard in enumerate(shards):
            shard.rename(output / layout.score_shard(format, i, len(shards)))
    summary = {
        "model": mirror.shown(model),
        "rows_in": report.rows_in,
        "scored": report.scored,
        "dead": report.dead,
        "outputs": outputs,
        "kept": columns,
        "notes": _notes(keep, log, outputs, report, output),
    }
    with atomic_write(output / layout.SUMMARY) as part:
        part.write_text(json.dumps(summary, indent=2) + "\n")
    return summary


@contextlib.contextmanager
def _empty_if_interrupted(output: Path) -> Iterator[None]:
    """Leaves nothing of half a job, so that the same command can be given again."""
    try:
        yield
    except KeyboardInterrupt:
        for path in output.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def _signatures(model: Path) -> tuple[list[str], list[str]]:
    """The signatures that are called, and their outputs."""
    known = saved_model.signatures(model)
    default, rank = known[saved_model.DEFAULT], known.get(saved_model.RANK)
    for name, info in default.outputs.items():
        shape = [dim.size for dim in info.tensor_shape.dim]
        if shape not in ([-1], [-1, 1]):
            raise PipelineError(
                f"an output is to be one value a row. Received: {name!r} of shape "
                f"{tuple(shape)} in {model}"
            )
    outputs = sorted(default.outputs)
    if (
        rank is None
        or saved_model.FUSED not in rank.outputs
        or set(rank.inputs) != set(default.inputs)
    ):
        return [saved_model.DEFAULT], outputs
    if set(outputs) <= set(rank.outputs):  # so that all tasks come from one call
        return [saved_model.RANK], sorted(rank.outputs)
    return [saved_model.DEFAULT, saved_model.RANK], [*outputs, saved_model.FUSED]


def _check_features(
    config: Config, model: Path, kinds: Mapping[str, str], log: LogSchema
) -> None:
    """Raises a PipelineError for all features that the rows cannot feed."""
    problems = unread("--input", log)
    where = f"{model} takes it in"
    made = {name: " ExampleGen makes it, of other rows" for name in config.data.made()}
    problems = problems or missing(log, [(where, name) for name in kinds], made)
    for name, kind in {} if problems else kinds.items():
        for file in log.files:
            type_ = log.found[file.path].get(name)
            if type_ is not None and (reason := column_types.misfit(type_, kind)):
                problems.append(f"--input: column {name!r} is {reason} ({file.path})")
                break
    if problems:
        raise PipelineError("\n".join(problems))


def _total(reports: Sequence[Report]) -> Report:
    return Report(
        sum(report.rows_in for report in reports),
        sum(report.scored for report in reports),
        sum(report.dead for report in reports),
        [reason for report in reports for reason in report.reasons],
    )


def _check_rows(config: Config, report: Report, output: Path) -> None:
    if report.rows_in != report.scored + report.dead:
        raise PipelineError(
            "each row is to be scored or dead. Received: "
            f"{report.rows_in:,} rows, {report.scored:,} scored, {report.dead:,} dead"
        )
    allowed = config.data.max_dead_letter_rate
    if report.dead > allowed * report.rows_in:
        raise PipelineError(
            f"data.max_dead_letter_rate: {report.dead:,} of {report.rows_in:,} rows "
            f"({report.dead / report.rows_in:.2%}) do not fit, where {allowed:.2%} are "
            f"allowed, so there are no scores. Mend the rows, or raise the rate. See "
            f"{layout.dead_letters(output)}; the first:\n  "
            + "\n  ".join(report.reasons[:REASONS])
        )


def _notes(
    keep: Mapping[str, str] | None,
    log: LogSchema,
    outputs: Sequence[str],
    report: Report,
    output: Path,
) -> list[str]:
    notes = []
    hidden = sorted(set(outputs) & set(log.types)) if keep is None else []
    if hidden:
        notes.append(
            f"not kept: {', '.join(hidden)}, called like an output; to keep such a "
            f"column, give it another name: --keep label={hidden[0]}"
        )
    if report.dead:
        letters = layout.dead_letters(output)
        notes.append(
            f"{report.dead:,} rows do not fit, see {letters}; first: "
            f"{report.reasons[0]}"
        )
    return notes
