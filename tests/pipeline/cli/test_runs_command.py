"""What `runs` and `lineage` say of runs that are only recorded."""

import json
from pathlib import Path

import pytest
import recorded_runs
from conftest import raw_config

from pipeline.__main__ import main
from pipeline.cli.differences import differences
from pipeline.config import Config
from pipeline.workspace import lineage
from pipeline.workspace.metadata import Metadata


@pytest.fixture
def config(tmp_path):
    """(path of the YAML, what it resolves to, the workspace)."""
    raw = raw_config(workspace=str(tmp_path / "work"))
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(raw))
    resolved = Config.model_validate(raw).model_dump(mode="json")
    return str(path), resolved, tmp_path / "work"


def _lines(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out.splitlines()


def test_a_line_a_run(config, capsys):
    path, resolved, workspace = config
    other = json.loads(json.dumps(resolved))
    other["model"]["architecture"] = "mmoe"
    other["train"]["epochs"] = 7
    measured = {"metrics": {"click": 0.71234}, "blessed": True}
    _, executions = recorded_runs.record(
        workspace, "first", other, {"Evaluator": measured}
    )
    recorded_runs.record(workspace, "second", resolved, cached=executions)
    recorded_runs.record(workspace, "third", resolved, fail="Trainer")
    head, third, second, first = _lines(capsys, "runs", path)
    assert head.split()[:6] == "run started seconds state architecture click".split()
    assert "first" in first and "complete" in first and "0.7123" in first
    assert "  blessed  " in first
    assert first.endswith("  model.architecture=mmoe train.epochs=7")
    # What a run found in the cache is its own, too.
    assert "0.7123" in second and "blessed" in second and "epochs" not in second
    assert "failed: Trainer: no luck" in third and " – " in third


def test_runs_that_made_data_alone_are_counted(config, capsys):
    path, resolved, workspace = config
    recorded_runs.record(workspace, "first", resolved)
    store = Metadata(workspace / "metadata.sqlite")
    store.end_run(store.begin_run("of a sweep", resolved, []))
    _, first, more = _lines(capsys, "runs", path)
    assert "first" in first and more.startswith("1 more made data alone")


def test_a_metric_of_too_few_rows_is_no_number(config, capsys):
    path, resolved, workspace = config
    metrics = {"click": 0.71234, "like": 0.68291, "buy": None}
    measured = {"metrics": metrics, "too_few": ["like"], "blessed": True}
    recorded_runs.record(workspace, "first", resolved, {"Evaluator": measured})
    _, line = _lines(capsys, "runs", path)
    assert "0.7123" in line and "too few" in line and "0.6829" not in line


def test_why_a_model_is_not_blessed(config, capsys):
    path, resolved, workspace = config
    artifacts, _ = recorded_runs.record(
        workspace, "first", resolved, {"Evaluator": {"blessed": False}}
    )
    verdict = json.dumps({"blessed": False, "reasons": ["click: auc is low", "b"]})
    (artifacts["blessing"] / "NOT_BLESSED").write_text(verdict)
    _, line = _lines(capsys, "runs", path)
    assert line.endswith("no: click: auc is low (and 1 more)")


def test_a_run_that_was_interrupted(config, capsys, monkeypatch):
    path, _, _ = config

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.run._run_stages", interrupt)
    assert main(["run", path]) == 130
    capsys.readouterr()
    _, line = _lines(capsys, "runs", path)
    assert line.endswith("failed: interrupted")


def test_runs_of_a_store_that_is_older_than_the_record_of_runs(config, capsys):
    path, _, workspace = config
    store = Metadata(workspace / "metadata.sqlite")
    execution = store.begin("20260101-000000", "ExampleGen", "key")
    store.complete(execution, {}, [], {})
    _, line = _lines(capsys, "runs", path)
    assert line.startswith("20260101-000000") and line.endswith("complete")


def test_names_of_runs_are_never_taken_twice(tmp_path):
    store = Metadata(tmp_path / "metadata.sqlite")
    store.begin("old", "ExampleGen", "key")
    names = [store.begin_run(name, {}, []) for name in ("now", "now", "now", "old")]
    assert names == ["now", "now-2", "now-3", "old-2"]


def test_lineage_goes_both_ways(config, capsys):
    path, resolved, workspace = config
    artifacts, _ = recorded_runs.record(workspace, "first", resolved)
    recorded_runs.record(workspace, "other", resolved)
    (artifacts["examples"] / "file").unlink()
    artifacts["examples"].rmdir()
    lines = _lines(capsys, "lineage", path, str(artifacts["model"]))
    assert lines[0] == f"{artifacts['model']}  <- Trainer"
    assert lines[1] == f"  {artifacts['examples']}  <- ExampleGen  (deleted)"
    assert lines[2] == "made from it:"
    below = "\n".join(lines[3:])
    assert all(str(artifacts[n]) in below for n in ("evaluation", "pushed_model"))
    assert "/6" not in below  # nothing of the other run

    out = "\n".join(_lines(capsys, "lineage", path, str(artifacts["model"]), "--json"))
    found = {e["component"]: e for e in json.loads(out)["executions"]}
    relations = {name: e["relation"] for name, e in found.items()}
    assert relations == {
        "ExampleGen": "made from",
        "Trainer": "made by",
        "Evaluator": "made from it",
        "Pusher": "made from it",
    }
    (source,) = found["Trainer"]["inputs"]
    assert source["path"] == str(artifacts["examples"]) and not source["exists"]


@pytest.mark.parametrize("at", range(len(recorded_runs.CHAIN)))
def test_lineage_goes_to_either_end_of_the_chain(tmp_path, at):
    artifacts, _ = recorded_runs.record(tmp_path, "first")
    components = list(recorded_runs.CHAIN)
    _, (artifact, *_) = recorded_runs.CHAIN[components[at]]
    found = lineage.as_json(Metadata(tmp_path / "metadata.sqlite"), artifacts[artifact])
    assert {e["component"]: e["relation"] for e in found["executions"]} == {
        **dict.fromkeys(components[:at], "made from"),
        components[at]: "made by",
        **dict.fromkeys(components[at + 1 :], "made from it"),
    }


def test_an_artifact_may_be_called_as_seen_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    artifacts, _ = recorded_runs.record(Path("work"), "first")
    graph = lineage.Lineage(Metadata(Path("work") / "metadata.sqlite"))
    for path in (artifacts["model"], artifacts["model"].absolute()):
        assert graph.artifact(path).path == artifacts["model"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"a": {"b": 2, "c": 1}}, ["a.b=2"]),
        ({"a": {"b": 1}}, ['a={"b": 1}']),  # an option that is gone
        ({"tasks": [{"name": "x", "w": 2}, {"name": "y", "w": 1}]}, ["tasks.x.w=2"]),
        ({"tasks": [{"name": "x", "w": 1}]}, ['tasks=[{"name": "x", "w": 1}]']),
        ({"late": {}}, []),  # a section that this run did not know
    ],
)
def test_differences_are_what_set_would_change(change, expected):
    base = {
        "a": {"b": 1, "c": 1},
        "tasks": [{"name": "x", "w": 1}, {"name": "y", "w": 1}],
        "late": None,
    }
    config = {**base, **change}
    if "late" in change:
        del config["late"]
    assert differences(config, base) == expected
