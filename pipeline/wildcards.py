"""Features that stand for columns of the logs by a `*`, as in `item_*`.

Which columns match is looked up once, and recorded in the workspace: the model and its
requests stay the same when a later log has another such column.
"""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic

from pipeline.artifacts import layout
from pipeline.beam.atomic import atomic_write
from pipeline.config import Config, expressions
from pipeline.config.features import Feature
from pipeline.config.load import explain
from pipeline.config.sections import label_columns
from pipeline.errors import ConfigError, nearest
from pipeline.storage import mirror

if TYPE_CHECKING:
    from pipeline.logs.files import Source

_ROWS = 10_000  # in which the columns of JSON Lines and TFRecord are looked for


def expand(config: Config, record: bool = True) -> Config:
    """Returns a config in which a feature for each column stands for each wildcard.

    A wildcard takes the columns that match and that the config names in no other
    feature, as no label or what goes with one, in no expression of `data.labels` and
    not as the time.

    Args:
        config: The pipeline. Without a wildcard it is returned as it is.
        record: Whether the workspace is to keep what the logs have been found to have.

    Raises:
        ConfigError: If nothing matches, or a column cannot be a feature.
        PipelineError: If the logs cannot be read.
    """
    wild = [feature for feature in config.features if feature.is_wildcard]
    if not wild:
        return config
    found = _matches(config, [feature.source for feature in wild], record)
    taken = set(_named(config))
    features: list[Feature] = []
    for i, feature in enumerate(config.features):
        if not feature.is_wildcard:
            features.append(feature)
            continue
        of_feature = [name for name in found[feature.source] if name not in taken]
        if not of_feature:
            others = ", ".join(found[feature.source])
            raise ConfigError(
                f"features.{i}.name: all columns that match {feature.source!r} are "
                f"named elsewhere in the config: {others}. Leave it out"
            )
        taken.update(of_feature)
        features += [_of(feature, name) for name in of_feature]
    raw = config.model_dump()
    raw["features"] = [feature.model_dump() for feature in features]
    try:
        expanded = Config.model_validate(raw)
        problems = list(expanded.problems())
    except pydantic.ValidationError as error:
        problems = explain(error, raw)
    if problems:
        raise ConfigError("\n".join(problems))
    return expanded


def _of(wildcard: Feature, column: str) -> Feature:
    """The feature that a column becomes, named as the wildcard says."""
    (part,) = re.fullmatch(_pattern(wildcard.source), column, re.DOTALL).groups()
    name = wildcard.name.replace("*", part)
    changed = {"name": name, "column": None if name == column else column}
    return wildcard.model_copy(update=changed)


def _pattern(wildcard: str) -> str:
    before, after = wildcard.split("*")
    return f"{re.escape(before)}(.+){re.escape(after)}"


def _named(config: Config) -> Iterator[str]:
    """The columns that no wildcard takes."""
    for feature in config.features:
        yield from (feature.name, feature.source)
    yield from (column for _, column in label_columns(config.tasks))
    yield from config.evaluate.best_reachable.values()
    yield from config.data.made()
    for text in config.data.labels.values():
        yield from expressions.columns_of(text)
    if config.data.time:
        yield config.data.time
    if config.data.split.by == "time":
        yield from config.data.split.columns


def _matches(
    config: Config, wildcards: Iterable[str], record: bool
) -> dict[str, list[str]]:
    """{wildcard: the columns that match}, as recorded where it is."""
    path = Path(config.workspace) / layout.WILDCARDS
    mirror.take(path.parent, path.name)
    known = json.loads(path.read_text()) if path.is_file() else {}
    new = [wildcard for wildcard in wildcards if wildcard not in known]
    if not new:
        return known
    columns = _columns(config)
    for wildcard in new:
        match = re.compile(_pattern(wildcard), re.DOTALL).fullmatch
        known[wildcard] = [name for name in columns if match(name)]
        if not known[wildcard]:
            raise ConfigError(
                f"features: no column of the logs matches {wildcard!r}."
                f"{nearest(wildcard.replace('*', ''), columns)} Columns found: "
                f"{', '.join(columns)}"
            )
    if record:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            part.write_text(json.dumps(known, indent=1) + "\n")
        mirror.give(path.parent, [path.name])
    return known


def _columns(config: Config) -> list[str]:
    """The columns that all files of the logs have, and those of tables."""
    from pipeline.logs import files  # late, for it imports Beam

    data = config.data
    if data.logs is None:
        raise ConfigError(
            "features: a wildcard needs `data.logs`, whose columns it can match. "
            f"Received: data.source: {data.source}"
        )
    logs = data.logs if isinstance(data.logs, list) else sum(data.logs.values(), [])
    columns = _of_files(files.find([("data.logs", p, None) for p in logs], data))
    for i, table in enumerate(data.tables):
        where = f"data.tables.{i}.logs"
        found = files.find([(where, pattern, None) for pattern in table.logs], table)
        columns += [f"{table.name}.{name}" for name in _of_files(found)]
    return columns


def _of_files(found: "list[Source]") -> list[str]:
    """Those of the first file that the others have; of formats without heads, any."""
    from pipeline.logs import files

    columns: dict[str, None] | None = None
    for head in files.heads(found, _ROWS):
        listed = files.listed_columns(head)
        if listed is not None:
            first = columns if columns is not None else listed
            columns = {name: None for name in first if name in listed}
            continue
        for chunk in islice(files.read(head), 1):
            columns = (columns or {}) | dict.fromkeys(chunk.rows.schema.names)
    return list(columns or ())
