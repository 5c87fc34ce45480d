"""The whole road on a small feed: run, cache, resume, refuse, list."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import small_feed
from conftest import raw_config
from small_feed import FEED

from pipeline import config as configs
from pipeline.__main__ import main
from pipeline.errors import PipelineError
from pipeline.run import run

STAGES = [
    "LogSource",
    "ExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "Trainer",
    "Evaluator",
    "InfraValidator",
    "Reporter",
    "Pusher",
]


def _overrides(folder, **more):
    values = {
        "data.options.impressions": 6000,
        "train.epochs": 1,
        "train.batch_size": 256,
        "train.schedule": "cosine",
        "infra.max_latency_ms": "null",  # this machine may be slow
        "evaluate.default_rules": "[]",  # too few rows to be better than the mean
        "evaluate.importance": "null",  # it has tests of its own
        **more,
    }
    return small_feed.overrides(folder, **values)


def _config(folder, **more):
    return configs.load(FEED, _overrides(folder, **more))


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """One whole run; its artifacts and the lines it reported."""
    folder = tmp_path_factory.mktemp("road")
    lines = []
    artifacts = run(_config(folder), report=lines.append)
    return folder, artifacts, lines


def _stages(lines):
    return [line.split()[0] for line in lines if not line.startswith(" ")]


def test_every_stage_runs_and_writes_its_artifact(road):
    folder, artifacts, lines = road
    assert _stages(lines) == STAGES
    assert not any("cached" in line for line in lines)
    assert all(path.is_dir() for path in artifacts.values())
    summary = json.loads((artifacts["examples"] / "summary.json").read_text())
    assert summary["rows_in"] == 6000 == sum(summary["rows"].values())
    pushed = json.loads((artifacts["pushed_model"] / "pushed.json").read_text())
    assert pushed["version"] == 1
    served = folder / "served" / "1"
    assert served == Path(pushed["path"])
    assert (served / "assets.extra" / "tf_serving_warmup_requests").is_file()
    assert not list(folder.rglob("*.tmp"))
    (curves,) = [line.split()[-1] for line in lines if "tensorboard --logdir" in line]
    assert (Path(curves) / "train").is_dir()
    (named,) = (folder / "tensorboard").iterdir()
    assert named.name.startswith("shared_bottom-") and (named / "train").is_dir()
    report = artifacts["report"] / "report.html"
    assert "long_view" in report.read_text()
    statistics = artifacts["anomalies"] / "statistics.html"
    printed = {
        line.split()[-1]
        for line in lines
        if " statistics: " in line or " report: " in line
    }
    assert printed == {str(report), str(statistics)}
    (link,) = re.findall('href="([^"]*statistics.html)"', report.read_text())
    assert (report.parent / link).resolve() == statistics.resolve()


def test_classes_and_quantiles_are_measured_and_served(road):
    _, artifacts, _ = road
    measured = json.loads((artifacts["evaluation"] / "metrics.json").read_text())
    (depth,) = (
        r["model"]
        for r in measured["results"]
        if (r["task"], r["slice"]) == ("depth", "all")
    )
    for metric in ("accuracy", "log_loss", "normalized_entropy"):
        low, high = depth["intervals"][metric]
        assert low < depth[metric] < high
    assert 0 < depth["mean"] < 2 and "auc" not in depth
    served = json.loads((artifacts["infra_blessing"] / "infra.json").read_text())
    scores = {name: score for name, (score, _) in served["scores"].items()}
    classes = [scores[f"depth_{k}"] for k in range(3)]
    assert sum(classes) == pytest.approx(1, abs=1e-5)
    assert scores["depth"] == pytest.approx(classes[1] + 2 * classes[2], abs=1e-5)
    features = artifacts["transform_graph"] / "features.json"
    levels = json.loads(features.read_text())["length"]["levels"]["watch_quantile"]
    assert [len(row) for row in levels] == [21] * 6
    assert 0 <= scores["watch_quantile"] <= max(max(row) for row in levels)


def test_the_demo_serves_the_offline_score_from_the_cache(road, capsys):
    folder, artifacts, _ = road
    arguments = [part for o in _overrides(folder) for part in ("--set", o)]
    assert main(["demo", str(FEED), *arguments]) == 0
    out = capsys.readouterr().out
    assert out.count("cached") == len(STAGES)
    assert "click auc" in out and "best reachable" in out and "curl -d" in out
    assert f"report: {artifacts['report'] / 'report.html'}" in out


def test_a_run_ends_with_a_served_row_and_how_to_ask_it(road, capsys):
    folder, artifacts, _ = road
    arguments = [part for o in _overrides(folder) for part in ("--set", o)]
    assert main(["run", str(FEED), *arguments]) == 0
    _, end = capsys.readouterr().out.split("one logged row, asked over REST:\n")
    scores, commands = end.split("\n\n")
    for line in scores.splitlines():
        _, _, served, _, offline = line.split()
        assert float(served) == pytest.approx(float(offline), abs=2e-6)
    assert f"serve --model-base-path {folder / 'served'} --model-name feed" in commands
    (body,) = re.findall("curl -d '(.*)' http://localhost:8501/v1/", commands)
    request = artifacts["infra_blessing"] / "request.json"
    assert json.loads(body) == json.loads(request.read_text())
    assert commands.splitlines()[-1].endswith(str(artifacts["report"] / "report.html"))


def test_a_changed_option_runs_only_what_depends_on_it(road):
    folder, _, _ = road
    lines = []
    config = _config(folder, **{"evaluate.slices": "[network]"})
    run(config, until="evaluator", report=lines.append)
    ran = [line.split()[0] for line in lines if line[0] != " " and "cached" not in line]
    assert ran == ["Evaluator"]
    config = _config(folder, **{"evaluate.slices": "[netwrok]"})
    with pytest.raises(PipelineError, match="Did you mean 'network'"):
        run(config, report=lines.append)
    lines.clear()
    config = _config(folder, **{"train.learning_rate": 0.002})
    run(config, until="Transform", report=lines.append)
    assert all("cached" in line for line in lines if line[0] != " ")


def test_one_component_alone(road):
    folder, _, _ = road
    lines = []
    # Of its own, or else the tests that follow would train on what is made anew here.
    config = _config(folder, **{"features.duration.scaling": "zscore"})
    first = run(config, until="Transform", report=lambda line: None)
    again = run(config, only=["transform"], cache=False, report=lines.append)
    ran = [line.split()[0] for line in lines if line[0] != " " and "cached" not in line]
    assert ran == ["Transform"]
    assert again["transform_graph"] != first["transform_graph"]
    config = _config(folder, **{"data.options.seed": 1})
    with pytest.raises(PipelineError, match="Transform needs what LogSource writes"):
        run(config, only=["Transform"])
    with pytest.raises(PipelineError, match="Did you mean 'Transform'"):
        run(_config(folder), only=["transfrom"])


def test_what_the_models_options_get_wrong_is_told_before_any_work(tmp_path):
    for override, expected in {
        "model.architecture=pel": "model.architecture: architecture must be one of",
        "model.options={unit: []}": "'unit'. Did you mean 'units'",
        "train.monitor=val_clik_auc": "Did you mean 'val_click_auc'",
        "data.options={impresions: 3}": "unknown option of feed. Did you mean 'impress",
    }.items():
        config = configs.load(FEED, [*_overrides(tmp_path), override])
        with pytest.raises(PipelineError) as error:
            run(config)
        assert expected in str(error.value)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_label_out_of_range_stops_the_run(road, tmp_path, capsys):
    """Also: own logs as CSV, a malformed row, the command line."""
    logs = tmp_path / "logs.csv"
    rows = [f"u{i % 50},{i % 7},{i % 2}" for i in range(1000)]
    rows[10] = "u1,2,1,surplus"
    raw = raw_config(
        {"logs": [str(logs)], "max_dead_letter_rate": 0.01},
        features=["user", {"name": "hour", "kind": "numeric"}],
        workspace=str(tmp_path / "work"),
    )
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(raw))

    logs.write_text("\n".join(["user,hour,click", *rows]))
    assert main(["preprocess", str(path)]) == 0
    dead = [
        json.loads(line)
        for file in (tmp_path / "work").rglob("dead_letter/*.jsonl")
        for line in file.read_text().splitlines()
    ]
    assert [d["line"] for d in dead] == [12]  # the header is line 1
    assert "4" in dead[0]["reason"] and "3" in dead[0]["reason"]

    logs.write_text("\n".join(["user,hour,click", *rows[:500], "u1,3,2", *rows[500:]]))
    assert main(["preprocess", str(path)]) == 2
    assert "click" in capsys.readouterr().err

    logs.write_text("\n".join(["user,our,click", *rows]))
    assert main(["preprocess", str(path)]) == 2
    error = capsys.readouterr().err
    assert "features.1.name" in error and "'our'" in error

    logs.write_text("")
    assert main(["preprocess", str(path)]) == 2
    assert "empty" in capsys.readouterr().err


# Kills itself when a training has kept two epochs and is about to keep a third.
_KILLED = """
import os, signal, sys
from pipeline.__main__ import main
kept = 0
def watch(event, arguments):
    global kept
    if event == "os.rename" and str(arguments[1]).endswith("history.json"):
        if kept == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        kept += 1
