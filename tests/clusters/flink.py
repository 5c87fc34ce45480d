"""A Flink cluster: a job manager, task managers, and Beam's job server before them."""

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from clusters import portable
from clusters.processes import Cluster, free_port, processes

_BEAM = "org.apache.beam.runners.flink.FlinkJobServerDriver"
_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_WORKER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_CONFIG = """\
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: 127.0.0.1
rest.address: 127.0.0.1
rest.port: {rest}
# Else a worker that dies ends the job.
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 3
restart-strategy.fixed-delay.delay: 1 s
taskmanager.host: 127.0.0.1
taskmanager.numberOfTaskSlots: 1
taskmanager.cpu.cores: 1
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.task.heap.size: 256m
taskmanager.memory.task.off-heap.size: 0
taskmanager.memory.managed.size: 128m
taskmanager.memory.network.min: 64m
taskmanager.memory.network.max: 64m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 128m
taskmanager.memory.jvm-overhead.max: 128m
"""


@contextlib.contextmanager
def start(
    folder: Path, workers: int = 2, before: Sequence[str] = ()
) -> Iterator[Cluster]:
    """Yields a cluster.

    Args:
        folder: For logs and what it keeps.
        workers: Task managers, of one slot each.
        before: What stands before the command of each of Beam's workers.

    Raises:
        FileNotFoundError: Its jars are not there.
    """
    java = ["java", "-Xmx512m", f"-Djava.io.tmpdir={folder}", *portable.OPENS]
    java += ["-cp", f"{portable.home('flink')}/jars/*"]
    rest = free_port()
    conf = folder / "conf"
    conf.mkdir()
    (conf / "flink-conf.yaml").write_text(_CONFIG.format(rpc=free_port(), rest=rest))
    env = {"FLINK_CONF_DIR": str(conf)}
    at = ["--configDir", conf]
    with processes(folder) as started:
        manager = [*java, _MANAGER, *at, "--executionMode", "cluster"]
        started.start("job-manager", manager, **env)
        all_ = [
            started.start(f"task-manager-{i}", [*java, _WORKER, *at], **env)
            for i in range(workers)
        ]
        started.wait_until(lambda: _task_managers(rest) == workers, "Flink")
        server = [*java, _BEAM, f"--flink-master=127.0.0.1:{rest}"]
        server += [f"--flink-conf-dir={conf}"]
        head, flags = portable.job_server(started, folder, server, before, **env)
        flags += [f"--parallelism={workers}"]
        yield Cluster("PortableRunner", flags, head, all_, started.cpu)


def _task_managers(port: int) -> int:
    """How many the job manager knows."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/overview") as answer:
            return json.load(answer)["taskmanagers"]
    except (urllib.error.URLError, ConnectionError):
        return -1
