"""`compare` and `evaluate`: small SavedModels on the rows of small logs."""

import json

import numpy as np
import pytest
import recorded_runs
import tensorflow as tf
from conftest import raw_config

from pipeline.__main__ import main
from pipeline.comparison import models
from pipeline.components.evaluator import job
from pipeline.errors import PipelineError
from pipeline.workspace import lock as workspaces
from tfmtl import model_card
from tfmtl.metrics import exact

ROWS = 4000


class Model(tf.Module):
    """Scores click by x, and buy by chance; a weight of -1 is the wrong way round."""

    def __init__(self, weight):
        super().__init__()
        self.weight = tf.Variable(weight)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "user"),
            tf.TensorSpec([None], tf.float32, "x"),
        ]
    )
    def predict(self, user, x):
        chance = tf.strings.to_hash_bucket_fast(user, 1000)
        return {
            "click": tf.sigmoid(self.weight * x)[:, None],
            "buy": (tf.cast(chance, tf.float32) / 1000)[:, None],
        }


def _save(folder, weight):
    model = Model(weight)
    tf.saved_model.save(model, str(folder), {"serving_default": model.predict})
    return folder


def _logs(path, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=ROWS).round(4)
    click = (random.random(ROWS) < 1 / (1 + np.exp(-2 * x))).astype(int)
    buy = random.integers(0, 2, ROWS)
    lines = [f"u{i},{x[i]},{click[i]},{buy[i]}" for i in range(ROWS)]
    path.write_text("\n".join(["user,x,click,buy", *lines]) + "\n")
    return click, 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """(the path of a config, a folder with SavedModels and logs)."""
    folder = tmp_path_factory.mktemp("shop")
    _logs(folder / "logs.csv")
    for name, weight in {"good": 1.0, "same": 2.0, "bad": -1.0}.items():
        _save(folder / name, weight)
    split = {"by": "hash", "column": "user", "train": 0.3, "valid": 0.2}
    raw = raw_config(
        {"logs": [str(folder / "logs.csv")], "split": split},
        features=["user", {"name": "x", "kind": "numeric"}],
        tasks=["click", "buy"],
        workspace=str(folder / "work"),
        push={"destination": str(folder / "served")},
    )
    (folder / "shop.yaml").write_text(json.dumps(raw))
    return str(folder / "shop.yaml"), folder


def test_models_on_the_same_rows(shop, tmp_path, capsys):
    config, folder = shop
    names = [str(folder / name) for name in ("good", "bad", "same")]
    output = tmp_path / "board"
    assert main(["compare", config, *names, "--output", str(output)]) == 0
    out = capsys.readouterr().out
    assert f"report: {output / 'report.html'}" in out
    assert "1. " in (output / "report.html").read_text()
    board = json.loads((output / "leaderboard.json").read_text())
    assert board["against"] == names[0] and 1500 < board["rows"] < 2500
    # What ranks alike is as good; the first of equals comes first.
    assert [m["name"] for m in board["models"]] == [names[0], names[2], names[1]]
    first, same, bad = (model["tasks"] for model in board["models"])
    assert first["click"]["gain"] is None
    assert same["click"]["value"] == first["click"]["value"] > 0.8
    assert same["click"]["gain"]["value"] == 0
    gain = bad["click"]["gain"]
    assert gain["value"] == bad["click"]["value"] - first["click"]["value"]
    assert gain["low"] < gain["value"] < gain["high"] < 0
    assert bad["buy"]["gain"]["p_adjusted"] == 1  # the same scores
    # Four comparisons, corrected together.
    assert gain["p_adjusted"] == min(1, 4 * gain["p"])
    (line,) = (line for line in out.splitlines() if line.startswith(names[1]))
    assert f"{bad['click']['value']:.4f} ({gain['value']:+.4f}*" in line
    assert {r["slice"] for r in board["results"]} == {"all"}


def test_a_model_that_may_have_learnt_from_the_test_rows(shop, tmp_path, capsys):
    config, folder = shop
    seen = _save(tmp_path / "seen", 1.0)
    split = {"by": "hash", "column": "user", "train": 0.6, "valid": 0.2}
    model_card.write(seen, {"data": {"split": split}})
    assert main(["compare", config, str(folder / "good"), str(seen)]) == 0
    out = capsys.readouterr().out
    assert f"warning: † {seen} may have learnt from these test rows" in out
    assert "from 80% of the values of 'user', this run from 50%" in out
    assert f"cannot be told: {folder / 'good'}." in out  # it has no card
    (marked,) = (line for line in out.splitlines() if line.startswith(f"{seen} †"))
    page = folder / "work" / "comparison" / "report.html"
    assert f"report: {page}" in out and "† " in page.read_text()
    assert main(["evaluate", config, "--model", str(seen)]) == 0
    assert "too good: it has learnt from 80%" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_nothing_is_deleted_while_it_is_measured(shop, capsys, monkeypatch, command):
    config, folder = shop
    evaluate = job.evaluate

    def measure(*args):
        for workspace in (folder / "work", folder / "other"):
            with pytest.raises(PipelineError, match="being compared or measured"):
                with workspaces.unread(workspace):
                    pass
        return evaluate(*args)

    recorded_runs.record(folder / "other", command)
    model = _save(folder / "other" / command, 1.0)
    monkeypatch.setattr(job, "evaluate", measure)
    arguments = [str(model)] if command == "compare" else ["--model", str(model)]
    assert main([command, config, *arguments]) == 0


