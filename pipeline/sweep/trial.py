"""One training of a sweep, a process of its own: what it is told, and what it tells.

    python -m pipeline.sweep.trial JOB.json ANSWER.json

It ends when the process of the sweep does, however that ends: its standard input is a
pipe that nothing is written to. The workspace stays held until then, as it has
inherited the lock.
"""

import json
import math
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.artifacts import layout
from pipeline.beam.atomic import atomic_write
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.run import run_held
from pipeline.sweep import space
from pipeline.workspace.metadata import Metadata

COMPONENT = "Trainer"


def train(told: Mapping[str, Any]) -> dict[str, Any]:
    """Trains one model, or finds it in the cache.

    Args:
        told: {"config": of the sweep, "overrides": of this training, "run": its name}.

    Returns:
        {"value": `train.monitor` on the validation split, "metrics": all that were
        measured there, "parameters", "seconds", "model": where it lies}, all of the
        epoch that is kept.

    Raises:
        PipelineError: The training has failed.
    """
    config = space.config_of(Config(**told["config"]), told["overrides"])
    artifacts = run_held(
        config, [COMPONENT], overrides=told["overrides"], name=told["run"]
    )
    model = artifacts["model"]
    store = Metadata(Path(config.workspace) / layout.METADATA)
    number = model.name.partition("-")[0]
    (execution,) = (e for e in store.executions(COMPONENT) if str(e.id) == number)
    epochs = json.loads((model / layout.HISTORY).read_text())["epochs"]
    kept = epochs[execution.summary["best_epoch"] - 1]
    value = kept[config.train.monitor]
    if not math.isfinite(value):
        raise PipelineError(f"{config.train.monitor} is {value}")
    return {
        "value": value,
        "metrics": {
            name: number if math.isfinite(number) else None
            for name, number in kept.items()
            if name.startswith("val_")
        },
        "parameters": execution.summary["parameters"],
        "seconds": execution.seconds,
        "model": str(model),
    }


def _end_with_the_sweep() -> None:
    os.read(sys.stdin.fileno(), 1)  # not sys.stdin, whose lock would stop the exit
    os.killpg(0, signal.SIGKILL)  # what this process has started, too


def main(arguments: list[str]) -> int:
    """Trains as JOB.json says."""
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    job, answer = map(Path, arguments)
    try:
        told = train(json.loads(job.read_text()))
    except PipelineError as error:
        told = {"error": str(error)}
    with atomic_write(answer) as part:
        part.write_text(json.dumps(told))
    return 1 if "error" in told else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
