"""A Dask cluster of processes, for what must not depend on shared memory."""

import contextlib
import json
import os
import subprocess
import sys

from paths import ROOT
from until import until


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
