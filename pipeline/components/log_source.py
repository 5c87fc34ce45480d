"""LogSource: writes the logs of a bundled dataset, as if a service had logged them."""

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path

from pipeline.config import Config, nearest
from pipeline.errors import PipelineError


def log_source(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> dict:
    """Runs `generate` of pipeline.datasets.SOURCE with the config's options.

    Args:
        config: Its `data.source` and `data.options`.
        inputs: None.
        outputs: `logs`.

    Returns:
        The dataset's own summary, with `rows`.
    """
    source, options = config.data.source, config.data.options
    generate = importlib.import_module(f"pipeline.datasets.{source}").generate
    _, *parameters = inspect.signature(generate).parameters.values()
    known = [parameter.name for parameter in parameters]
    for parameter in parameters:
        if parameter.default is parameter.empty and parameter.name not in options:
            raise PipelineError(f"data.options.{parameter.name}: {source} needs it")
    for option in options:
        if option not in known:
            raise PipelineError(
                f"data.options.{option}: unknown option of {source}."
                f"{nearest(option, known)} Known: {', '.join(known)}"
            )
    return generate(outputs["logs"], **options)
