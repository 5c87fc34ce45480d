"""How long a training took that was stopped and went on."""

import contextlib
import os
import sqlite3

import pytest

from pipeline.artifacts import layout
from pipeline.errors import PipelineError
from pipeline.execution import execute
from pipeline.stages import Stage
from pipeline.workspace import lock as workspaces
from pipeline.workspace.metadata import Metadata


class _Training(Stage):
    """A Trainer that fails where it is told to."""

    def function(self):
        def train(config, inputs, outputs):
            if config == "fail":
                raise PipelineError("no luck")
            return {"rows": 1}

        return train


@pytest.fixture
def store(tmp_path):
    return Metadata(tmp_path / layout.METADATA)


def _train(tmp_path, store, config="succeed"):
    stage = _Training("Trainer", (), ("model",), str, scratch=("checkpoints",))
    return execute(stage, config, [], "key", "a run", store, tmp_path)[0]


def _fail_after(tmp_path, store, seconds):
    with pytest.raises(PipelineError, match="no luck"):
        _train(tmp_path, store, "fail")
    with contextlib.closing(sqlite3.connect(tmp_path / layout.METADATA)) as db, db:
        last = "(SELECT MAX(id) FROM executions)"
        db.execute(f"UPDATE executions SET seconds = {seconds} WHERE id = {last}")


def test_the_seconds_of_all_parts_are_summed(tmp_path, store):
    _fail_after(tmp_path, store, 1000)
    _fail_after(tmp_path, store, 2000)
    assert _train(tmp_path, store).seconds >= 3000
    (kept,) = store.executions("Trainer", "complete")
    assert kept.seconds >= 3000


def test_a_training_from_the_start_counts_alone(tmp_path, store):
    _fail_after(tmp_path, store, 1000)
    _train(tmp_path, store)
    assert store.earlier_seconds("Trainer", "key") == 0  # as with --no-cache
    _fail_after(tmp_path, store, 1e9)
    (left,) = tmp_path.glob("scratch/*/*/checkpoints")
    left.rmdir()
    left.parent.rmdir()  # as gc does
    assert _train(tmp_path, store).seconds < 1e9


def test_a_killed_part_counts_up_to_what_it_wrote_last(tmp_path, store):
    run = store.begin_run("killed", {}, [])
    execution = store.begin(run, "Trainer", "key")
    (started,) = (e.started for e in store.executions())
    checkpoint = layout.scratch(tmp_path, "Trainer", "key") / "checkpoints" / "last"
    checkpoint.mkdir(parents=True)
    for folder in (checkpoint.parents[1], checkpoint.parent):
        os.utime(folder, (started, started))
    os.utime(checkpoint, (started + 500, started + 500))
    workspaces.clear(tmp_path)
    (found,) = store.executions("Trainer", "failed")
    assert found.id == execution and found.seconds == pytest.approx(500, abs=0.1)
    assert store.runs()[0].seconds >= 499
    assert _train(tmp_path, store).seconds >= 499
