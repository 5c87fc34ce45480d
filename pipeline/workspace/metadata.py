"""Runs, executions, artifacts and their lineage."""

import contextlib
import dataclasses
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.storage import database, mirror
from pipeline.storage.database import Database

# The spelling of tables and columns is that of stores that exist.
_TABLES = (
    """CREATE TABLE IF NOT EXISTS executions (
        id ID,
        run TEXT NOT NULL,
        component TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'failed')),
        started DOUBLE PRECISION NOT NULL,
        seconds DOUBLE PRECISION,
        summary TEXT
    )""",
    """CREATE TABLE IF NOT EXISTS artefacts (
        id ID,
        execution INTEGER NOT NULL REFERENCES executions (id),
        name TEXT NOT NULL,
        path TEXT NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS inputs (
        execution INTEGER NOT NULL REFERENCES executions (id),
        artefact INTEGER NOT NULL REFERENCES artefacts (id)
    )""",
    """CREATE TABLE IF NOT EXISTS runs (
        name TEXT PRIMARY KEY,
        state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'failed')),
        started DOUBLE PRECISION NOT NULL,
        seconds DOUBLE PRECISION,
        config TEXT NOT NULL,
        overrides TEXT NOT NULL,
        reason TEXT
    )""",
    """CREATE TABLE IF NOT EXISTS run_executions (
        run TEXT NOT NULL REFERENCES runs (name),
        execution INTEGER NOT NULL REFERENCES executions (id),
        PRIMARY KEY (run, execution)
    )""",
)
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


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a pipeline.

    Attributes:
        name: Such as 20261130-133000.
        state: "running", "complete" or "failed".
        started: Seconds since 1970.
        seconds: How long it took; None while it runs.
        config: The resolved config; empty in stores that are older than this record.
        overrides: What `--set` changed.
        reason: Why it has failed.
    """

    name: str
    state: str
    started: float
    seconds: float | None
    config: dict
    overrides: list[str]
    reason: str


class Metadata:
    """The store of one workspace.

    Args:
        path: The SQLite file, in the workspace, even where a database stands for it;
            it is made if it does not exist.

    Raises:
        PipelineError: By every method, if it cannot be read or written.
    """

    def __init__(self, path: Path):
        self._path = path
        database.make(path, _TABLES)

    def _connect(self) -> contextlib.AbstractContextManager[Database]:
        return database.connected(self._path)

    def begin_run(self, name: str, config: Mapping, overrides: Sequence[str]) -> str:
        """Records that a run starts; returns its name, with a number if it is taken."""
        numbered = (f"{name}-{i}" for i in itertools.count(2))
        with self._connect() as db:
            taken = db.execute("SELECT name FROM runs UNION SELECT run FROM executions")
            taken = {row[0] for row in taken}
            name = next(n for n in itertools.chain([name], numbered) if n not in taken)
            db.execute(
                "INSERT INTO runs (name, state, started, config, overrides) "
                "VALUES (?, 'running', ?, ?, ?)",
                (name, time.time(), json.dumps(config), json.dumps(list(overrides))),
            )
        return name

    def use(self, run: str, execution: int) -> None:
        """Records that a run made an execution, or found it in the cache."""
        with self._connect() as db:
            db.execute(
                "INSERT INTO run_executions VALUES (?, ?) ON CONFLICT DO NOTHING",
                (run, execution),
            )

    def end_run(
        self, run: str, reason: str | None = None, at: float | None = None
    ) -> None:
        """Records that a run has ended.

        Args:
            run: Its name.
            reason: Why it has failed. Defaults to that it has not.
            at: When, in seconds since 1970. Defaults to now.
        """
        state, ended = "failed" if reason else "complete", at or time.time()
        with self._connect() as db:
            db.execute(
                "UPDATE runs SET state = ?, reason = ?, seconds = ? - started "
                "WHERE name = ?",
                (state, reason, ended, run),
            )

    def runs(self) -> list[Run]:
        """Returns all runs, the newest first."""
        with self._connect() as db:
            rows = db.execute(
                "SELECT name, state, started, seconds, config, overrides, reason "
                "FROM runs ORDER BY started DESC"
            ).fetchall()
            # Of stores that are older than the table of runs.
            old = db.execute(
                "SELECT run, MAX(CASE WHEN state = 'failed' THEN 'failed' "
                "ELSE 'complete' END), MIN(started), SUM(seconds), '{}', '[]', NULL "
                "FROM executions WHERE run NOT IN (SELECT name FROM runs) "
                "GROUP BY run ORDER BY MIN(started) DESC"
            ).fetchall()
        return [
            Run(*row[:4], json.loads(row[4]), json.loads(row[5]), row[6] or "")
            for row in (*rows, *old)
        ]

    def used(self, run: str) -> list[Execution]:
        """Returns the executions that a run made or found in the cache, in order."""
        found = self._executions(
            "run = ? OR id IN (SELECT execution FROM run_executions WHERE run = ?)",
            (run, run),
        )
        return found[::-1]

    def begin(self, run: str, component: str, fingerprint: str) -> int:
        """Records that a component starts; returns the execution's id."""
        with self._connect() as db:
            return db.insert(
                "INSERT INTO executions (run, component, fingerprint, state, started) "
                "VALUES (?, ?, ?, 'running', ?)",
                (run, component, fingerprint, time.time()),
            )

    def complete(
        self,
        execution: int,
        summary: dict,
        inputs: list[Artifact],
        outputs: dict[str, Path],
        earlier: float = 0,
    ) -> list[Artifact]:
        """Records, in one transaction, that an execution has written its artifacts.

        Args:
            execution: Its id.
            summary: What it says of itself.
            inputs: What it has read.
            outputs: {artifact: folder}.
            earlier: Seconds of what it went on from. Defaults to 0.
        """
        with self._connect() as db:
            ended = time.time() + earlier
            db.execute(_END, ("complete", json.dumps(summary), ended, execution))
            for artifact in inputs:
                db.execute(
                    "INSERT INTO inputs (execution, artefact) VALUES (?, ?)",
                    (execution, artifact.id),
                )
            return [
                Artifact(
                    db.insert(
                        "INSERT INTO artefacts (execution, name, path) "
                        "VALUES (?, ?, ?)",
                        (execution, name, self._relative(path)),
                    ),
                    name,
                    path,
                )
                for name, path in outputs.items()
            ]

    def fail(self, execution: int, reason: str, at: float | None = None) -> None:
        """Records that an execution has ended without artifacts.

        Args:
            execution: Its id.
            reason: Why.
            at: When, in seconds since 1970. Defaults to now.
        """
        summary, ended = json.dumps({"reason": reason}), at or time.time()
        with self._connect() as db:
            db.execute(_END, ("failed", summary, ended, execution))

    def earlier_seconds(self, component: str, fingerprint: str) -> float:
        """Returns how long the failed executions took since the last complete one."""
        which = "FROM executions WHERE component = ? AND fingerprint = ? AND state ="
        last = f"(SELECT COALESCE(MAX(id), 0) {which} 'complete')"
        with self._connect() as db:
            return db.execute(
                f"SELECT COALESCE(SUM(seconds), 0) {which} 'failed' AND id > {last}",
                (component, fingerprint) * 2,
            ).fetchone()[0]

    def find(
        self, component: str, fingerprint: str
    ) -> tuple[Execution, list[Artifact]] | None:
        """Returns the newest complete execution of a fingerprint whose files exist."""
        for execution in self.executions(component=component, state="complete"):
            if execution.fingerprint == fingerprint:
                artifacts = self.outputs(execution.id)
                if all(mirror.present(artifact.path) for artifact in artifacts):
                    return execution, artifacts
        return None

    def executions(
        self, component: str | None = None, state: str | None = None
    ) -> list[Execution]:
        """Returns executions, the newest first."""
        wanted = {"component": component, "state": state}
        wanted = {key: value for key, value in wanted.items() if value is not None}
        where = " AND ".join(f"{key} = ?" for key in wanted) or "1 = 1"
        return self._executions(where, tuple(wanted.values()))

    def _executions(self, where: str, values: tuple) -> list[Execution]:
        with self._connect() as db:
            rows = db.execute(
                "SELECT id, run, component, fingerprint, state, started, seconds, "
                f"summary FROM executions WHERE {where} ORDER BY id DESC",
                values,
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

    def links(self) -> tuple[dict[int, list[Artifact]], dict[int, list[Artifact]]]:
        """Returns what all executions read, and what they wrote: {execution: ...}."""
        read: dict[int, list[Artifact]] = {}
        written: dict[int, list[Artifact]] = {}
        with self._connect() as db:
            for found, query in (
                (read, "SELECT i.execution, id, name, path FROM inputs i "
                       "JOIN artefacts ON id = artefact ORDER BY id"),
                (written, "SELECT execution, id, name, path FROM artefacts "
                          "ORDER BY id"),
            ):  # fmt: skip
                for execution, id_, name, path in db.execute(query):
                    artifact = Artifact(id_, name, self._found(path))
                    found.setdefault(execution, []).append(artifact)
        return read, written

    def _artifacts(self, where: str, value: int) -> list[Artifact]:
        with self._connect() as db:
            rows = db.execute(
                f"SELECT id, name, path FROM artefacts WHERE {where} ORDER BY id",
                (value,),
            ).fetchall()
        return [Artifact(id_, name, self._found(path)) for id_, name, path in rows]

    def _relative(self, path: Path) -> str:
        """A path as it is stored: a workspace may be moved as a whole."""
        with contextlib.suppress(ValueError):
            path = path.resolve().relative_to(self._path.parent.resolve())
        return str(path)

    def _found(self, stored: str) -> Path:
        path = self._path.parent / stored
        # Older stores have paths as they were given, be it from the working directory.
        return path if path.exists() or not Path(stored).exists() else Path(stored)
