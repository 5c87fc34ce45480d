"""What Beam's Java runners, Flink's and Spark's, have in common."""

import json
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from paths import ROOT

from clusters.processes import Processes, free_port, listens

_JARS = ROOT / ".engines"
# What Java 17 keeps to itself, and the two reach for by reflection.
OPENS = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in (
        "java.io",
        "java.lang",
        "java.lang.invoke",
        "java.lang.reflect",
        "java.net",
        "java.nio",
        "java.util",
        "java.util.concurrent",
        "java.util.concurrent.atomic",
        "sun.nio.ch",
        "sun.nio.cs",
        "sun.security.action",
        "sun.util.calendar",
    )
]


def home(engine: str) -> Path:
    """Returns the folder of an engine, with its jars in `jars/`.

    Raises:
        FileNotFoundError: They have not been fetched.
    """
    folder = _JARS / engine
    if not any((folder / "jars").glob("beam-runners-*.jar")):
        raise FileNotFoundError(f"{folder}/jars: run `make engine-{engine}`")
    return folder


def job_server(
    started: Processes, folder: Path, line: list, before: Sequence[str], **env: str
) -> tuple[subprocess.Popen, list[str]]:
    """Starts a job server; returns it and the flags of its jobs.

    Args:
        started: Starts it.
        folder: For what it keeps.
        line: The command, but for its own ports.
        before: What stands before the command of each worker.
        env: Environment variables of its own.
    """
    # Each task manager starts its workers by this command.
    worker = folder / "beam-worker"
    command = shlex.join([*before, sys.executable, "-m", "pipeline.beam.worker"])
    worker.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    worker.chmod(0o755)
    port = free_port()
    own = [
        "--job-host=127.0.0.1",
        f"--job-port={port}",
        f"--artifact-port={free_port()}",
        "--expansion-port=0",
        f"--artifacts-dir={folder}/staged",
    ]
    server = started.start("job-server", [*line, *own], **env)
    started.wait_until(lambda: listens(port), "the job server")
    environment = json.dumps({"command": str(worker)})
    # The cluster has the jars; else each job would bring the whole class path along.
    staged = folder / "nothing.jar"
    with zipfile.ZipFile(staged, "w"):
        pass
    return server, [
        f"--job_endpoint=127.0.0.1:{port}",
        "--environment_type=PROCESS",
        f"--environment_config={environment}",
        f"--files_to_stage={staged}",
    ]
