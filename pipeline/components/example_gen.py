"""ExampleGen: logs -> typed examples in three splits, as Parquet shards.

Two Beam jobs over the files. The first looks at them: which columns of which types, and
how the times spread where the split is by time. The second reads them, gives the
columns their types, splits the rows and writes the shards. A row that does not fit goes
to `dead_letter/` with its source, position and reason, so that rows in = rows written +
dead letters, always.
"""

import functools
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.beam import columns, ingest, quantiles, sources, splits
from pipeline.beam.columns import Column
from pipeline.beam.each import each
from pipeline.beam.sources import Source
from pipeline.config import Config, nearest
from pipeline.errors import PipelineError

# Small files are read together up to this size, so that their rows share shards.
_GROUP_BYTES = 8 << 20
_LISTS_COLUMNS = ("csv", "parquet")


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
        "rows", "rows_in", "dead", "files", "train", "valid" and "test".

    Raises:
        PipelineError: If files or columns are missing, a file cannot be read to its
            end, more rows than `data.max_dead_letter_rate` do not fit, or a split gets
            no rows.
    """
    folder = outputs["examples"]
    files = _find(config, inputs)
    with tempfile.TemporaryDirectory(prefix=".work-", dir=folder) as name:
        work = Path(name)
        scans = each(config, functools.partial(ingest.scan, config), files, work)
        schema = _columns(config, files, scans)
        plan = ingest.Plan(config, schema, _limits(config, scans), folder, work)
        groups = list(_groups(part for scan in scans for part in scan.parts))
        reports = each(config, functools.partial(ingest.ingest, plan), groups, work)
    rows = {name: sum(r.rows[name] for r in reports) for name in splits.NAMES}
    dead = sum(report.dead for report in reports)
    _check(config, rows, dead, [reason for r in reports for reason in r.reasons])
    for name in splits.NAMES:
        _number(folder / f"Split-{name}")
    total = sum(rows.values())
    summary = {"rows_in": total + dead, "rows": rows, "dead": dead}
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    counts = {"rows": total, "rows_in": total + dead, "dead": dead}
    warnings = []
    if dead:
        first = next(reason for report in reports for reason in report.reasons)
        # The runner renames NAME.tmp to NAME when the component is done.
        letters = folder.with_suffix("") / "dead_letter"
        warnings.append(
            f"{dead:,} of {total + dead:,} rows do not fit "
            f"({dead / (total + dead):.2%}), see {letters}; first: {first}"
        )
    return {**counts, "files": len(files), **rows, "warnings": warnings}


def _find(config: Config, inputs: Mapping[str, Path]) -> list[Source]:
    logs = config.data.logs
    if logs is None:
        given = config.data.split.by == "given"
        folders = {name: f"{name}/*" for name in splits.NAMES} if given else {None: "*"}
        patterns = [
            ("data.source", f"{inputs['logs']}/{pattern}", split)
            for split, pattern in folders.items()
        ]
    else:
        by_split = logs if isinstance(logs, dict) else {None: logs}
        patterns = [
            (".".join(["data.logs", *filter(None, [split]), str(i)]), pattern, split)
            for split, globs in by_split.items()
            for i, pattern in enumerate(globs)
        ]
    return sources.find(patterns, config.data.format, config.data.delimiter)


def _columns(
    config: Config, files: Sequence[Source], scans: Sequence[ingest.Scan]
) -> list[Column]:
    """The columns of the examples: all that the logs have, in their order."""
    types: dict[str, pa.DataType] = {}
    for scan in scans:
        for name, type_ in scan.types.items():
            types[name] = columns.common_type(types.get(name, type_), type_)
    problems = []
    for path, name, _ in config.columns():
        lacking = [
            file
            for file, scan in zip(files, scans, strict=True)
            if name not in scan.types
            # In the other formats a row may leave out what it does not have.
            and (name not in types or file.format in _LISTS_COLUMNS)
        ]
        if lacking:
            where = ", ".join(file.path for file in lacking[:3])
            problems.append(
                f"{path}: {len(lacking)} of {len(files)} files have no column "
                f"{name!r}.{nearest(name, types)} ({where}"
                f"{', ...' if len(lacking) > 3 else ''})"
            )
    if problems:
        found = f"Columns found: {', '.join(types)}"
        raise PipelineError("\n".join([*problems, found]))
    kinds = ingest.kinds_of(config)
    separators = {f.name: f.separator for f in config.features if f.kind == "sequence"}
    return [
        ingest.typed(name, kinds.get(name, "own"), type_, separators.get(name))
        for name, type_ in types.items()
    ]


def _limits(config: Config, scans: Sequence[ingest.Scan]) -> np.ndarray | None:
    split = config.data.split
    if split.by != "time":
        return None
    times = [scan.times for scan in scans if scan.times and scan.times.rows]
    if not times:
        raise PipelineError(
            f"data.split.column: a split by time needs numbers or ISO 8601 times. No "
            f"value of column {split.column!r} is one"
        )
    return splits.boundaries(quantiles.merge(times), split.train, split.valid)


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
    parts = sorted(folder.glob("part-*.parquet"))
    for i, part in enumerate(parts):
        part.rename(folder / f"data-{i:05d}-of-{len(parts):05d}.parquet")


def _check(config: Config, rows: dict[str, int], dead: int, reasons: list[str]) -> None:
    total, allowed = sum(rows.values()) + dead, config.data.max_dead_letter_rate
    if dead > allowed * total:
        raise PipelineError(
            f"data.max_dead_letter_rate: {dead:,} of {total:,} rows "
            f"({dead / total:.2%}) do not fit, where {allowed:.2%} are allowed. Mend "
            "the logs or raise the rate. The first:\n  "
            + "\n  ".join(reasons[: ingest.REASONS])
        )
    empty = [name for name, count in rows.items() if not count]
    if empty:
        raise PipelineError(
            f"data.split: {' and '.join(empty)} got no rows. Received: {rows}. Give "
            "other shares, a column with more values, or more logs"
        )
