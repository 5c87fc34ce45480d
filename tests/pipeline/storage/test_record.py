import json
import time
from pathlib import Path
from types import SimpleNamespace

import object_store
import pytest

from pipeline.artifacts import layout
from pipeline.errors import PipelineError
from pipeline.storage import lease, mirror, record
from pipeline.workspace import gc
from pipeline.workspace import lock as workspaces
from pipeline.workspace.metadata import Metadata

server, s3, machine = object_store.server, object_store.s3, object_store.machine
URL = "s3://bucket/feed"


def _run(workspace, name):
    store = Metadata(workspace / layout.METADATA)
    store.begin_run(name, {}, [])
    store.end_run(name)


def _runs(workspace):
    return sorted(run.name for run in workspaces.metadata(workspace).runs())


def test_machines_take_turns(machine):
    for name in ("a", "b", "a"):
        with workspaces.held(machine(name)):
            _run(machine(name), "run")
    assert _runs(machine("a")) == ["run", "run-2", "run-3"]
    assert _runs(machine("b")) == ["run", "run-2", "run-3"]
    assert _runs(machine("c")) == ["run", "run-2", "run-3"]


def test_nothing_has_run_where_no_record_is(machine):
    with pytest.raises(PipelineError, match="s3://bucket/feed/metadata.sqlite does"):
        workspaces.metadata(machine("a"))


def test_what_a_killed_command_wrote_here_last_is_kept(machine):
    """It is newer than the record of the store, which nobody has written since."""
    with workspaces.held(machine("a")):
        _run(machine("a"), "one")
    _run(machine("a"), "two")  # killed before it could hand it over
    with workspaces.held(machine("a")):
        pass
    assert _runs(machine("b")) == ["one", "two"]


def test_a_journal_of_an_older_record_is_not_played_back(machine):
    with workspaces.held(machine("a")):
        _run(machine("a"), "one")
    journal = machine("b") / f"{layout.METADATA}-journal"
    journal.parent.mkdir(parents=True)
    journal.write_text("of another record")
    assert _runs(machine("b")) == ["one"]
    assert not journal.exists()


def test_one_machine_at_a_time(machine):
    with workspaces.held(machine("a")):
        message = "s3://bucket/feed is used by a command on .* Wait for it"
        with (
            pytest.raises(PipelineError, match=message),
            workspaces.held(machine("b")),
        ):
            pass
        with (
            pytest.raises(PipelineError, match="Another run is using .* s3://bucket"),
            workspaces.held(machine("a")),
        ):
            pass
    with workspaces.held(machine("b")):
        pass


def _lease(s3, **changes):
    told = {"owner": "another", "host": "there", "time": time.time(), **changes}
    body = json.dumps(told).encode()
    s3.put_object(Bucket="bucket", Key="feed/.lock", Body=body)


def test_a_machine_that_is_not_heard_of_loses_the_workspace(machine, s3):
    _lease(s3, time=time.time() - 301)
    with workspaces.held(machine("a")):
        assert "another" not in lease.remote.read(f"{URL}/.lock").decode()
    assert "feed/.lock" not in object_store.keys(s3)


def test_what_was_killed_here_is_taken_over_at_once(machine, s3):
    with workspaces.held(machine("a")):
        mine = lease.remote.read(f"{URL}/.lock")
    s3.put_object(Bucket="bucket", Key="feed/.lock", Body=mine)
    with workspaces.held(machine("a")):
        pass


def test_a_machine_that_has_lost_the_workspace_writes_no_record(machine, s3):
    """Nor does it take away what another one holds."""
    message = "another machine has written the record"
    with (
        pytest.raises(PipelineError, match=message),
        workspaces.held(machine("a")),
    ):
        _run(machine("a"), "mine")
        record.give(machine("a") / layout.METADATA)
        _lease(s3)
        path = record.mirror.url(machine("b") / layout.METADATA)
        lease.remote.write(path, b"theirs")
        machine("a")
    assert lease.remote.read(path) == b"theirs"
    assert "feed/.lock" in object_store.keys(s3)


def _stored(s3, name, at):
    body = b"\0" * 10
    s3.put_object(Bucket="bucket", Key=f"feed/Trainer/model/{name}/x", Body=body)
    path = Path(mirror.of(f"{URL}/Trainer/model/{name}"))
    found = mirror.sizes(path.parents[2])[path]
    assert found[0] == 10 and abs(found[1] - at) < 60
    return path


def test_gc_finds_what_no_execution_has_written(machine, s3, monkeypatch):
    workspace, now = machine("a"), time.time()
    with workspaces.held(workspace):
        _run(workspace, "one")
        path = _stored(s3, "7-abc", now)
        assert gc.find(workspace, keep=1) == []  # somebody may be writing it
        # Not of the module itself, by which all threads of the process go.
        tomorrow = SimpleNamespace(time=lambda: now + 25 * 3600)
        monkeypatch.setattr(gc, "time", tomorrow)
        (found,) = gc.find(workspace, keep=1)
        assert found == (path, 10, "left by a run that was killed")
        gc.delete([found])
    assert not [key for key in object_store.keys(s3) if "Trainer" in key]