def test_a_model_that_the_rows_cannot_feed(shop, tmp_path, capsys):
    config, folder = shop

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "city")])
    def predict(city):
        return {"click": tf.strings.length(city)}

    module = tf.Module()
    module.predict = predict
    other = tmp_path / "other"
    tf.saved_model.save(module, str(other), {"serving_default": predict})
    assert main(["compare", config, str(folder / "good"), str(other)]) == 2
    error = capsys.readouterr().err
    assert f"{other}: column 'city' is missing" in error
    assert "compare by the config of that model" in error
    assert main(["evaluate", config, "--model", str(other)]) == 2
    error = capsys.readouterr().err
    assert "Tasks and data are those of 'small'; measure the model by the c" in error
    assert "again" not in error  # no training with this config would mend it


def test_a_model_on_other_rows(shop, tmp_path, capsys):
    config, folder = shop
    label, score = _logs(tmp_path / "new.csv", seed=1)
    output = tmp_path / "measured"
    arguments = ["evaluate", config, "--on", str(tmp_path / "new*"), "--output"]
    assert main([*arguments, str(output), "--model", str(folder / "good")]) == 0
    assert f"on {ROWS:,} rows" in capsys.readouterr().out
    measured = json.loads((output / "metrics.json").read_text())
    click = measured["results"][0]
    assert click["rows"] == ROWS
    assert click["model"]["auc"] == pytest.approx(exact.auc(label, score), abs=1e-6)
    low, high = click["model"]["intervals"]["auc"]
    assert low < click["model"]["auc"] < high
    assert "click" in (output / "report.html").read_text()
    assert not list((folder / "work").glob(".evaluate-*"))
    assert main([*arguments, str(output), "--model", str(folder / "good")]) == 2
    assert "must be a new or empty folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("compare",), ("evaluate", "--model")])
def test_an_output_that_is_a_file_is_told_before_the_work(
    shop, command, capsys, monkeypatch
):
    config, folder = shop
    name, *flag = command
    # Called, it would raise a TypeError.
    monkeypatch.setattr(f"pipeline.comparison.{name}.{name}", None)
    model = str(folder / "good")
    assert main([name, config, *flag, model, "--output", config]) == 2
    assert "--output: must be a folder. Received: " in capsys.readouterr().err


def test_evaluate_without_a_served_model(shop, capsys):
    config, _ = shop
    assert main(["evaluate", config]) == 2
    assert "no model is served: " in capsys.readouterr().err


def test_the_served_model_stands_alone_and_others_beside_it(shop, capsys):
    config, folder = shop
    _save(folder / "served" / "1", -1.0)
    assert main(["evaluate", config]) == 0
    out = capsys.readouterr().out
    assert str(folder / "served" / "1") in out and "click: auc model 0.1" in out
    assert "baseline" not in out
    assert main(["evaluate", config, "--model", str(folder / "good")]) == 0
    assert "gain over baseline +0." in capsys.readouterr().out


def test_models_by_workspace_run_and_folder(tmp_path):
    work = tmp_path / "work"
    old, executions = recorded_runs.record(work, "a")
    new, _ = recorded_runs.record(work, "b")
    recorded_runs.record(work, "c", cached=executions)
    recorded_runs.record(work, "d", fail="Trainer")
    tried, _ = recorded_runs.record(work, "sweep-1/ple-0-0")  # not the pipeline's model
    for made in (old, new, tried):
        (made["model"] / "Format-Serving").mkdir()
        (made["model"] / "Format-Serving" / "saved_model.pb").touch()
    texts = [str(work), f"{work}@b", f"{work}@sweep-1/ple-0-0", str(new["model"])]
    found = models.find(texts)
    assert [m.name for m in found] == [f"{work}@c", *texts[1:]]
    paths = [m.path.parent for m in found]
    assert paths == [old["model"], new["model"], tried["model"], new["model"]]
    assert found[0].seconds is not None and found[3].seconds is None
    for wrong, expected in (
        ([f"{work}@bb"], "no run 'bb'. Did you mean 'b'"),
        ([f"{work}@d"], "run d of .* has no model"),
        ([str(tmp_path)], "which is none of these"),
        ([str(work), f"{work}@c"], "Given twice"),
    ):
        with pytest.raises(PipelineError, match=expected):
            models.find(wrong)
