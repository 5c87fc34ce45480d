"""Which of several files are tables of users or items, and which are the log.

A table has one row for each value of a column that the log has, too, where values come
again. A sample of the log gets its columns, as `data.tables` joins them.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.config.reading import Reading
from pipeline.init import dialect
from pipeline.init.labels import task_name
from pipeline.init.profiles import Profile, profiles, words
from pipeline.init.sample import JoinedTable, Sample, sample
from pipeline.logs import files

_FILES = 50  # of a pattern, whose columns are looked at
_COVERED = 0.5  # of the log's values, those that a table must have a row for


class _Part(NamedTuple):
    """Files of the same columns, and some of their rows."""

    sample: Sample
    columns: Mapping[str, Profile]


def sample_joined(patterns: Sequence[str]) -> Sample:
    """Reads some rows of logs, joined with the tables that are among the files.

    Args:
        patterns: Files or globs.

    Raises:
        PipelineError: If there are no files, or they cannot be read.
    """
    alike = _by_columns(patterns)
    if len(alike) < 2:
        return sample(patterns)
    parts = [_part(found) for found in alike]
    for log in sorted(parts, key=lambda part: -part.sample.read):
        others = [part for part in parts if part is not log]
        keys = [_key(log, other) for other in others]
        if all(keys):
            return _joined(log, list(zip(others, keys, strict=True)))
    return sample(patterns)


def _by_columns(patterns: Sequence[str]) -> list[list[str]]:
    """Patterns, or files where those of a pattern differ, by the columns they have."""
    found: dict[frozenset[str], list[str]] = {}
    for pattern in patterns:
        any_ = Reading(format="csv", columns=["unknown"])
        sources = files.find([("logs", pattern, None)], any_)
        filled = [source.path for source in sources if source.size][:_FILES]
        of_files = {path: _names(path) for path in filled}
        are_alike = len(set(of_files.values())) == 1
        for unit, names in of_files.items():
            units = found.setdefault(names, [])
            if not are_alike:
                units.append(unit)
            elif pattern not in units:
                units.append(pattern)
    return list(found.values())


def _names(path: str) -> frozenset[str]:
    """The columns of a file; of formats without a head, those of its first rows."""
    (source,) = files.find([("logs", path, None)], dialect.sniff(path))
    (head,) = files.heads([source], 1)
    if (listed := files.listed_columns(head)) is not None:
        return frozenset(listed)
    chunks = itertools.islice(files.read(head), 1)
    return frozenset(name for chunk in chunks for name in chunk.rows.schema.names)


def _part(patterns: Sequence[str]) -> _Part:
    rows = sample(patterns)
    return _Part(rows, profiles(rows.rows))


def _key(log: _Part, table: _Part) -> tuple[str, str] | None:
    """The columns, of the log and of a table, by which rows of the table are found."""
    for column in table.columns.values():
        if column.distinct != table.sample.rows.num_rows or column.distinct < 2:
            continue
        for own in _called_alike(column, table, log):
            here, there = set(own.values), set(column.values)
            covered = len(here & there) / max(len(here), 1)
            comes_again = own.distinct < own.known.sum()
            if comes_again and covered >= (_COVERED if table.sample.whole else 0.01):
                return own.name, column.name
    return None


def _called_alike(column: Profile, table: _Part, log: _Part) -> Iterator[Profile]:
    """The log's columns of a name, or, for an `id`, of that of its table."""
    for own in log.columns.values():
        if own.words == column.words:
            yield own
        elif column.words == ("id",) and own.words[1:] == ("id",):
            if own.words[0] in {word.rstrip("s") for word in words(_name(table))}:
                yield own


def _name(table: _Part) -> str:
    """The name of a table: that of its files, without what ends it."""
    logs = table.sample.logs
    path = logs[0] if isinstance(logs, list) else next(iter(logs.values()))[0]
    *folders, last = re.split(r"[/\\]", path)
    stem = last.partition(".")[0]
    if "*" in stem and folders:
        stem = folders[-1]
    return task_name(stem).replace(".", "_")


def _joined(log: _Part, tables: Sequence[tuple[_Part, tuple[str, str]]]) -> Sample:
    """The log's rows with the columns of tables, and what the tables are."""
    rows, joined = log.sample.rows, []
    for table, (own, key) in tables:
        name = _name(table)
        while name in (other.name for other in joined):
            name += "_"
        known, wanted = table.columns[key], log.columns[own]
        place = {known.values[code]: row for row, code in enumerate(known.codes)}
        of_value = np.array([place.get(value, -1) for value in wanted.values] + [-1])
        places = of_value[wanted.codes]
        taken = pa.array(places, mask=places < 0)
        for column in table.sample.rows.column_names:
            if column != key:
                values = table.sample.rows.column(column).take(taken)
                rows = rows.append_column(f"{name}.{column}", values)
        logs = table.sample.logs
        of_files = logs if isinstance(logs, list) else sum(logs.values(), [])
        joined.append(JoinedTable(name, of_files, table.sample.reading, own, key))
    return log.sample._replace(rows=rows, tables=tuple(joined))
