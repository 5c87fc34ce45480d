"""Training over several workers, each a process of its own with `tf.distribute`.

`train.workers: 2` starts two processes on this machine. `train.workers: [host1:2222,
host2:2222]` starts the first here; each of the others is started on its host, where the
workspace must be reachable under the same path, with

    python -m pipeline.components.trainer.workers JOB.json NUMBER

as the run says. The workers share out every batch, so they learn what one would learn
from the whole batch.
"""

import importlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.config import Config
from pipeline.errors import PipelineError

_NUMBER = "PIPELINE_WORKER"

_MODULE = "pipeline.components.trainer.workers"  # also where it runs as __main__


def is_first() -> bool:
    """Whether this process is the worker that shows progress and writes logs."""
    return os.environ.get(_NUMBER, "0") == "0"


def run(
    config: Config,
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    function: Callable[..., list[str]],
) -> list[str]:
    """Calls `function(config, inputs, outputs)`, on all workers if there are several.

    Returns:
        What it returned on the first worker.

    Raises:
        PipelineError: A worker has failed.
    """
    addresses = config.train.workers
    if addresses == 1:
        return function(config, inputs, outputs)
    local = isinstance(addresses, int)
    if local:
        addresses = [f"localhost:{port}" for port in _free_ports(addresses)]
    folder = outputs["checkpoints"]
    for old in folder.glob("worker-*"):
        old.unlink()
    job = folder / "job.json"
    told = {
        "function": [function.__module__, function.__name__],
        "config": config.model_dump(),
        "inputs": {name: str(path) for name, path in inputs.items()},
        "outputs": {name: str(path) for name, path in outputs.items()},
        "addresses": addresses,
    }
    job.write_text(json.dumps(told))
    if not local:
        for i, address in enumerate(addresses[1:], 1):
            print(f"on {address}: {sys.executable} -m {_MODULE} {job} {i}")
    processes = []
    try:
        for i in range(len(addresses) if local else 1):
            processes.append(_start(job, i))
        _wait(processes, folder)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return json.loads((folder / "worker-0.json").read_text())["result"]


def _start(job: Path, number: int) -> subprocess.Popen:
    # The first shows its progress; what the others say is kept for when they fail.
    command = [sys.executable, "-m", _MODULE, str(job), str(number)]
    with (job.parent / f"worker-{number}.log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdout=log if number else None,
            stderr=log if number else None,
            env={**os.environ, _NUMBER: str(number)},
        )


def _wait(processes: list[subprocess.Popen], folder: Path) -> None:
    """Returns when all are done; raises when one has failed."""
    while any(process.poll() is None for process in processes):
        if any(process.poll() for process in processes):
            time.sleep(2)  # what one fails of, others may tell better
            break
        time.sleep(0.2)
    failed = [i for i, process in enumerate(processes) if process.poll() != 0]
    for i in failed:
        answer = folder / f"worker-{i}.json"
        if answer.exists() and "error" in (told := json.loads(answer.read_text())):
            raise PipelineError(told["error"])
    if failed:
        raise PipelineError(
            f"worker {failed[0]} of {len(processes)} has ended with code "
            f"{processes[failed[0]].poll()}. Its messages are above or in {folder}"
        )


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main(arguments: list[str]) -> int:
    """Is one worker: python -m pipeline.components.trainer.workers JOB.json NUMBER."""
    job, number = Path(arguments[0]), int(arguments[1])
    told = json.loads(job.read_text())
    os.environ[_NUMBER] = str(number)
    cluster, task = {"worker": told["addresses"]}, {"type": "worker", "index": number}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
    import tensorflow as tf

    # Before anything else of TensorFlow's is used, as it demands.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    module, name = told["function"]
    function = getattr(importlib.import_module(module), name)
    folders = [
        {name: Path(path) for name, path in told[kind].items()}
        for kind in ("inputs", "outputs")
    ]
    try:
        with strategy.scope():
            answer = {"result": function(Config(**told["config"]), *folders)}
    except PipelineError as error:
        answer = {"error": str(error)}
    (job.parent / f"worker-{number}.json").write_text(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
