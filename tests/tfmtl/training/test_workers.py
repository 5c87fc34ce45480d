"""Two workers learn what one does from the same batches."""

import contextlib
import json
import random
import socket
import subprocess
import sys

import numpy as np
import pytest
import training_run
from until import LONGEST


def _free_ports(number):
    """Ports below those that a system gives to who asks for any, as other tests do."""
    found = set()
    while len(found) < number:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("localhost", port)):
            found.add(str(port))
    return found


def test_two_processes_equal_one(tmp_path):
    """The rows of `like` are all in the first worker's half of a batch."""
    training_run.write_records(tmp_path)
    ports = [*_free_ports(2)]
    workers = [
        subprocess.Popen(
            [sys.executable, training_run.__file__, tmp_path, "worker", number, *ports],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in "01"
    ]
    try:
        for worker in workers:
            _, errors = worker.communicate(timeout=LONGEST)
            assert worker.returncode == 0, errors
    finally:
        for worker in workers:
            worker.kill()
    weights, history = training_run.train_on_workers(tmp_path, "alone")
    for number in (0, 1):
        found = np.load(tmp_path / f"weights-{number}.npz")
        for a, b in zip(weights, found.values(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
        metrics = json.loads((tmp_path / f"history-{number}.json").read_text())
        assert metrics.keys() == history.keys()
        for name, values in history.items():
            assert metrics[name] == pytest.approx(values, abs=1e-4), name
    # One of the two has written what the one alone has.
    names = [
        sorted(path.name for path in (tmp_path / run).iterdir())
        for run in ("workers", "alone")
    ]
    assert names[0] == names[1]
