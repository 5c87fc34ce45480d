"""Writes fingerprints.json anew, when a formula was changed on purpose.

PYTHONPATH=tests:tests/tfmtl/layers:tests/tfmtl/models \
    python tests/tfmtl/record_fingerprints.py
"""

import json
from pathlib import Path

import tensorflow as tf
from effects import fingerprint
from layer_cases import CASES
from model_options import changed, measure, other

import tfmtl

HERE = Path(__file__).parent


def of_layer(name):
    """Returns the numbers of a layer, once they are the same twice."""
    make, inputs = CASES[name]
    inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
    return _twice(lambda: fingerprint(make(), inputs), name)


def of_architecture(name):
    """Returns {option: the numbers with another value}, "" for the defaults."""
    recorded = {"": _twice(lambda: measure(name).fingerprint(), name)}
    for option in tfmtl.models.options(name):
        if option != "name" and other(name, option) is not None:
            recorded[option] = _rounded(changed(name, option).fingerprint())
    return recorded


def _twice(find, name):
    found, again = find(), find()
    for one, two in zip(found, again, strict=True):
        assert abs(one - two) < 1e-4 * (1 + abs(one)), (name, found, again)
    return _rounded(found)


def _rounded(numbers):
    return [float(f"{number:.6g}") for number in numbers]


def _text(recorded, indent="  "):
    """JSON with a list a line."""
    entries = [
        f"{indent}{json.dumps(name)}: "
        + (_text(v, indent + "  ") if isinstance(v, dict) else json.dumps(v))
        for name, v in recorded.items()
    ]
    return "{\n" + ",\n".join(entries) + f"\n{indent[2:]}}}"


if __name__ == "__main__":
    for folder, recorded in {
        "layers": {name: of_layer(name) for name in CASES},
        "models": {name: of_architecture(name) for name in tfmtl.models.names()},
    }.items():
        (HERE / folder / "fingerprints.json").write_text(_text(recorded) + "\n")
