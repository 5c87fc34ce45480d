"""What a training step costs under each loss and each way to weigh the tasks.

    python benchmarks/balancing_cost.py [--only NAME ...] [--steps 30] [--rounds 3]

A shared bottom with 4 tasks over 20 categorical features of 100,000 ids each and 10
numbers, batch 1024, in memory. Each case runs in a process of its own; cases take turns
in rounds. Printed are the least CPU seconds of a step and the most memory that a
process has held, each beside those of the plain sum of `bce`: for a task's loss those
of 4 tasks of that loss.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

FEATURES, IDS, NUMBERS, TASKS, BATCH = 20, 100_000, 10, 4, 1024
PLAIN = "bce"
# {loss: what kind of task it is for}
LOSSES = {
    "bce": "binary",
    "focal": "binary",
    "jrc": "binary",
    "pairwise": "binary",
    "listwise": "binary",
    "softmax": "classes",
    "mse": "regression",
    "log_mse": "regression",
    "weighted_logistic": "regression",
    "quantile": "regression",
    "tweedie": "regression",
    "ziln": "regression",
    "ordinal": "regression",
}


def run(name: str, steps: int) -> dict[str, float]:
    """Trains as the case says; returns CPU seconds of a step, and megabytes."""
    import keras
    import tensorflow as tf

    import tfmtl

    keras.utils.set_random_seed(0)
    features = [
        tfmtl.Categorical(f"id_{i}", vocabulary_size=IDS, embedding_dim=16)
        for i in range(FEATURES)
    ]
    features += [tfmtl.Numeric(f"x_{i}") for i in range(NUMBERS)]
    options = {"loss": _loss(name), "kind": LOSSES.get(name, "binary")}
    tasks = [tfmtl.Task(f"t{i}", **options) for i in range(TASKS)]
    model = tfmtl.models.get("shared_bottom")(features, tasks, units=(256, 128))
    model.compile(loss_weighting="fixed" if name in LOSSES else name)
    random = np.random.default_rng(0)
    x = {f"id_{i}": random.integers(0, IDS, BATCH) for i in range(FEATURES)}
    x |= {f"x_{i}": random.normal(size=BATCH).astype("float32") for i in range(NUMBERS)}
    y = {task.name: random.integers(0, 2, BATCH).astype("float32") for task in tasks}
    data = tf.data.Dataset.from_tensors((x, y)).cache().repeat()
    model.fit(data, steps_per_epoch=5, verbose=0)  # traced
    start = time.process_time()
    model.fit(data, steps_per_epoch=steps, verbose=0)
    seconds = (time.process_time() - start) / steps
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "megabytes": kilobytes / 1024}


def _loss(name: str):
    if name in ("pairwise", "listwise"):  # beside the first
        return ["bce", {"name": name, "group": "id_0"}]
    if name == "jrc":
        return {"name": name, "group": "id_0"}
    if name == "softmax":
        return {"name": name, "classes": 2}
    if name == "ordinal":
        return {"name": name, "lowest": 0, "highest": 1}
    return name if name in LOSSES else None


def main(arguments: list[str] | None = None) -> None:
    """Measures all cases and prints a table."""
    import tfmtl

    weightings = [n for n in tfmtl.training.weightings() if n != "fixed"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[*LOSSES, *weightings])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        print(json.dumps(run(options.case, options.steps)))
        return
    names = list(dict.fromkeys([PLAIN, *options.only]))
    found = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            command = [sys.executable, __file__, "--case", name]
            command += ["--steps", str(options.steps)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    least = {
        name: [min(r[key] for r in rounds) for key in ("seconds", "megabytes")]
        for name, rounds in found.items()
    }
    print("| | CPU | memory |\n|---|---|---|")
    for name, (seconds, megabytes) in least.items():
        more = megabytes - least[PLAIN][1]
        print(f"| `{name}` | {seconds / least[PLAIN][0]:.2f} | {more:+.0f} MB |")
    print(f"1 is {least[PLAIN][0] * 1000:.0f} ms of CPU time a step.")


if __name__ == "__main__":
    main()
