"""The first stages of the pipeline on a small log, in this process."""

import tempfile
import warnings
from pathlib import Path

import pytest

from pipeline import config as configs
from pipeline import wildcards
from pipeline.beam import results
from pipeline.check import check
from pipeline.components.example_gen import component as example_gen_
from pipeline.components.example_gen.component import example_gen
from pipeline.components.statistics_gen import statistics_gen
from pipeline.components.transform.component import transform
from pipeline.config import declarations
from pipeline.errors import PipelineError
from pipeline.logs import inspect, parts

USERS = (example_gen_, inspect, parts, results)  # of workers


def _parallel_map(workers, function, items):
    """Calls what workers would; that Beam does so is tested elsewhere."""
    return [function(i, item) for i, item in enumerate(items)]


def run(path, overrides=(), whole=True):
    """Runs what a config asks for, as far as it goes.

    What escapes from here is what the commands show with its trace.

    Args:
        path: The config's file.
        overrides: As `--set` has them.
        whole: Whether to check and transform, besides making examples and statistics.

    Returns:
        The summary of ExampleGen, or the message that stopped it.
    """
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # as the commands do
        for user in USERS:
            patch.setattr(user, "parallel_map", _parallel_map)
        return _run(path, overrides, whole)


def _run(path, overrides, whole):
    try:
        config = wildcards.expand(configs.load(path, overrides), record=False)
        declarations.check(config)  # as a run does, before any stage
        if whole:
            check(config)
        with tempfile.TemporaryDirectory() as folder:
            names = "examples statistics transform_graph transformed_examples".split()
            artifacts = {name: Path(folder) / name for name in names}
            for artifact in artifacts.values():
                artifact.mkdir()
            summary = example_gen(config, {}, artifacts)
            statistics_gen(config, artifacts, artifacts)
            if whole:
                transform(config, artifacts, artifacts)
    except (PipelineError, OSError) as error:
        return str(error)
    return summary
