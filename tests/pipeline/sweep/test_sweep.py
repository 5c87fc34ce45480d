"""A sweep's trials, leaderboard and processes; trainings are only pretended."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import make_config, raw_config
from paths import ROOT
from until import until

from pipeline import progress
from pipeline.__main__ import main
from pipeline.cli import sweep as command
from pipeline.config import ConfigError
from pipeline.errors import PipelineError
from pipeline.sweep import leaderboard, processes, space
from pipeline.sweep import sweep as sweeps
from pipeline.sweep.space import Architecture
from pipeline.workspace.lock import held

optuna = pytest.importorskip("optuna", reason="the extra `sweep` is not installed")

SPACE = {"train.learning_rate": {"low": 0.001, "high": 0.01, "log": True}}


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Runs a sweep on pretended data; returns its leaderboard and the lines it said."""
    monkeypatch.setattr(processes, "_MODULE", "fake_training")
    monkeypatch.setattr(processes, "_POLL", 0.01)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")
    data = {
        name: tmp_path / name / "1"
        for name in ("statistics", "transform_graph", "transformed_examples")
    }
    data["examples"] = tmp_path / "examples" / "1"
    monkeypatch.setattr(sweeps, "run_held", lambda *args, **kwargs: data)
    monkeypatch.setattr(sweeps.compare, "measure", _measured)
    monkeypatch.setattr(sweeps, "_check", lambda *args: None)

    def sweep(jobs=1, memory=None, lines=None, **section):
        said = [] if lines is None else lines
        config = make_config(workspace=str(tmp_path / "work"), sweep=section)
        return sweeps.sweep(config, jobs, memory, said.append), said

    return sweep


def _measured(config, examples, models, work):
    """As `compare.measure` returns it; each model is better than the one before."""
    first, *others = models
    record = {"task": "click", "slice": "all", "metric": "auc", "too_few": None}
    gain = {"low": 0.0, "high": 0.02, "p": 0.03, "p_adjusted": 0.03}
    record["gain"] = {
        name: {"auc": {"value": at / 100, **gain}} for at, name in enumerate(others, 1)
    }
    found = {name: {"auc": 0.7 + at / 100} for at, name in enumerate(models)}
    return [record | found]


def _started(tmp_path):
    (file,) = (tmp_path / "work" / "sweeps").glob("*/trainings/started")
    return [line.partition("/")[2] for line in file.read_text().splitlines()]


def test_architectures_points_and_seeds(sweep, tmp_path):
    board, _ = sweep(
        jobs=3, architectures=["mmoe", "ple"], seeds=[0, 4], space=SPACE, trials=2
    )
    names = [model["name"] for model in board["models"]]
    assert sorted(names) == [f"{a} {i}" for a in ("mmoe", "ple") for i in range(2)]
    values = [model["value"]["mean"] for model in board["models"]]
    assert values == sorted(values)
    chosen = [m["name"] for m in board["models"] if m["chosen"]]
    assert sorted(name.split()[0] for name in chosen) == ["mmoe", "ple"]
    assert board["models"][0]["chosen"]
    for model in board["models"]:
        rate = model["point"]["train.learning_rate"]
        assert 0.001 <= rate <= 0.01
        first, second = model["value"]["values"]
        assert (first, second) == pytest.approx((abs(rate - 0.003), first + 0.0004))
        assert model["value"]["low"] < first and list(model["models"]) == ["0", "4"]
    assert len(_started(tmp_path)) == len(set(_started(tmp_path))) == 8
    (file,) = (tmp_path / "work" / "sweeps").glob("*/leaderboard.json")
    assert json.loads(file.read_text()) == board
    text = command.text(board)
    assert "means over 2 seeds" in text and "train.learning_rate=0.00" in text


def test_how_many_trainings_are_done_is_shown(sweep, monkeypatch):
    seen = []

    class Lines(list):
        def append(self, line):
            if " seed " in line:
                seen.append(progress._shown.line())

    section = {"architectures": ["mmoe", "ple"], "seeds": [0, 1], "space": SPACE}
    sweep(**section, trials=1, lines=Lines())
    assert [line.partition(";")[0] for line in seen] == [
        f"sweep: {i} of 4 trainings, {i / 4:.0%}" for i in range(1, 5)
    ]
    seen.clear()
    sweep(**section, trials=2, lines=Lines())  # those that are done do not count
    assert "4 of 4 trainings, 100%" in seen[-1] and len(seen) == 4


