"""Which hidden units do their work? Activations of all architectures on the feed.

    python benchmarks/activations.py [--impressions 30000] [--start zero] [NAME ...]

configs/feed.yaml runs up to Transform; each architecture, with default options, is then
trained for one epoch on the train split, as the pipeline does it: predictions start at
the tasks' means (`--start zero` leaves that out). Of the valid split it prints for each
layer behind an activation its units, the share of zeros among its activations, and the
share of units that are dead, the same in every row, before and after the training. The
first line of an architecture is all its layers together. HoME's paper reports experts
with more than 90 % zeros.

It fails (exit status 1) if an architecture has a layer with more than 90 % zeros, or
more than half of its units dead.
"""

import argparse
import json
import sys
from pathlib import Path

import keras
import numpy as np

import tfmtl
from pipeline import config as configs
from pipeline.artifacts import layout
from pipeline.config import declarations
from pipeline.run import run

ROOT = Path(__file__).parent.parent
WORKSPACE = Path("workspace") / "activations"
MOST_ZEROS, MOST_DEAD = 0.9, 0.5


def activity(units: dict) -> dict[str, tuple[int, float, float]]:
    """Returns of each layer its units, the share of zeros and that of dead units.

    Args:
        units: `model.gate_health(data)["units"]`.
    """
    layers = {}
    for path, seen in units.items():
        number = np.size(seen["active"])
        zeros = 1 - float(np.mean(seen["active"]))
        layers[path] = number, zeros, seen["dead"] / number
    return layers


def together(layers: dict[str, tuple[int, float, float]]) -> tuple[int, float, float]:
    """Returns the same of all layers, which count by their units."""
    numbers, zeros, dead = np.transpose([*layers.values()])
    return int(numbers.sum()), *(
        float(np.average(share, weights=numbers)) for share in (zeros, dead)
    )


def measure(model, batches, means: dict, seed: int) -> tuple:
    """Trains a model; returns `activity` on the valid rows before and after."""
    model.start_at(means)

    def look():
        units = model.gate_health(batches("valid"))["units"]
        return activity({p.removeprefix(f"{model.name}/"): u for p, u in units.items()})

    before = look()
    model.compile()
    model.fit(batches("train", shuffle=100_000, seed=seed), verbose=0)
    return before, look()


def main(argv: list[str] | None = None) -> int:
    """Prints the tables; returns 1 if a layer does not do its work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--impressions", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", choices=("means", "zero"), default="means")
    args = parser.parse_args(argv)
    config = configs.load(
        ROOT / "configs" / "feed.yaml",
        [
            f"workspace={WORKSPACE}",
            f"push.destination={WORKSPACE}/served",
            f"data.options.impressions={args.impressions}",
        ],
    )
    artifacts = run(config, until="Transform", report=lambda line: None)
    sizes = json.loads((artifacts["transform_graph"] / layout.FEATURES).read_text())
    features, tasks = declarations.declare(config, sizes)
    means = {}
    if args.start == "means":
        rates = json.loads((artifacts["statistics"] / layout.LABEL_RATES).read_text())
        rates = rates["train"][layout.ALL_DOMAINS]
        means = {task: rate["mean"] for task, rate in rates.items()}

    def batches(split, **options):
        folder = layout.split(artifacts["transformed_examples"], split)
        files = str(folder / layout.RECORD_FILES)
        return tfmtl.data.read(files, features, tasks, 256, **options)

    failed = False
    print(f"{'':<48}units  zeros   dead  (before)")
    for name in args.names or tfmtl.models.names():
        keras.utils.set_random_seed(args.seed)
        takes_domain = "domain" in tfmtl.models.options(name)
        options = {"domain": config.domain} if takes_domain else {}
        model = tfmtl.models.get(name)(features, tasks, **options)
        before, layers = measure(model, batches, means, args.seed)
        rows = {name: (together(layers), together(before)[2])}
        rows |= {layer: (layers[layer], before[layer][2]) for layer in layers}
        for layer, ((number, zeros, dead), at_first) in rows.items():
            missed = layer != name and (zeros > MOST_ZEROS or dead > MOST_DEAD)
            failed |= missed
            indent = "" if layer == name else "  "
            print(
                f"{indent + layer:<48}{number:>5}  {zeros:5.1%}  {dead:5.1%}  "
                f"({at_first:.1%}){'  MISSED' if missed else ''}",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
