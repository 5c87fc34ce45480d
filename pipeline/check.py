"""What can be wrong with a config and its logs, found before any work is done.

The first stages, up to ExampleValidator, run on the first rows of the logs, in a folder
that is thrown away; so what is found is what a run would find.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts import examples, layout
from pipeline.artifacts.layout import SPLITS
from pipeline.components.example_gen.component import example_gen
from pipeline.components.example_validator.component import example_validator
from pipeline.components.schema_gen import schema_gen
from pipeline.components.statistics_gen import statistics_gen
from pipeline.config import Config, declarations
from pipeline.errors import PipelineError
from pipeline.init import leaks
from pipeline.init.labels import Label, outcomes
from pipeline.init.profiles import Profile, profiles
from pipeline.stages import stages
from pipeline.statistics.splits import ALL

ROWS = 100_000
# Bytes of a parameter of a table: itself, and the two moments of `lazy_adam`.
_BYTES = 4 * 3
_NAMED = 5  # domains in a message


class Found(NamedTuple):
    """What is to be said.

    Attributes:
        errors: What would stop a run.
        warnings: What would not, but may be wrong.
        notes: What to expect.
    """

    errors: list[str]
    warnings: list[str]
    notes: list[str]


def check(config: Config, rows: int = ROWS) -> Found:
    """Looks for all that can be wrong.

    Args:
        config: The pipeline.
        rows: About how many rows of each log are looked at, the first of its files.
    """
    found = Found([], [], [])
    for part in (declarations, *stages(config)):
        try:
            part.check(config)
        except PipelineError as error:
            if str(error) not in found.errors:  # stages declare features and tasks, too
                found.errors.append(str(error))
    if config.data.source:
        found.notes.append(
            f"data.source: the run makes the rows of {config.data.source!r}, so none "
            "were looked at"
        )
        return found
    with tempfile.TemporaryDirectory(prefix="check-") as folder:
        _rows(config, rows, Path(folder), found)
    return found


def _rows(config: Config, rows: int, folder: Path, found: Found) -> None:
    """Runs the first stages on some rows, and looks at what they made."""
    paths = {name: folder / name for name in ("examples", "statistics")}
    paths |= {name: folder / name for name in ("schema", "anomalies")}
    started = time.monotonic()
    summary = _examples(config, rows, paths["examples"], found)
    if summary is None:
        return
    try:
        for stage, outputs in (
            (statistics_gen, "statistics"),
            (schema_gen, "schema"),
            (partial(example_validator, page=False), "anomalies"),
        ):
            paths[outputs].mkdir()
            found.warnings.extend(stage(config, paths, paths).get("warnings", []))
    except PipelineError as error:
        found.errors.append(str(error))
    seconds = time.monotonic() - started
    rates = paths["statistics"] / layout.LABEL_RATES
    if config.domain and rates.is_file():
        found.warnings.extend(_domains(config, json.loads(rates.read_text())))
    table = _table(paths["examples"])
    columns = profiles(table)
    found.warnings.extend(_leaks(config, table, columns))
    found.warnings.extend(_at_serving(config, columns))
    found.notes.extend(_costs(config, columns, summary, rows, seconds))


def _examples(config: Config, rows: int, folder: Path, found: Found) -> dict | None:
    """Makes examples, be it with more dead letters than the config allows."""
    all_dead = config.data.model_copy(update={"max_dead_letter_rate": 1.0})
    for data in (config.data, all_dead):
        part = folder.with_name(f"{folder.name}-{data.max_dead_letter_rate}")
        part.mkdir(exist_ok=True)
        tried = config.model_copy(update={"data": data})
        try:
            summary = example_gen(tried, {}, {"examples": part}, rows)
        except PipelineError as error:
            if str(error) not in found.errors:
                found.errors.append(str(error))
            continue
        part.rename(folder)
        found.notes.extend(summary["notes"])
        # Where the dead letters are is of no use here.
        found.warnings.extend(w for w in summary["warnings"] if part.name not in w)
        if summary["dead"] and data is config.data:
            found.warnings.append(
                f"{summary['dead']:,} of {summary['rows_in']:,} rows do not fit"
            )
        return summary
    return None


def _domains(config: Config, rates: dict) -> Iterator[str]:
    """Tasks whose label is the same in all rows of a domain."""
    for split, domains in rates.items():
        for task in config.tasks:
            seen = {d: of[task.name] for d, of in domains.items() if d != ALL}
            for label in (0, 1) if task.kind == "binary" else ():
                same = [d for d, of in seen.items() if of["mean"] == label]
                if same:
                    more = ", ..." if len(same) > _NAMED else ""
                    yield (
                        f"Task {task.name!r} ({split} split): the label is {label} in "
                        f"all rows of {len(same)} of {len(seen)} values of "
                        f"{config.domain!r}: {', '.join(same[:_NAMED])}{more}"
                    )


def _table(folder: Path) -> pa.Table:
    shards = [
        s for split in SPLITS for s in examples.shards(layout.split(folder, split))
    ]
    return pa.concat_tables(map(pq.read_table, shards), promote_options="permissive")


def _leaks(config: Config, table: pa.Table, columns: dict) -> Iterator[str]:
    """Features that tell a label."""
    (batch,) = table.combine_chunks().to_batches()
    values = examples.labels(batch, config.tasks)
    labels = []
    for task in config.tasks:
        inside = examples.in_space(values, task, config.tasks)
        label = np.where(inside, values[task.label_column], np.nan)
        labels.append(Label(task.name, task.label_column, label, task.kind))
    features = [columns[feature.name] for feature in config.raw_features]
    for name, reason in leaks.suspects(features, labels, columns).items():
        yield f"feature {name!r} may tell a label: {reason}"


def _at_serving(config: Config, columns: dict[str, Profile]) -> Iterator[str]:
    """Features that nobody has when a model is asked."""
    labels = [Label(t.name, t.label_column, np.zeros(0)) for t in config.tasks]
    later = outcomes(columns, labels)
    for feature in config.features:
        if feature.name in later:
            yield (
                f"feature {feature.name!r} is {later[feature.name]}: a server will not "
                "have it"
            )
    features = {feature.name for feature in config.features}
    for history in config.data.history:
        listed = history.listed | ({history.age: "age"} if history.age else {})
        for name, of in listed.items():
            if name in features:
                yield (
                    f"feature {name!r} is made from the logs: whoever asks the server "
                    f"must know the last {history.max_length} of {of!r}"
                )


def _costs(
    config: Config,
    columns: dict[str, Profile],
    summary: dict,
    rows: int,
    seconds: float,
) -> Iterator[str]:
    """What a run takes."""
    read = summary["rows_in"]
    more = " or more" if read >= rows else ""
    yield (
        f"{read:,} rows{more}; the stages before Transform took {seconds:.0f} s for "
        f"{read:,} of them"
    )
    parameters = sum(
        (f.hash_buckets or f.capacity or columns[f.name].distinct) * f.embedding_dim
        for f in {
            f.table_name: f for f in config.features if hasattr(f, "table_name")
        }.values()
    )
    yield (
        f"embedding tables: {parameters:,} parameters{more}, "
        f"{parameters * _BYTES / 2**20:,.0f} MB in training with two moments each"
    )
    steps = -(-summary["train"] // config.train.batch_size)
    yield f"an epoch: {steps:,} steps{more} of {config.train.batch_size:,} rows"