def test_a_sweep_that_is_killed_goes_on(sweep, tmp_path):
    """Trials that were running are run again, the others not; points stay the same."""
    section = {"architectures": ["mmoe"], "space": SPACE, "trials": 2}
    whole, _ = sweep(**section, seeds=[0, 1])
    started = _started(tmp_path)
    for path in (tmp_path / "work" / "sweeps").glob("*/*"):
        path.unlink() if path.is_file() else None
    (folder,) = (tmp_path / "work" / "sweeps").glob("*/trainings")
    shutil.rmtree(folder)

    class Killed(Exception):
        pass

    class Lines(list):
        def append(self, line):
            super().append(line)
            if "seed" in line:
                raise Killed

    lines = Lines()
    for _ in range(3):
        lines.clear()
        with pytest.raises(Killed):
            sweep(**section, seeds=[0, 1], lines=lines)
    board, _ = sweep(**section, seeds=[0, 1])
    assert board["models"] == whole["models"]
    assert _started(tmp_path) == started


def test_more_trials_and_architectures_extend_a_sweep(sweep, tmp_path):
    sweep(architectures=["mmoe"], space=SPACE, trials=1)
    board, _ = sweep(architectures=["mmoe", "ple"], space=SPACE, trials=2)
    assert len(board["models"]) == 4
    assert _started(tmp_path) == ["mmoe-0-0", "ple-0-0", "mmoe-1-0", "ple-1-0"]
    sweep(architectures=["mmoe"], trials=1)  # without a space: another sweep
    assert len(list((tmp_path / "work" / "sweeps").iterdir())) == 2


def test_a_training_that_fails_is_told_and_tried_again(sweep, tmp_path):
    section = {
        "architectures": ["mmoe", {"name": "ple", "fail": True}, {"name": "cgc"}]
    }
    board, lines = sweep(**section)
    assert [m["name"] for m in board["models"]] == ["mmoe 0", "cgc 0"]
    assert board["failed"] == [{"name": "ple 0", "seed": 0, "error": "no luck"}]
    assert "ple 0 seed 0: failed: no luck" in lines
    assert "failed: ple 0 seed 0: no luck" in command.text(board)
    sweep(**section)
    assert _started(tmp_path) == ["mmoe-0-0", "ple-0-0", "cgc-0-0", "ple-0-0"]
    with pytest.raises(PipelineError, match="every training has failed"):
        sweep(architectures=[{"name": "ple", "die": True}])


def test_one_architecture_with_several_options(sweep, tmp_path):
    """Each has files of its own, also while both are trained."""
    waits = [{"name": "ple", "shared_experts": i} for i in (1, 2)]
    board, _ = sweep(jobs=2, architectures=waits)
    assert len(board["models"]) == len(set(_started(tmp_path))) == 2


def _delete(board, name, *seeds):
    (model,) = (m for m in board["models"] if m["name"] == name)
    for seed in seeds:
        shutil.rmtree(model["models"][seed])


def _of(board, name):
    """What the board says of a model: its click, and which seeds are deleted."""
    (model,) = (m for m in board["models"] if m["name"] == name)
    return model["test"].get("click"), model["deleted"]


def test_a_sweep_whose_models_are_deleted_goes_on(sweep, tmp_path):
    """What was measured before stands; the others are measured."""
    section = {"architectures": ["mmoe", "ple"]}
    board, lines = sweep(**section)
    best, other = (model["name"] for model in board["models"])
    assert _of(board, other)[0]["gain"]["value"] == 0.01
    page = Path(lines[-1].removeprefix("report: "))
    assert best in page.read_text()
    _delete(board, other, "0")
    again, _ = sweep(**section)
    found, deleted = _of(again, other)
    assert deleted == ["0"] and found["mean"] == _of(board, other)[0]["mean"]
    assert found["gain"] is None  # which would be by predictions that are gone
    assert _of(again, best)[1] == []
    assert f"{other}: the model of seed 0 is deleted" in command.text(again)
    _delete(board, best, "0")
    last, _ = sweep(**section)
    assert _of(last, best)[0]["mean"] == _of(board, best)[0]["mean"]
    assert len(_started(tmp_path)) == 2  # nothing is trained again


def test_gains_over_the_best_by_seeds(sweep):
    section = {"architectures": ["mmoe", "ple"], "seeds": [0, 1, 2]}
    board, _ = sweep(**section)
    best, other = (model["name"] for model in board["models"])
    # 0.70, 0.71, 0.72 and 0.73, 0.74, 0.75: always the same difference.
    gain = _of(board, other)[0]["gain"]
    assert gain["value"] == pytest.approx(0.03) and gain["p_adjusted"] < 0.001
    assert _of(board, best)[0]["gain"] is None
    # Of a seed alone there is no such difference.
    (file,) = Path(board["models"][0]["models"]["0"]).parent.parent.glob("*.json")
    file.unlink()
    _delete(board, other, "1")
    found, deleted = _of(sweep(**section)[0], other)
    assert deleted == ["1"] and len(found["values"]) == 2 and found["gain"] is None


