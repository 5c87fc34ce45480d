"""Engines whose workers are processes, for what must not depend on shared memory."""

import contextlib
import importlib
import os
import sys
from pathlib import Path
from unittest import mock

import pytest
from paths import ROOT

from pipeline.config.sections import Beam

# Beam leaves the pipes of its worker processes open.
_OPEN_PIPES = "ignore::pytest.PytestUnraisableExceptionWarning"
ENGINES = [
    "dask",
    "flink",
    "spark",
    pytest.param("prism", marks=pytest.mark.filterwarnings(_OPEN_PIPES)),
]
PRISM = ROOT / ".engines" / "prism"


@contextlib.contextmanager
def engine(name, folder):
    """Yields the section of a config that runs the Beam jobs on an engine."""
    if name != "prism":
        with cluster(name, folder) as found:
            yield Beam(runner=found.runner, flags=found.flags)
        return
    if not PRISM.is_file():
        pytest.skip("needs Go, and `make engine-prism`")
    flags = [f"--prism_location={PRISM}", "--experiments=use_loopback_process_worker"]
    # Beam starts workers by the name `python`.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with mock.patch.dict(os.environ, PATH=path, PYTHONPATH=str(ROOT)):
        yield Beam(runner="PrismRunner", flags=flags)


@contextlib.contextmanager
def cluster(name, folder, workers=2, before=()):
    """Yields a `Cluster`; skips where Java or the jars are missing."""
    folder = folder / f"cluster-{name}"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        try:
            start = importlib.import_module(f"clusters.{name}").start
            found = stack.enter_context(start(folder, workers, before))
        except FileNotFoundError as error:
            pytest.skip(f"needs Java, Maven and `make engine-{name}`: {error}")
        yield found
