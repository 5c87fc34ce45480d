"""Writes fingerprints.json anew, when a layer's formula was changed on purpose.

PYTHONPATH=tests:tests/tfmtl/layers python tests/tfmtl/layers/record_fingerprints.py
"""

import json
from pathlib import Path

import tensorflow as tf
from effects import fingerprint
from layer_cases import CASES


def main():
    """Records each layer's numbers, once they are the same twice."""
    recorded = {}
    for name, (make, inputs) in CASES.items():
        inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
        found, again = fingerprint(make(), inputs), fingerprint(make(), inputs)
        for one, other in zip(found, again, strict=True):
            assert abs(one - other) < 1e-4 * (1 + abs(one)), (name, found, again)
        recorded[name] = [float(f"{number:.6g}") for number in found]
    lines = ",\n".join(
        f"  {json.dumps(n)}: {json.dumps(v)}" for n, v in recorded.items()
    )
    Path(__file__).with_name("fingerprints.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