def test_gains_of_all_models_are_corrected_together():
    def model(*values):
        test = leaderboard.over_seeds(values)
        return {"test": {"click": {**test, "too_few": None, "gain": None}}}

    models = [model(0.7, 0.71, 0.7), model(0.72, 0.72, 0.73), model(0.7, 0.72, 0.69)]
    leaderboard.compare_with_first(models)
    first, better, same = (m["test"]["click"]["gain"] for m in models)
    assert first is None and better["low"] < 0.02 < better["high"]
    # Differences 0.02, 0.01, 0.03 and 0, 0.01, -0.01: t = 2 sqrt(3) and 0, 2 degrees.
    assert better["p"] == pytest.approx(0.0742, abs=1e-4)
    assert better["p_adjusted"] == pytest.approx(2 * better["p"])
    assert same["p"] == same["p_adjusted"] == 1
    models[1]["test"]["click"] |= {"too_few": "3 positives", "gain": None}
    leaderboard.compare_with_first(models)
    assert models[1]["test"]["click"]["gain"] is None


def test_a_training_that_dies(sweep):
    section = {"architectures": ["mmoe", {"name": "ple", "die": True}]}
    (failed,) = sweep(**section)[0]["failed"]
    assert "ended with status 1: I die. See " in failed["error"]


def test_a_training_that_takes_too_much_memory(sweep):
    section = {"architectures": ["mmoe", {"name": "ple", "megabytes": 500}]}
    (failed,) = sweep(**section, memory=300_000_000)[0]["failed"]
    assert failed["error"] == "took more than the 0.3 GB of --memory"


_HELD = """
import sys
from pathlib import Path
from pipeline.sweep import processes
from pipeline.workspace.lock import held
processes._MODULE = "fake_training"
folder = Path(sys.argv[1])
told = {"run": "r/1", "overrides": ['model.options={"wait": true}']}
with held(folder) as lock:
    list(processes.run([processes.Job(1, "one", told)], folder, 1, None, lock))
"""


def test_trainings_end_with_the_sweep_and_hold_the_workspace_till_then(tmp_path):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", _HELD, str(tmp_path)]
    with subprocess.Popen(command, env=environment) as sweep:
        until((tmp_path / "started").exists, "a training")
        (training,) = map(int, _children(sweep.pid))
        os.kill(training, signal.SIGSTOP)  # so that it cannot end by itself
        until(lambda: _states(training) == {"T"}, "it is stopped")
        sweep.kill()
    try:
        with pytest.raises(PipelineError, match="Another run is using"):
            with held(tmp_path):
                pass
    finally:
        os.kill(training, signal.SIGCONT)
    until(lambda: _states(training) <= {"Z"}, "the end of the training")
    with held(tmp_path):
        pass


def _children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _states(pid):
    """Those of all threads of a process: T is stopped, Z ended; none if it is gone."""
    try:
        stats = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # they may go while they are read
        return set()
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


def test_what_cannot_be_swept():
    def check(key, values):
        config = make_config(sweep={"space": {key: values}})
        space.check(config)

    check("train.batch_size", [32, 64])
    check("tasks.click.weight", {"low": 0.1, "high": 2.0})
    check("features.user.embedding_dim", [8, 16])
    for key, values, expected in (
        ("features.user.hash_buckets", [100, 200], "ExampleGen depends on it"),
        ("transform.rows_per_record", [1, 8], "Transform depends on it"),
        ("data.split.train", {"low": 0.1, "high": 0.5}, "ExampleGen depends on it"),
        ("train.seed", [1, 2], "sweep.seeds"),
        ("train.epoch", [1, 2], "epoch"),
        ("tasks.clik.weight", [1.0], "Did you mean 'click'"),
    ):
        with pytest.raises(ConfigError, match=expected) as error:
            check(key, values)
        assert f"sweep.space.{key}" in str(error.value)


