"""Records of the logs that cannot become examples, with their place and the reason."""

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.artifacts import layout
from pipeline.beam.atomic import atomic_write
from pipeline.logs.files import Source
from pipeline.logs.formats import Unparsed

REASONS = 5


class Letter(NamedTuple):
    """A dead letter: `position` is the line or row in the source, from 1."""

    source: Source
    position: int
    reason: str
    record: Any


class DeadLetters:
    """Writes `dead_letter/NAME.jsonl`, if there are any. A context manager.

    Args:
        folder: The artifact's folder.
        name: Of the file.
        work: A folder for the file until it is whole, on the same disk.

    Attributes:
        count: The lines or rows lost so far.
        reasons: The first of the reasons, with their places.
    """

    def __init__(self, folder: Path, name: str, work: Path):
        self.path, self.work = layout.dead_letter_file(folder, name), work
        self.file, self.opened = None, contextlib.ExitStack()
        self.count = 0
        self.reasons: list[str] = []

    def add(self, letters: Iterable[Letter]) -> None:
        """Takes letters, and writes them in the order of their places."""
        for source, position, reason, record in sorted(letters, key=lambda e: e[1]):
            if self.file is None:
                self.path.parent.mkdir(exist_ok=True)
                part = self.opened.enter_context(atomic_write(self.path, self.work))
                file = part.open("w", encoding="utf-8")
                self.file = self.opened.enter_context(file)
            unit = "line" if source.format in ("csv", "jsonl") else "row"
            letter = {"source": source.path, unit: position, "reason": reason}
            self.file.write(json.dumps({**letter, "record": record}) + "\n")
            self.count += 1
            if len(self.reasons) < REASONS:
                self.reasons.append(f"{source.path}, {unit} {position}: {reason}")

    def add_unparsed(self, source: Source, records: Iterable[Unparsed]) -> None:
        """Takes records that are no rows; one may stand for several lines."""
        records = list(records)
        self.add(Letter(source, r.position, r.reason, r.record) for r in records)
        self.count += sum(record.lines - 1 for record in records)

    def __enter__(self) -> "DeadLetters":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.opened.__exit__(kind, error, trace)


def readable(rows: pa.RecordBatch, row: int) -> dict[str, Any]:
    """A row as JSON can hold it."""
    return {k: _readable(v) for k, v in rows.slice(row, 1).to_pylist()[0].items()}


def _readable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return value if isinstance(value, (int, float, str, type(None))) else str(value)
