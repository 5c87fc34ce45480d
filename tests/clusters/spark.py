"""A Spark cluster: a master, workers, and Beam's job server, which is the driver."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from clusters import portable
from clusters.processes import Cluster, free_port, listens, processes

_BEAM = "org.apache.beam.runners.spark.SparkJobServerDriver"
_LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1}: %m%n%ex
"""


@contextlib.contextmanager
def start(
    folder: Path, workers: int = 2, before: Sequence[str] = ()
) -> Iterator[Cluster]:
    """Yields a cluster.

    Args:
        folder: For logs and what it keeps.
        workers: Their number, of one core each.
        before: What stands before the command of each of Beam's workers.

    Raises:
        FileNotFoundError: Its jars are not there.
    """
    home = portable.home("spark")
    logging = folder / "log4j2.properties"
    logging.write_text(_LOGGING)
    java = ["java", "-Xmx512m", *portable.OPENS, "-Dspark.driver.host=127.0.0.1"]
    java += [f"-Dlog4j2.configurationFile={logging}", "-cp", f"{home}/jars/*"]
    env = {"SPARK_HOME": str(home), "SPARK_SCALA_VERSION": "2.12"}
    env |= {"SPARK_LOCAL_IP": "127.0.0.1"}
    port = free_port()
    master = f"spark://127.0.0.1:{port}"
    deploy = "org.apache.spark.deploy"
    host = ["--host", "127.0.0.1", "--webui-port", "0"]
    with processes(folder) as started:
        line = [*java, f"{deploy}.master.Master", *host, "--port", port]
        started.start("master", line, **env)
        started.wait_until(lambda: listens(port), "Spark's master")
        line = [*java, f"{deploy}.worker.Worker", *host, "--cores", "1"]
        all_ = [
            started.start(
                f"worker-{i}",
                [*line, "--memory", "1g", "--work-dir", folder / f"work-{i}", master],
                **env,
            )
            for i in range(workers)
        ]
        server = [*java, _BEAM, f"--spark-master-url={master}"]
        head, flags = portable.job_server(started, folder, server, before, **env)
        yield Cluster("PortableRunner", flags, head, all_, started.cpu)
