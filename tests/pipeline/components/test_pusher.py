import json
import shutil

import pytest
import tensorflow as tf
from conftest import make_config

from pipeline.artifacts import blessing
from pipeline.components.pusher import pusher
from pipeline.errors import PipelineError
from serving.__main__ import main as serving_command
from serving.config.server import read_config_file
from serving.release import labels
from serving.server import Server
from tfmtl import model_card

TENSORFLOW = 'model_platform: "tensorflow"'


@pytest.fixture
def push(tmp_path):
    """Runs the Pusher with the reasons of two verdicts; None: no verdict at all."""
    model = tmp_path / "model" / "Format-Serving"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    (model / "variables" / "variables.index").write_bytes(b"weights")

    def push(evaluator=(), infra_validator=(), **options):
        inputs = {"model": tmp_path / "model", "evaluation": tmp_path}
        reasons = {"blessing": evaluator, "infra_blessing": infra_validator}
        for name, against in reasons.items():
            inputs[name] = tmp_path / name
            inputs[name].mkdir(exist_ok=True)
            for old in inputs[name].iterdir():
                old.unlink()
            if against is not None:
                blessing.write(inputs[name], against)
        served = str(tmp_path / "served")
        config = make_config(push={"destination": served, **options})
        (tmp_path / "pushed").mkdir(exist_ok=True)
        summary = pusher(config, inputs, {"pushed_model": tmp_path / "pushed"})
        return summary, json.loads((tmp_path / "pushed" / "pushed.json").read_text())

    return push


def versions(tmp_path):
    return sorted(path.name for path in (tmp_path / "served").glob("*"))


def test_blessed_twice_is_published(push, tmp_path):
    summary, record = push()
    assert record == {"version": 1, "path": str(tmp_path / "served" / "1")}
    assert (tmp_path / "served" / "1" / "variables" / "variables.index").exists()
    assert summary["pushed"] and summary["version"] == 1
    assert "version 1" in summary["notes"][0]


def test_old_versions_are_pruned(push, tmp_path):
    for _ in range(4):
        push(keep=2)
    assert versions(tmp_path) == ["3", "4"]


@pytest.mark.parametrize(
    "verdicts, note",
    [
        ({"evaluator": ["click: too low"]}, "not pushed, blessing: click: too low"),
        ({"infra_validator": ["no"]}, "not pushed, infra_blessing: no"),
        ({"evaluator": None}, "not pushed, blessing: no verdict"),
    ],
)
def test_a_refused_model_is_not_published(push, tmp_path, verdicts, note):
    summary, record = push(**verdicts)
    assert versions(tmp_path) == []
    assert record == {"version": None, "path": None}
    assert not summary["pushed"]
    assert summary["notes"][0].startswith(note)


def test_what_cannot_be_published_is_an_error(push, tmp_path):
    (tmp_path / "model" / "Format-Serving" / "saved_model.pb").unlink()
    with pytest.raises(PipelineError, match="push.destination: .*saved_model.pb"):
        push()


def test_the_card_of_the_published_copy_has_the_metrics_of_the_test_split(
    push, tmp_path
):
    model_card.write(tmp_path / "model" / "Format-Serving", {"tasks": ["click"]})
    record = {"task": "click", "slice": "all", "rows": 9, "model": {"auc": 0.75}}
    other = record | {"slice": "tab", "model": {"auc": 0.5}}
    text = json.dumps({"results": [other, record]})
    (tmp_path / "metrics.json").write_text(text)
    push()
    card = model_card.read(tmp_path / "served" / "1")
    metrics = {"test": {"click": {"rows": 9, "auc": 0.75}}}
    assert card == {"tasks": ["click"], "metrics": metrics}
    assert model_card.read(tmp_path / "model" / "Format-Serving") != card


