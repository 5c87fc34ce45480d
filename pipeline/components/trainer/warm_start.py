"""A training starts from a model that is served, whatever its vocabularies were.

An exported SavedModel says all that is needed, wherever it is copied to: its variables,
its vocabularies (assets/FEATURE.txt), and assets.extra/variables.json, which tells the
variable of each weight of the model:

    {path of the weight: [name in variables/, first row, row behind the last]}

where the rows are those of a feature's table; null means all.
"""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

import tfmtl
from pipeline.artifacts import layout
from pipeline.artifacts.warm_start import folder, vocabularies
from pipeline.config import Config
from pipeline.errors import PipelineError
from tfmtl.saved_model.compact_tables import read_variable
from tfmtl.training.warm_start import places


def write_names(model: tfmtl.MultiTaskModel, exported: Path) -> None:
    """Writes down which variable of its SavedModel is which weight of the model.

    Raises:
        PipelineError: The SavedModel does not hold the weights as expected.
    """
    reader = tf.train.load_checkpoint(str(exported / "variables" / "variables"))
    numbers = {id(variable): i for i, variable in enumerate(model.variables)}
    names = {}
    for path, (weight, rows) in places(model).items():
        # How tfmtl.export stores them.
        name = f"variables/{numbers[id(weight)]}"
        # To rounding, as of int8 tables.
        if not np.allclose(read_variable(reader, name), weight.numpy(), 1e-6, 0):
            raise PipelineError(f"the SavedModel in {exported} does not hold {path}")
        names[path] = [name, None, None]
        if rows is not ...:
            names[path] = [name, rows.start, rows.stop]
    target = exported / layout.WEIGHT_NAMES
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(names, indent=1) + "\n")


def apply(config: Config, model: tfmtl.MultiTaskModel, graph: Path) -> list[str]:
    """Gives the model the weights of the one that `train.warm_start` names.

    Args:
        config: The pipeline.
        model: The new model.
        graph: The new transform graph.

    Returns:
        Lines that tell what was carried over.

    Raises:
        ConfigError: There is no such model.
    """
    source = folder(config)
    if source is None:
        return ["warm start: no model is served yet, so it starts anew"]
    reader = tf.train.load_checkpoint(str(source / "variables" / "variables"))
    names = json.loads((source / layout.WEIGHT_NAMES).read_text())
    old = {
        path: read_variable(reader, name)[... if start is None else slice(start, stop)]
        for path, (name, start, stop) in names.items()
    }
    # A value with a backslash counts as new when the first one with a line break joins
    # its vocabulary, whose file then has it escaped.
    new = vocabularies(graph / layout.TRANSFORM_GRAPH)
    report = tfmtl.training.warm_start(model, old, new, vocabularies(source))
    rows = [f"{path} {n:,} of {of:,}" for path, (n, of) in report["rows"].items()]
    lines = [
        f"warm start from {source}: {len(report['copied']) + len(rows)} of "
        f"{len(places(model))} weights"
    ]
    if rows:
        lines.append(f"warm start, known values: {', '.join(rows)}")
    if report["left"]:
        left = [f"{path} ({reason})" for path, reason in report["left"].items()]
        lines.append(f"warm start, left as initialised: {', '.join(left)}")
    return lines
