"""A Dask scheduler and its workers."""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from clusters.processes import Cluster, processes


@contextlib.contextmanager
def start(
    folder: Path, workers: int = 2, before: Sequence[str] = ()
) -> Iterator[Cluster]:
    """Yields a cluster.

    Args:
        folder: For the logs.
        workers: Processes, of one thread each.
        before: What stands before the command of each worker.
    """
    dask = [sys.executable, "-m", "dask"]
    # They find free ports by themselves; no dashboard is needed.
    file = folder / "scheduler.json"
    shared = ["--scheduler-file", file, "--no-dashboard"]
    scheduler = [*dask, "scheduler", "--port", "0", "--host", "127.0.0.1", *shared]
    worker = [*before, *dask, "worker", "--no-nanny", "--nthreads", "1", *shared]
    with processes(folder) as started:
        head = started.start("scheduler", scheduler)
        all_ = [started.start(f"worker-{i}", worker) for i in range(workers)]
        started.wait_until(
            lambda: file.is_file() and file.read_text().endswith("}"), "Dask"
        )
        flag = f"--dask_client_address={json.loads(file.read_text())['address']}"
        yield Cluster("DaskRunner", [flag], head, all_, started.cpu)
