"""Records of the logs that cannot become examples, with their place and the reason."""

import contextlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.artifacts import layout
from pipeline.beam.atomic import atomic_write
from pipeline.logs.files import Source
from pipeline.logs.formats import Unparsed
from pipeline.logs.values.casting import Misfits
from pipeline.logs.values.scalars import readable

REASONS = 5


class SourcedRows(NamedTuple):
    """Rows, and where each is from.

    Attributes:
        raw: The rows as they stand in the logs.
        parts: Parts of logs.
        part: int (rows,). The position in `parts` that a row is from.
        positions: int64 (rows,). Its place there, counted from 1.
    """

    raw: pa.RecordBatch
    parts: Sequence[Source]
    part: np.ndarray
    positions: np.ndarray


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

    def add(self, rows: SourcedRows, misfits: Misfits) -> None:
        """Takes the rows that do not fit, in the order of their places."""
        for row in sorted(misfits, key=rows.positions.__getitem__):
            source, position = rows.parts[rows.part[row]], int(rows.positions[row])
            columns = zip(rows.raw.schema.names, rows.raw.columns, strict=True)
            record = {name: readable(column, row) for name, column in columns}
            self._write(source, position, misfits[row], record)

    def add_unparsed(self, source: Source, records: Iterable[Unparsed]) -> None:
        """Takes records that are no rows; one may stand for several lines."""
        for record in sorted(records, key=lambda record: record.position):
            self._write(source, record.position, record.reason, record.record)
            self.count += record.lines - 1

    def _write(self, source: Source, position: int, reason: str, record: Any) -> None:
        if self.file is None:
            part = self.opened.enter_context(atomic_write(self.path, self.work))
            self.file = self.opened.enter_context(part.open("w", encoding="utf-8"))
        unit = "line" if source.format in ("csv", "jsonl") else "row"
        letter = {"source": source.path, unit: position, "reason": reason}
        self.file.write(json.dumps({**letter, "record": record}) + "\n")
        self.count += 1
        if len(self.reasons) < REASONS:
            self.reasons.append(f"{source.path}, {unit} {position}: {reason}")

    def __enter__(self) -> "DeadLetters":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.opened.__exit__(kind, error, trace)
