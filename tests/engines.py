"""Engines whose workers are processes, for what must not depend on shared memory."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from paths import ROOT
from until import until

from pipeline.config.sections import Beam

# Beam leaves the pipes of its worker processes open.
_OPEN_PIPES = "ignore::pytest.PytestUnraisableExceptionWarning"
ENGINES = [
    "dask",
    pytest.param("prism", marks=pytest.mark.filterwarnings(_OPEN_PIPES)),
]
PRISM = ROOT / ".engines" / "prism"


@contextlib.contextmanager
def engine(name, folder):
    """Yields the section of a config that runs the Beam jobs on an engine."""
    if name == "dask":
        with cluster(folder) as address:
            flags = [f"--dask_client_address={address}"]
            yield Beam(runner="DaskRunner", flags=flags)
        return
    if not PRISM.is_file():
        pytest.skip("needs Go, and `make engine-prism`")
    flags = [f"--prism_location={PRISM}", "--experiments=use_loopback_process_worker"]
    # Beam starts workers by the name `python`.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with mock.patch.dict(os.environ, PATH=path, PYTHONPATH=str(ROOT)):
        yield Beam(runner="PrismRunner", flags=flags)


@contextlib.contextmanager
def cluster(folder):
    """A Dask scheduler with two workers, each a process; yields its address."""
    dask = [sys.executable, "-m", "dask"]
    # Free ports are found by the processes themselves; no dashboard is needed.
    address = folder / "scheduler.json"
    env = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with (folder / "dask.log").open("w") as log:
        start = {"cwd": folder, "env": env, "stdout": log, "stderr": log}
        scheduler = [*dask, "scheduler", "--port", "0", "--host", "127.0.0.1"]
        worker = [*dask, "worker", "--no-nanny", "--nthreads", "1"]
        shared = ["--scheduler-file", str(address), "--no-dashboard"]
        processes = [
            subprocess.Popen([*line, *shared], **start)
            for line in (scheduler, worker, worker)
        ]
        try:
            until(
                lambda: address.is_file() and address.read_text().endswith("}"),
                f"a scheduler has started; see {folder}/dask.log",
            )
            yield json.loads(address.read_text())["address"]
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(240)
