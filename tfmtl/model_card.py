"""The card of an exported model: what it takes and what it gives, for people and tools.

It lies in the SavedModel, at `assets.extra/model_card.json`, where TF Serving leaves it
alone. `tfmtl.export` writes

| key        |                                                                    |
|------------|--------------------------------------------------------------------|
| model      | architecture, number of parameters                                 |
| tasks      | name, kind, label, sample space, calibration, range of predictions |
| features   | name of each raw input, its type, shape, and what stands for none  |
| signatures | names of the inputs of each                                        |
| rank       | user's features, fused score and outputs of the signature `rank`   |
| libraries  | versions of those that wrote it                                    |

and whoever knows more, such as examples of values or the metrics, adds keys with
`write`.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfmtl._version import __version__

CARD = Path("assets.extra") / "model_card.json"

_RANGES = {"binary": [0.0, 1.0], "count": [0.0, None], "regression": [None, None]}


def _range(task) -> list:
    return [0.0, task.classes - 1.0] if task.classes else _RANGES[task.kind]


def read(saved_model: str | os.PathLike) -> dict[str, Any]:
    """Returns the card of a SavedModel; empty if it has none."""
    file = Path(saved_model) / CARD
    return json.loads(file.read_text()) if file.is_file() else {}


def write(saved_model: str | os.PathLike, card: Mapping[str, Any]) -> Path:
    """Writes the card into a SavedModel, over the one that it has.

    Args:
        saved_model: Folder of the SavedModel.
        card: What JSON can hold.

    Returns:
        The file.
    """
    file = Path(saved_model) / CARD
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(card, indent=1, allow_nan=False) + "\n")
    return file


def describe(
    model: keras.Model,
    raw_specs: Mapping[str, tf.TensorSpec],
    missing: Mapping[tf.DType, Any],
    endpoints: Mapping,
) -> dict[str, Any]:
    """Returns what can be told from the model alone.

    Args:
        model: A `MultiTaskModel`.
        raw_specs: {raw feature: spec}.
        missing: {dtype: what stands for a missing value}; 0 for others.
        endpoints: {signature: its graph, a concrete function}.
    """
    return {
        "model": {
            # As configs have it; one of the user's own has the name of its class.
            "architecture": vars(type(model)).get("architecture")
            or type(model).__name__,
            "parameters": model.count_params(),
        },
        "tasks": [
            {
                "name": task.name,
                "kind": task.kind,
                "label": task.label,
                "space": task.space,
                "calibration": task.calibration,
                "range": _range(task),
                **({"classes": task.classes} if task.classes else {}),
            }
            for task in model.tasks
        ],
        "features": [
            {
                "name": name,
                "type": spec.dtype.name,
                "shape": spec.shape.as_list()[1:],
                # JSON has no NaN, so it is a word here.
                "missing": "NaN" if (m := missing.get(spec.dtype, 0)) != m else m,
            }
            for name, spec in raw_specs.items()
        ],
        "signatures": {
            name: [
                spec.name
                for spec in tf.nest.flatten(function.structured_input_signature)
            ]
            for name, function in endpoints.items()
        },
        "libraries": {
            "tfmtl": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }
