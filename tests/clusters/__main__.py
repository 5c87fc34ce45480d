"""Brings up a cluster, until Ctrl-C: python -m clusters {dask,flink,spark}."""

import argparse
import importlib
import shlex
import signal
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Prints the flags of jobs for the cluster, and waits."""
    parser = argparse.ArgumentParser(prog="python -m clusters", description=__doc__)
    parser.add_argument("name", choices=("dask", "flink", "spark"))
    parser.add_argument("--workers", type=int, default=2, help="processes; default: 2")
    args = parser.parse_args()
    engine = importlib.import_module(f"clusters.{args.name}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix=f"{args.name}-") as folder:
        try:
            with engine.start(Path(folder), args.workers) as cluster:
                print(f"logs: {folder}")
                print(shlex.join([f"--runner={cluster.runner}", *cluster.flags]))
                sys.stdout.flush()
                signal.pause()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
