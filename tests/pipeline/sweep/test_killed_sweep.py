"""A sweep of real trainings that is killed at any time, and goes on."""

import fcntl
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import raw_config
from paths import ROOT
from until import until

from pipeline.workspace.metadata import Metadata

pytest.importorskip("optuna", reason="the extra `sweep` is not installed")


def _config(folder):
    random = np.random.default_rng(0)
    rows = [f"u{random.integers(50)},{i % 7},{int(i % 7 > 3)}" for i in range(2000)]
    (folder / "logs.csv").write_text("\n".join(["user,hour,click", *rows]))
    raw = raw_config(
        {"logs": [str(folder / "logs.csv")]},
        features=["user", {"name": "hour", "kind": "numeric"}],
        workspace=str(folder / "work"),
        train={"epochs": 2, "batch_size": 256},
        sweep={"architectures": ["shared_bottom", "single_task", "omoe"]},
    )
    (folder / "own.yaml").write_text(json.dumps(raw))
    return folder / "own.yaml"


def _is_free(work):
    with open(work / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.mark.slow
def test_a_sweep_killed_at_any_time_counts_each_trial_once(tmp_path):
    config, work = _config(tmp_path), tmp_path / "work"
    command = [sys.executable, "-m", "pipeline", "sweep", str(config), "--jobs", "2"]

    def exist(pattern, number):
        return lambda: len(list(work.glob(pattern))) >= number

    for pattern, number in (  # the states in which it is killed
        ("ExampleGen/*/*", 1),
        ("sweeps/*/study.sqlite", 1),
        ("scratch/Trainer/*/*/history.json", 1),
        ("sweeps/*/trainings/*.answer.json", 1),
        ("Trainer/model/*/history.json", 2),
    ):
        sweep = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        until(exist(pattern, number), pattern)
        os.kill(sweep.pid, signal.SIGKILL)
        sweep.wait()
        until(lambda: _is_free(work), "the trainings end with the sweep")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (board,) = work.glob("sweeps/*/leaderboard.json")
    found = json.loads(board.read_text())
    names = sorted(model["name"] for model in found["models"])
    assert names == ["omoe 0", "shared_bottom 0", "single_task 0"]
    assert not found["failed"] and all("test" in m for m in found["models"])
    store = Metadata(work / "metadata.sqlite")
    trained = store.executions("Trainer", state="complete")
    assert len(trained) == len({e.fingerprint for e in trained}) == 3