def test_which_architectures():
    known = ["mmoe", "ple", "cgc"]

    def found(architectures, **options):
        options = {"shared_experts": 2, **options}
        config = make_config(
            model={"architecture": "ple", "options": options},
            sweep={"architectures": architectures},
        )
        return space.architectures(config, known)

    own = Architecture("ple", {"shared_experts": 2}, "ple")
    assert found(None) == [own]
    assert found("all") == [
        Architecture("mmoe", {}, "mmoe"), own, Architecture("cgc", {}, "cgc"),
    ]  # fmt: skip
    two = found(["ple", {"name": "ple", "shared_experts": 3}])
    assert [a.label for a in two] == ["ple", 'ple {"shared_experts": 3}']
    assert found(["shop:Gated"])[0].name == "shop:Gated"  # of the user's own
    by_name = found(["mmoe", "cgc"], mmoe={"experts": 3})
    assert [a.options for a in by_name] == [{"experts": 3}, {}]
    with pytest.raises(ConfigError, match="given twice"):
        found(["mmoe", "mmoe"])
    with pytest.raises(ConfigError, match=r"architectures\.1: must be one of mmoe"):
        found(["ple", "pel"])


def test_a_model_that_cannot_be_built_is_told_before_any_work(tmp_path):
    section = {"architectures": ["ple", {"name": "mmoe", "expert_unit": [8]}]}
    config = make_config(workspace=str(tmp_path / "work"), sweep=section)
    with pytest.raises(ConfigError, match="sweep.architectures: mmoe: .*expert_unit"):
        sweeps.sweep(config)
    assert not (tmp_path / "work").exists()


def test_the_section_from_a_file(tmp_path, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(sweeps, "sweep", lambda config, *args: seen.append(config))
    monkeypatch.setattr(command, "text", lambda board: "")
    raw = raw_config(workspace=str(tmp_path / "work"))
    (tmp_path / "own.yaml").write_text(json.dumps(raw))
    (tmp_path / "sweep.yaml").write_text("architectures: all\nseeds: [1, 2]\n")
    arguments = ["sweep", str(tmp_path / "own.yaml"), "--sweep"]
    assert main([*arguments, str(tmp_path / "sweep.yaml")]) == 0
    assert seen[0].sweep.architectures == "all" and seen[0].sweep.seeds == [1, 2]
    assert main([*arguments, str(tmp_path / "none.yaml")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert main([*arguments, str(tmp_path / "sweep.yaml"), "--memory", "much"]) == 2
    assert "--memory: a size above 0" in capsys.readouterr().err


def test_what_to_install_where_optuna_is_not(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    for name in ("sweep", "study", "leaderboard"):
        monkeypatch.delitem(sys.modules, f"pipeline.sweep.{name}", raising=False)
    raw = raw_config(workspace=str(tmp_path / "work"))
    (tmp_path / "own.yaml").write_text(json.dumps(raw))
    assert main(["sweep", str(tmp_path / "own.yaml")]) == 2
    assert "pip install 'tfmtl[sweep]'" in capsys.readouterr().err


def test_what_a_seed_does_not_tell_has_no_mean():
    found = leaderboard.over_seeds([0.7, None, 0.8])
    nothing = dict.fromkeys(("mean", "low", "high"))
    assert found == {**nothing, "values": [0.7, None, 0.8]}


def test_what_the_test_split_says_over_seeds():
    def record(task, too_few, values):
        return {
            "task": task,
            "slice": "all",
            "metric": "auc",
            "too_few": too_few,
            **{f"m seed {i}": {"auc": v, "intervals": {"auc": [v - 0.1, v + 0.1]}}
               for i, v in enumerate(values)},
        }  # fmt: skip

    records = [record("click", None, [0.7, 0.72]), record("like", "3 rows", [0.5, 0.6])]
    found = leaderboard.of_test(records, ["m seed 0", "m seed 1"], gains=False)
    assert found["click"]["mean"] == 0.71 and found["click"]["values"] == [0.7, 0.72]
    # Two seeds: 12.7 times the standard error, 0.01; but no AUC is above 1.
    assert found["click"]["high"] == pytest.approx(0.71 + 12.706 * 0.01, abs=1e-3)
    wide = leaderboard.of_test(
        [record("click", None, [0.7, 0.8])], ["m seed 0", "m seed 1"], gains=False
    )
    assert (wide["click"]["low"], wide["click"]["high"]) == (
        pytest.approx(0.1147, abs=1e-3),
        1.0,
    )
    one = leaderboard.of_test(records, ["m seed 0"], gains=True)
    board = {
        "monitor": "val_loss",
        "tasks": [{"name": n, "metric": "auc"} for n in ("click", "like")],
        "seeds": [0],
        "failed": [],
        "models": [
            {
                "name": "m", "value": {"mean": 2.0, "low": None}, "test": one,
                "parameters": 7, "seconds": 1.0, "point": {}, "chosen": True,
                "deleted": [],
            }
        ],
    }  # fmt: skip
    assert "0.7000 (0.6000 to 0.8000)  too few rows" in command.text(board)
