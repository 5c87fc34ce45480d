"""Writes fingerprints.json anew, when a formula was changed on purpose.

PYTHONPATH=tests:tests/tfmtl/layers:tests/tfmtl/models \
    python tests/tfmtl/record_fingerprints.py
"""

import json
from pathlib import Path

import tensorflow as tf
from effects import fingerprint
from layer_cases import CASES
from model_options import changed, measure, other, unchanged

import tfmtl

HERE = Path(__file__).parent


def of_layer(name):
    """Returns the numbers of a layer, once they are the same twice."""
    make, inputs = CASES[name]
    inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
    found, again = fingerprint(make(), inputs), fingerprint(make(), inputs)
    return _rounded(name, found, again)


def of_architecture(name):
    """Returns {option: the numbers with another value}, "" for the defaults."""
    plain = unchanged(name).fingerprint()
    recorded = {"": _rounded(name, plain, measure(name).fingerprint())}
    for option in tfmtl.models.options(name):
        if option != "name" and other(name, option) is not None:
            found = changed(name, option).fingerprint()
            recorded[option] = _rounded(name, found, found)
    return recorded


def _rounded(name, found, again):
    for one, two in zip(found, again, strict=True):
        assert abs(one - two) < 1e-4 * (1 + abs(one)), (name, found, again)
    return [float(f"{number:.6g}") for number in found]


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
