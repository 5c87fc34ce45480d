"""Two workers learn what one does from the same batches."""

import contextlib
import json
import random
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import training_run
from until import LONGEST

from tfmtl.training import weightings

pytestmark = pytest.mark.slow  # three processes trace every strategy


def _free_ports(number):
    """Ports below those that a system gives to who asks for any, as other tests do."""
    found = set()
    while len(found) < number:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("localhost", port)):
            found.add(str(port))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two workers have left what they learnt."""
    folder = tmp_path_factory.mktemp("workers")
    training_run.write_records(folder)
    ports = [*_free_ports(2)]
    workers = [
        subprocess.Popen(
            [sys.executable, training_run.__file__, folder, "worker", number, *ports],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in "01"
    ]
    try:
        for worker in workers:
            _, errors = worker.communicate(timeout=3 * LONGEST)
            assert worker.returncode == 0, errors
    finally:
        for worker in workers:
            worker.kill()
    return folder


def test_two_processes_equal_one(folder):
    """The rows of `like` are all in the first worker's half of a batch."""
    weights, history = training_run.train_on_workers(folder, "alone")
    for number in (0, 1):
        found = np.load(folder / f"weights-{number}.npz")
        for a, b in zip(weights, found.values(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
        metrics = json.loads((folder / f"history-{number}.json").read_text())
        assert metrics.keys() == history.keys()
        for name, values in history.items():
            assert metrics[name] == pytest.approx(values, abs=1e-6), name
    # One of the two has written what the one alone has.
    names = [
        sorted(path.name for path in (folder / run).iterdir())
        for run in ("workers", "alone")
    ]
    assert names[0] == names[1]


def test_every_strategy_balances_the_whole_batch(folder):
    alone = training_run.balance()
    assert len(alone) == len(weightings())
    for number in (0, 1):
        found = np.load(folder / f"balanced-{number}.npz")
        for name, weights in alone.items():
            np.testing.assert_allclose(
                found[name], weights, rtol=1e-3, atol=1e-5, err_msg=name
            )


def test_workers_that_read_shares_learn_from_both(folder):
    """Each has a file: one worker that reads both in turn has the same batches."""
    records = [
        training_run.tfmtl.data.read(
            str(folder / f"{i}.tfrecord"), training_run.FEATURES, training_run.TASKS, 4
        )
        for i in range(2)
    ]
    both = tf.data.Dataset.zip(*records).map(
        lambda *parts: tf.nest.map_structure(lambda *x: tf.concat(x, 0), *parts)
    )
    weights = training_run.train_on_batches(both)
    for number in (0, 1):
        found = np.load(folder / f"shares-{number}.npz")
        for a, b in zip(weights, found.values(), strict=True):
            np.testing.assert_allclose(b, a, atol=1e-5)


@pytest.fixture(scope="module")
def sharded(folder):
    """What each worker has told of its sharded tables."""
    return [json.loads((folder / f"sharded-{n}.json").read_text()) for n in (0, 1)]


def test_sharded_tables_learn_what_whole_ones_do(folder, sharded):
    """And their checkpoint, slots and admitted ids included, is that of one process."""
    model, checkpoints = training_run.train_sharded(folder, "whole")
    for told in sharded:
        for epoch, values in zip(told["history"], checkpoints.history, strict=True):
            assert epoch == pytest.approx(values, abs=1e-5)
    values = [v.numpy() for v in model.variables]
    for scored in model.embedding.scored.values():
        assert np.count_nonzero(scored.keys) > 4  # ids have come and gone
    training_run.Checkpoints(folder / "sharded").resume(model)
    for found, expected in zip(model.variables, values, strict=True):
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_each_worker_holds_a_part_of_a_sharded_table(sharded):
    for told in sharded:
        assert all(told["same"])  # when they have read their own checkpoint
        assert told["rows"] == {"sharded_table_4": 24, "table_4": 13}  # of 47, of 13
        call, export, adam, norm, pcgrad = told["refusals"]
        assert "looked up by all replicas at once" in call
        assert "each with a part of ['shared_bottom/embedding/sharded_table" in export
        assert "Received: Adam." in adam
        assert "LazyAdam with clipnorm" in norm
        assert "Received: PCGrad" in pcgrad