sys.addaudithook(watch)
main(sys.argv[1:])
"""


@pytest.mark.slow  # a process; what the Trainer goes on from is tried in its own tests
def test_a_killed_training_goes_on_where_it_stopped(road, tmp_path):
    folder, _, _ = road
    overrides = _overrides(folder, **{"train.epochs": 4, "train.patience": "null"})
    command = [sys.executable, "-c", _KILLED, "run", str(FEED), "--until", "trainer"]
    command += [part for o in overrides for part in ("--set", o)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (kept,) = (folder / "scratch" / "Trainer").rglob("history.json")
    assert len(json.loads(kept.read_text())["epochs"]) == 2
    lines = []
    config = configs.load(FEED, overrides)
    artifacts = run(config, until="Trainer", report=lines.append)
    assert all("cached" in line for line in lines[:6] if line[0] != " ")
    history = json.loads((artifacts["model"] / "history.json").read_text())["epochs"]
    assert len(history) == 4
    assert not kept.exists()
    assert not list(folder.rglob("*.tmp"))


def test_runs_and_lineage_are_listed(road, capsys):
    folder, artifacts, _ = road
    arguments = [str(FEED), "--set", f"workspace={folder}"]
    assert main(["runs", "--executions", *arguments]) == 0
    out = capsys.readouterr().out
    assert all(stage in out for stage in STAGES) and "complete" in out
    assert main(["runs", *arguments]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert all(task in head for task in ("click", "like", "watch_seconds"))
    assert any(" complete " in line and " shared_bottom " in line for line in lines)
    model = str(artifacts["model"])
    assert main(["lineage", *arguments, model]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{model}  <- Trainer") and "<- ExampleGen" in out
    assert main(["lineage", *arguments, model[:-1]]) == 2


def test_two_runs_do_not_share_a_workspace(tmp_path):
    import fcntl

    with open(tmp_path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(PipelineError, match="Another run is using the workspace"):
            run(_config(tmp_path))


def test_wrong_flags(capsys, tmp_path):
    for arguments in (["run"], ["runs", str(FEED), "--frobnicate"], ["jump"]):
        with pytest.raises(SystemExit) as error:
            main(arguments)
        assert error.value.code == 2
    with pytest.raises(SystemExit):
        main(["init", "log.csv", "--labels", "click"])
    assert "--labels click. Did you mean '--label'?" in capsys.readouterr().err
    assert main(["run", str(tmp_path / "none.yaml")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert main(["runs", str(FEED), "--set", f"workspace={tmp_path}"]) == 2
    assert "nothing has run yet" in capsys.readouterr().err
    shutil.rmtree(tmp_path)


def test_what_is_served_decides_what_is_cached(road, tmp_path):
    """A model that is not the served one is compared again, and pushed again."""
    from serving.release.publish import publish

    folder, artifacts, _ = road
    destination = tmp_path / "served"
    config = _config(folder, **{"push.destination": destination})

    def ran():
        lines = []
        run(config, report=lines.append)
        stages = [line for line in lines if line[0] != " " and "cached" not in line]
        return [line.split()[0] for line in stages]

    assert {"Evaluator", "Pusher"} <= set(ran())
    assert ran() == []
    other = tmp_path / "other"
    shutil.copytree(artifacts["model"] / "Format-Serving", other)
    with open(other / "saved_model.pb", "ab") as file:
        file.write(b"\xa0\x06\x01")  # an unknown field: other bytes, the same model
    assert publish(other, destination).name == "2"
    assert ran() == ["Evaluator", "Reporter", "Pusher"]
    assert (destination / "3").is_dir()
    assert ran() == []


@pytest.mark.parametrize("command", ["run", "preprocess"])
def test_flags_for_beam(command, monkeypatch, tmp_path):
    seen = []

    def run_(config, **options):
        seen.append(config.beam)
        raise PipelineError("seen")

    monkeypatch.setattr("pipeline.run.run", run_)
    arguments = [command, str(FEED), "--set", f"workspace={tmp_path}"]
    assert main([*arguments, "--runner=Foo", "--direct_num_workers=2"]) == 2
    assert main(arguments) == 2
    assert [beam.runner for beam in seen] == ["Foo", "local"]
    assert [beam.flags for beam in seen] == [["--direct_num_workers=2"], []]


def test_run_refuses_a_flag_that_nobody_knows(capsys, tmp_path):
    arguments = ["run", str(FEED), "--set", f"workspace={tmp_path}"]
    assert main([*arguments, "--direct_num_wrokers=2"]) == 2
    assert "Did you mean '--direct_num_workers'" in capsys.readouterr().err


def test_flags_that_nobody_knows(capsys, tmp_path):
    arguments = ["preprocess", str(FEED), "--set", f"workspace={tmp_path}"]
    assert main([*arguments, "--direct_num_wrokers=2"]) == 2
    assert "Did you mean '--direct_num_workers'" in capsys.readouterr().err
    assert main([*arguments, "--direct_num_workers=two"]) == 2
    error = capsys.readouterr().err
    assert "Beam's flags: argument --direct_num_workers: invalid int" in error
    assert "usage" not in error
    assert main([*arguments, "--runner", "Foo", "--until"]) == 2
    assert (
        main([*arguments, "--set", "data.options.impressions=2000", "--runner=Foo"])
        == 2
    )
    assert "beam.runner: Beam cannot make a runner of 'Foo'" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["run", str(FEED), "--set", f"workspace={tmp_path}/file/x"]) == 2
    assert "cannot write to" in capsys.readouterr().err


def test_columns_of_cached_examples_are_looked_at_before_a_training(road):
    folder, _, _ = road
    more = {"train.seed": 77, "evaluate.group": "usr_id"}
    lines = []
    with pytest.raises(PipelineError, match="evaluate.group: .*Did you mean 'user_id'"):
        run(_config(folder, **more), report=lines.append)
    assert _stages(lines) == ["LogSource"]


def test_a_model_that_is_not_pushed_has_a_status_of_its_own(road, capsys):
    folder, _, _ = road
    values = _overrides(folder, **{"evaluate.minimum": "{click: 0.99}"})
    arguments = ["run", str(FEED)] + [p for o in values for p in ("--set", o)]
    assert main(arguments) == 3
    assert "not pushed, blessing: click" in capsys.readouterr().out
    assert main(arguments) == 3  # from the cache, too
    assert main([*arguments, "--until", "trainer"]) == 0


def test_a_stage_alone_names_what_it_has_not_read(road):
    folder, _, _ = road
    config = _config(folder, **{"data.options.impressions": 5999})
    quiet = {"report": lambda line: None}
    run(config, until="statistics_gen", **quiet)
    message = r"SchemaGen writes, .* on statistics that were made anew. Run"
    with pytest.raises(PipelineError, match=message):
        run(config, only=["evaluator"], **quiet)