def test_without_a_server_the_new_version_is_listed_and_gets_no_label(push, tmp_path):
    file = tmp_path / "models.config"
    push()
    summary, record = push(models_config=str(file), labels=["canary"])
    assert record["version"] == 1  # it is that very model
    assert labels.known(file, "small").versions == (1,)
    assert labels.known(file, "small").labels == {}
    assert "serving label canary=1 --model-config-file" in summary["notes"][-1]
    file.write_text("no config")
    with pytest.raises(PipelineError, match="push.models_config: .*text format"):
        push(models_config=str(file))


def test_the_new_version_gets_its_labels_when_it_is_loaded(push, tmp_path):
    class Toy(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def add(self, x):
            return {"y": x + 1}

    file, model = tmp_path / "models.config", tmp_path / "model" / "Format-Serving"
    for number in range(2):
        toy = Toy()
        toy.number = tf.Variable(number)
        shutil.rmtree(model)
        tf.saved_model.save(toy, str(model), signatures=toy.add)
        if number == 0:
            push()
            entry = f'name: "small" base_path: "{tmp_path / "served"}" {TENSORFLOW}'
            file.write_text(f"model_config_list {{ config {{ {entry} }} }}")
    following = {"config_file": file, "config_poll_seconds": 0.05, "poll_seconds": 0.05}
    with Server(read_config_file(file), **following) as server:
        summary, record = push(
            models_config=str(file), labels=["canary"], urls=[server.url]
        )
        assert record["version"] == 2
        assert labels.known(file, "small").labels == {"canary": 2, "stable": 1}
        assert "canary=2 stable=1; without a label 2" in summary["notes"][-1]


def test_a_model_of_the_newest_version_is_pinned_first(push, tmp_path):
    file = tmp_path / "models.config"
    push()
    entry = f'name: "small" base_path: "{tmp_path / "served"}" {TENSORFLOW}'
    file.write_text(f"model_config_list {{ config {{ {entry} }} }}")
    weights = tmp_path / "model" / "Format-Serving" / "variables" / "variables.index"
    weights.write_bytes(b"new")
    options = {"models_config": str(file), "labels": ["canary"]}
    with pytest.raises(PipelineError, match="Nothing is published yet: run the same"):
        push(**options)
    assert versions(tmp_path) == ["1"]
    assert push(**options)[0]["version"] == 2
    assert labels.known(file, "small").labels == {"stable": 1}


@pytest.mark.parametrize("labelled", [False, True])
def test_a_model_that_was_rolled_back_is_not_pushed_again(
    push, tmp_path, capsys, labelled
):
    weights = tmp_path / "model" / "Format-Serving" / "variables" / "variables.index"
    served, file = tmp_path / "served", tmp_path / "models.config"
    options = {"models_config": str(file), "labels": ["stable"]} if labelled else {}

    def finish(command):
        """Takes the steps that are left, without a server to ask."""
        with_file = ["--model-config-file", str(file), "--model-name", "small"]
        command += [*with_file, "--unchecked"] if labelled else []
        while (status := serving_command(command)) == 3:
            pass
        assert status == 0

    back = ["rollback", "--model-base-path", str(served)]
    push(**options)
    weights.write_bytes(b"bad")
    push(**options)
    finish(back)
    before = versions(tmp_path)
    for _ in range(2):
        summary, record = push(**options)
        assert record == {"version": None, "path": None} and not summary["pushed"]
    assert versions(tmp_path) == before
    (note,) = summary["notes"]
    assert "this very model was published and has been rolled back" in note
    weights.write_bytes(b"better")  # a new model is pushed as ever
    assert push(**options)[0]["pushed"]
    weights.write_bytes(b"bad")  # and the old one is still known
    assert not push(**options)[0]["pushed"]
    finish(note.partition("python -m serving ")[2].split())
    newest = max(served.glob("[0-9]*"), key=lambda path: int(path.name))
    assert (newest / "variables" / "variables.index").read_bytes() == b"bad"
    if labelled:
        assert labels.known(file, "small").labels == {"stable": int(newest.name)}
    assert push(**options)[0]["pushed"]  # it is no longer rolled back
    capsys.readouterr()
