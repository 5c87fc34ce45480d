"""What can be seen inside of a trained model: its gates, hidden units and parameters.

| file            |                                                                    |
|-----------------|--------------------------------------------------------------------|
| gates.json      | `MultiTaskModel.gate_health` on the valid split, by domain         |
| parameters.json | {"parameters", "parts": {part: parameters}, "tables": {table:      |
|                 | {"rows", "dim", "parameters"}}}                                    |
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

import tfmtl
from pipeline.artifacts import examples, layout
from pipeline.artifacts import statistics as statistics_artifact
from pipeline.config import Config
from tfmtl.features import check_domain
from tfmtl.layers.embedding.table_rows import rows_of_table

ROWS = 200_000  # of the valid split, at most: what gates do is seen by then
DOMAINS = 20  # the most frequent ones


def write(
    config: Config, model: tfmtl.MultiTaskModel, inputs: Mapping[str, Path], to: Path
) -> list[str]:
    """Writes both files.

    Args:
        config: The pipeline's config.
        model: As it will be served.
        inputs: The Trainer's.
        to: The model artifact.

    Returns:
        A warning for each gate, expert or layer that does not do its work.
    """
    (to / layout.PARAMETERS).write_text(json.dumps(parameters(model), indent=1) + "\n")
    health = _gates(config, model, inputs)
    (to / layout.GATES).write_text(json.dumps(health, indent=1) + "\n")
    return [f"{f['where']}: {f['text']} {f['hint']}" for f in health["findings"]]


def parameters(model: tfmtl.MultiTaskModel) -> dict[str, Any]:
    """Counts parameters: of all, of each part of the model, of each embedding table."""
    parts: dict[str, int] = {}
    for weight in model.weights:
        within = weight.path.removeprefix(f"{model.name}/").split("/")
        parts[within[0]] = parts.get(within[0], 0) + math.prod(weight.shape)
    tables = {
        f.table_name: {
            "rows": f.table_size,
            "dim": f.embedding_dim,
            "parameters": f.table_size * f.embedding_dim,
        }
        for f in model.features
        if isinstance(f, tfmtl.Categorical)
    }
    return {"parameters": sum(parts.values()), "parts": parts, "tables": tables}


def _gates(
    config: Config, model: tfmtl.MultiTaskModel, inputs: Mapping[str, Path]
) -> dict[str, Any]:
    """`gate_health` as JSON has it, domains by their values."""
    batch = config.train.batch_size
    files = layout.split(inputs["transformed_examples"], "valid") / layout.RECORD_FILES
    data = tfmtl.data.read(str(files), model.features, model.tasks, batch)
    data = data.take(-(-ROWS // batch))
    names = _domain_rows(config, model, inputs)
    health = model.gate_health(data, config.domain if names else None)
    for gate in health["gates"].values():
        gate |= {key: gate[key].round(5).tolist() for key in ("mean", "std")}
        largest = sorted(gate["domains"].items(), key=lambda item: -item[1]["rows"])
        gate["domains"] = {
            names.get(row, f"row {row}"): {
                "rows": part["rows"],
                "mean": part["mean"].round(5).tolist(),
                "std": part["std"].round(5).tolist(),
            }
            for row, part in largest[:DOMAINS]
        }
    for units in health["units"].values():
        units["active"] = units["active"].round(4).tolist()
    return {"domain": config.domain if names else None, **health}


def _domain_rows(
    config: Config, model: tfmtl.MultiTaskModel, inputs: Mapping[str, Path]
) -> dict[int, str]:
    """{row of the domain's table: its value}; empty if there are no domains to tell."""
    try:
        feature = check_domain(model.features, config.domain)
    except ValueError:  # a column that the model does not read, or not by rows
        return {}
    _, stats = statistics_artifact.read(inputs["statistics"], "train")
    if feature is None or not stats[config.domain].HasField("string_stats"):
        return {}
    values = [v.value for v in stats[config.domain].string_stats.top_values]
    features = config.raw_features
    rows = examples.raw_rows([{config.domain: v} for v in values], features)
    graph = tf.saved_model.load(str(inputs["transform_graph"] / layout.TRANSFORM_GRAPH))
    raw = examples.raw_inputs(rows, features)
    ids = graph.transform({k: tf.constant(v) for k, v in raw.items()})[config.domain]
    named: dict[int, list[str]] = {}
    for value, row in zip(values, rows_of_table(ids, feature).numpy(), strict=True):
        named.setdefault(int(row), []).append(value)
    return {
        row: of[0] if len(of) == 1 else f"{of[0]} and {len(of) - 1} more"
        for row, of in named.items()
    }
