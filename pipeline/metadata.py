"""Executions, artifacts and their lineage, in one SQLite file."""

import contextlib
import dataclasses
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import PipelineError

# The spelling of tables and columns is that of stores that exist.
_TABLES = """
CREATE TABLE IF NOT EXISTS executions (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    component TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'failed')),
    started REAL NOT NULL,
    seconds REAL,
    summary TEXT
);
CREATE TABLE IF NOT EXISTS artefacts (
    id INTEGER PRIMARY KEY,
    execution INTEGER NOT NULL REFERENCES executions (id),
    name TEXT NOT NULL,
    path TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS inputs (
    execution INTEGER NOT NULL REFERENCES executions (id),
    artefact INTEGER NOT NULL REFERENCES artefacts (id)
);
"""
_END = """
UPDATE executions SET state = ?, summary = ?, seconds = ? - started WHERE id = ?
"""


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A directory that an execution has written."""

    id: int
    name: str
    path: Path


@dataclasses.dataclass(frozen=True)
class Execution:
    """One run of a component."""

    id: int
    run: str
    component: str
    fingerprint: str
    state: str
    started: float
    seconds: float | None
    summary: dict


class Metadata:
    """The store of one workspace.

    Args:
        path: The SQLite file; it is made if it does not exist.

    Raises:
        PipelineError: By every method, if the file cannot be read or written.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._connect() as db:
            db.executescript(_TABLES)

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=30)) as db:
                with db:  # a transaction
                    yield db
        except sqlite3.Error as error:
            raise PipelineError(
                f"{self._path}: the record of what has run cannot be used: {error}. "
                "Make room or permit it; if the file is damaged, move it away, and "
                "the next run starts anew"
            ) from error

    def begin(self, run: str, component: str, fingerprint: str) -> int:
        """Records that a component starts; returns the execution's id."""
        with self._connect() as db:
            return db.execute(
                "INSERT INTO executions (run, component, fingerprint, state, started) "
                "VALUES (?, ?, ?, 'running', ?)",
                (run, component, fingerprint, time.time()),
            ).lastrowid

    def complete(
        self,
        execution: int,
        summary: dict,
        inputs: list[Artifact],
        outputs: dict[str, Path],
    ) -> list[Artifact]:
        """Records, in one transaction, that an execution has written its artifacts."""
        with self._connect() as db:
            db.execute(_END, ("complete", json.dumps(summary), time.time(), execution))
            db.executemany(
                "INSERT INTO inputs (execution, artefact) VALUES (?, ?)",
                [(execution, artifact.id) for artifact in inputs],
            )
            return [
                Artifact(
                    db.execute(
                        "INSERT INTO artefacts (execution, name, path) "
                        "VALUES (?, ?, ?)",
                        (execution, name, str(path)),
                    ).lastrowid,
                    name,
                    path,
                )
                for name, path in outputs.items()
            ]

    def fail(self, execution: int, reason: str) -> None:
        """Records that an execution has ended without artifacts."""
        summary = json.dumps({"reason": reason})
        with self._connect() as db:
            db.execute(_END, ("failed", summary, time.time(), execution))

    def find(
        self, component: str, fingerprint: str
    ) -> tuple[Execution, list[Artifact]] | None:
        """Returns the newest complete execution of a fingerprint whose files exist."""
        for execution in self.executions(component=component, state="complete"):
            if execution.fingerprint == fingerprint:
                artifacts = self.outputs(execution.id)
                if all(artifact.path.is_dir() for artifact in artifacts):
                    return execution, artifacts
        return None

    def executions(
        self, component: str | None = None, state: str | None = None
    ) -> list[Execution]:
        """Returns executions, the newest first."""
        wanted = {"component": component, "state": state}
        wanted = {key: value for key, value in wanted.items() if value is not None}
        where = " AND ".join(f"{key} = ?" for key in wanted) or "1"
        with self._connect() as db:
            rows = db.execute(
                "SELECT id, run, component, fingerprint, state, started, seconds, "
                f"summary FROM executions WHERE {where} ORDER BY id DESC",
                tuple(wanted.values()),
            ).fetchall()
        return [Execution(*row[:-1], json.loads(row[-1] or "{}")) for row in rows]

    def outputs(self, execution: int) -> list[Artifact]:
        """Returns what an execution wrote."""
        return self._artifacts("execution = ?", execution)

    def inputs(self, execution: int) -> list[Artifact]:
        """Returns what an execution read."""
        return self._artifacts(
            "id IN (SELECT artefact FROM inputs WHERE execution = ?)", execution
        )

    def _artifacts(self, where: str, value: int) -> list[Artifact]:
        with self._connect() as db:
            rows = db.execute(
                f"SELECT id, name, path FROM artefacts WHERE {where} ORDER BY id",
                (value,),
            ).fetchall()
        return [Artifact(id_, name, Path(path)) for id_, name, path in rows]
