"""Writes fingerprints.json anew, when a formula was changed on purpose.

PYTHONPATH=tests:tests/tfmtl/layers:tests/tfmtl/models \
    python tests/tfmtl/record_fingerprints.py [NAME ...]

Names are layers and architectures; without any, all are recorded.
"""

import json
import sys
from pathlib import Path

import tensorflow as tf
from effects import fingerprint
from layer_cases import CASES
from model_options import changed, groups, measure

import tfmtl

HERE = Path(__file__).parent


def of_layer(name):
    """Returns the numbers of a layer, once they are the same twice."""
    make, inputs = CASES[name]
    inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
    return _twice(lambda: fingerprint(make(), inputs), name)


def of_architecture(name):
    """Returns {options with other values: the numbers}, "" for the defaults."""
    recorded = {"": _twice(lambda: measure(name).fingerprint(), name)}
    for options in groups(name):
        recorded["+".join(options)] = _rounded(changed(name, options).fingerprint())
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


def _record(folder, names, measure):
    """Writes what is measured of those that were asked for; the others stay."""
    file = HERE / folder / "fingerprints.json"
    recorded = json.loads(file.read_text())
    asked = sys.argv[1:] or names
    recorded = {n: measure(n) if n in asked else recorded[n] for n in names}
    file.write_text(_text(recorded) + "\n")


if __name__ == "__main__":
    _record("layers", list(CASES), of_layer)
    _record("models", tfmtl.models.names(), of_architecture)
