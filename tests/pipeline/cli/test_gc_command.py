"""What `gc` deletes, and what it leaves."""

import fcntl
import json
import os

import pytest
import recorded_runs
from conftest import raw_config

from pipeline.__main__ import main
from pipeline.errors import PipelineError
from pipeline.workspace import gc
from pipeline.workspace import lock as workspaces
from pipeline.workspace.metadata import Metadata


@pytest.fixture
def workspace(tmp_path):
    raw = raw_config(workspace=str(tmp_path / "work"))
    (tmp_path / "own.yaml").write_text(json.dumps(raw))
    return tmp_path / "work"


def _gc(workspace, *arguments):
    return main(["gc", str(workspace.parent / "own.yaml"), *arguments])


def _old(path):
    for file in (path, *path.rglob("*")):
        os.utime(file, (1, 1))


def test_only_what_no_kept_run_uses_goes(workspace, capsys):
    _, executions = recorded_runs.record(workspace, "a")
    shared = {"ExampleGen": executions["ExampleGen"]}
    first, _ = recorded_runs.record(workspace, "b", cached=shared)
    recorded_runs.record(workspace, "c", fail="Trainer")
    second, _ = recorded_runs.record(workspace, "d", cached=shared)
    before = set(workspace.rglob("*/*"))
    assert _gc(workspace, "--keep", "2") == 0
    out = capsys.readouterr().out
    assert "model of run a" in out and "of run b" not in out
    assert "4 folders, 0.0 MB; --delete deletes them" in out
    assert set(workspace.rglob("*/*")) == before
    assert _gc(workspace, "--keep", "2", "--delete") == 0
    assert all(path.is_dir() for path in (*first.values(), *second.values()))
    store = Metadata(workspace / "metadata.sqlite")
    assert store.find("Trainer", "Trainer-a") is None
    assert store.find("Trainer", "Trainer-b") is not None
    capsys.readouterr()
    assert _gc(workspace, "--keep", "2") == 0
    assert capsys.readouterr().out == "nothing to delete\n"


def test_what_a_served_version_was_made_from_stays(workspace, tmp_path):
    served, _ = recorded_runs.record(workspace, "a")
    version = tmp_path / "served" / "1"
    version.mkdir(parents=True)
    record = {"version": 1, "path": str(version)}
    (served["pushed_model"] / "pushed.json").write_text(json.dumps(record))
    gone, _ = recorded_runs.record(workspace, "b")
    recorded_runs.record(workspace, "c")
    found = {g.path for g in gc.find(workspace, 1)}
    assert found == {path for path in gone.values()}
    version.rmdir()
    assert {*served.values(), *gone.values()} == {g.path for g in gc.find(workspace, 1)}


def test_the_report_on_a_served_version_stays(workspace, tmp_path):
    served, _ = recorded_runs.record(workspace, "a")
    version, report = tmp_path / "1", workspace / "Reporter" / "report" / "9"
    for folder in (version, report):
        folder.mkdir(parents=True)
    record = {"version": 1, "path": str(version)}
    (served["pushed_model"] / "pushed.json").write_text(json.dumps(record))
    store = Metadata(workspace / "metadata.sqlite")
    reporter = store.begin("a", "Reporter", "key")
    evaluation = store.outputs(store.executions("Evaluator")[0].id)
    store.complete(reporter, {}, evaluation, {"report": report})
    store.use("a", reporter)
    recorded_runs.record(workspace, "b")
    assert gc.find(workspace, 1) == []
    version.rmdir()
    assert report in {garbage.path for garbage in gc.find(workspace, 1)}


def test_a_sweep_counts_as_one_run(workspace):
    kept, _ = recorded_runs.record(workspace, "a")
    for trial in range(3):
        recorded_runs.record(workspace, f"sweep/{trial}")
    recorded_runs.record(workspace, "b")
    assert not gc.find(workspace, 3)
    assert {g.path for g in gc.find(workspace, 2)} == set(kept.values())


def test_what_failed_runs_left_goes_after_a_day(workspace):
    recorded_runs.record(workspace, "a")
    new = workspace / "Trainer" / "model" / "8.failed"
    old = workspace / "Trainer" / "model" / "9.failed"
    wanted = workspace / "scratch" / "Trainer" / "Trainer-a"
    given_up = workspace / "scratch" / "Trainer" / "other"
    for path in (new, old, wanted, given_up):
        path.mkdir(parents=True)
        (path / "file").write_bytes(bytes(10))
    for path in (old, wanted, given_up):
        _old(path)
    assert {g.path for g in gc.find(workspace, 3)} == {old, given_up}


def test_what_other_links_share_is_not_freed(workspace, tmp_path):
    made, _ = recorded_runs.record(workspace, "a")
    recorded_runs.record(workspace, "b")
    os.link(made["model"] / "file", tmp_path / "served")
    sizes = {g.path: g.size for g in gc.find(workspace, 1)}
    assert (sizes[made["model"]], sizes[made["examples"]]) == (0, 1000)


def test_a_workspace_in_use_is_left_alone(workspace, capsys):
    recorded_runs.record(workspace, "a")
    recorded_runs.record(workspace, "b")
    with open(workspace / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert _gc(workspace, "--keep", "1", "--delete") == 2
    assert "Another run is using" in capsys.readouterr().err
    assert len(list(workspace.glob("*/*/*"))) == 10


def test_what_somebody_reads_is_left_alone(workspace, capsys):
    """Many may read, and runs go on meanwhile; where `gc` deletes, nobody reads."""
    made, _ = recorded_runs.record(workspace, "a")
    recorded_runs.record(workspace, "b")
    (found,) = workspaces.of(made["model"])
    with workspaces.reading([found]), workspaces.reading([found]):
        with workspaces.held(workspace):
            pass
        assert _gc(workspace, "--keep", "1", "--delete") == 2
    assert "are being compared or measured" in capsys.readouterr().err
    assert made["model"].is_dir()
    with workspaces.unread(workspace):
        with pytest.raises(PipelineError, match="gc is deleting"):
            with workspaces.reading([workspace]):
                pass
    assert _gc(workspace, "--keep", "1", "--delete") == 0
    assert not made["model"].exists()


def test_the_workspace_of_a_folder(workspace, tmp_path):
    made, _ = recorded_runs.record(workspace, "a")
    assert workspaces.of(made["model"] / "file") == [workspace]
    assert workspaces.of(workspace) == [workspace]
    assert workspaces.of(tmp_path) == []


def test_what_is_half_deleted_is_found_by_no_run(workspace, monkeypatch):
    made, _ = recorded_runs.record(workspace, "a")
    recorded_runs.record(workspace, "b")

    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        gc.delete(gc.find(workspace, 1))
    assert (
        Metadata(workspace / "metadata.sqlite").find("ExampleGen", "ExampleGen-a")
        is None
    )


@pytest.mark.parametrize("keep", ["0", "-1"])
def test_at_least_one_run_is_kept(workspace, capsys, keep):
    assert _gc(workspace, "--keep", keep) == 2
    assert "--keep: must be 1 or more" in capsys.readouterr().err
