"""What each architecture costs as it is by default, beside Shared-Bottom.

    python benchmarks/defaults.py [--turns 3] [--output FILE] [NAME ...]

12 categorical features of dimension 16, one of them a domain of three values for the
architectures that take one, and four tasks; batch 1024, Adam, without XLA, on
prebatched tensors in memory. Each takes turns with Shared-Bottom. Prints, as multiples
of Shared-Bottom's,

    weights     trainable numbers above the embedding tables
    step        CPU time of a training step, least of the turns

and the table of docs/models/index.md, "All of them", has these figures. It measures
cost alone: sizes are options. Each line is kept in --output as it comes, and a rerun
measures those that are missing; delete the file to measure all again in one run.
"""

import argparse
import gc
import json
from pathlib import Path

from step import Training

import tfmtl

DIM, DOMAINS, ROWS = 16, 3, 1000
IDS = ("user_id", "video_id", "author_id", *(f"id_{i}" for i in range(8)))
TASKS = ("click", "like", "follow", "forward")


def training(name: str) -> Training:
    """Returns a default architecture, with the domain where it takes one."""
    features = [tfmtl.Categorical("tab", vocabulary_size=DOMAINS, embedding_dim=DIM)]
    features += [
        tfmtl.Categorical(n, vocabulary_size=ROWS, embedding_dim=DIM) for n in IDS
    ]
    takes = tfmtl.models.options(name)
    options = {"domain": "tab"} if "domain" in takes else {}
    if "prior_features" in takes:
        options["prior_features"] = list(IDS[:3])
    return Training(name, features, [tfmtl.Task(t) for t in TASKS], **options)


def measure(name: str, base: Training, turns: int, steps: int) -> dict:
    """Returns weights and milliseconds of an architecture and of Shared-Bottom."""
    ours = training(name)
    ours.take(2)
    times = [(ours.take(steps), base.take(steps)) for _ in range(turns)]
    ms, of_base = (min(column) * 1e3 for column in zip(*times, strict=True))
    return {
        "architecture": name,
        "parameters": ours.parameters,
        "weights": ours.parameters / base.parameters,
        "ms": ms,
        "shared_bottom_ms": of_base,
        "step": ms / of_base,
    }


def main(argv: list[str] | None = None) -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="of a turn")
    parser.add_argument("--output", type=Path, default=Path("workspace/defaults.json"))
    args = parser.parse_args(argv)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(args.output.read_text()) if args.output.exists() else {}
    names = args.names or tfmtl.models.names()
    base = training("shared_bottom")
    base.take(2)
    print("| name | weights | step |\n|---|---|---|")
    for name in names:
        if name not in found:
            found[name] = measure(name, base, args.turns, args.steps)
            args.output.write_text(json.dumps(found, indent=1))
            gc.collect()
        cell = found[name]
        print(f"| {name} | {cell['weights']:.1f} | {cell['step']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
