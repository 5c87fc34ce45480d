"""Stands for pipeline.sweep.trial where a test is not about training.

What it does is told by `model.options` of its architecture: {"fail": true}, {"die":
true}, {"megabytes": 300} to take so much and wait, or {"wait": true}.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path


def _end_with_the_sweep():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


def main(job, answer):
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    told = json.loads(job.read_text())
    with open(job.parent / "started", "a") as started:
        started.write(f"{told['run']}\n")
    set_ = dict(change.partition("=")[::2] for change in told["overrides"])
    options = json.loads(set_["model.options"])
    held = b"\1" * (1_000_000 * options.get("megabytes", 0))
    while options.get("wait") or held:
        time.sleep(0.05)
    if options.get("die"):
        sys.exit("I die")
    result = {"error": "no luck"}
    if not options.get("fail"):
        rate = float(set_.get("train.learning_rate", 0.01))
        model = job.with_suffix(".model")
        (model / "Format-Serving").mkdir(parents=True, exist_ok=True)
        result = {
            "value": abs(rate - 0.003) + 0.0001 * int(set_["train.seed"]),
            "metrics": {"val_loss": rate},
            "parameters": 7,
            "seconds": 1.5,
            "model": str(model),
        }
    answer.write_text(json.dumps(result))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
