import json

import pytest

from pipeline import blessing
from pipeline.components.pusher import pusher
from pipeline.config import Config
from pipeline.errors import PipelineError


@pytest.fixture
def push(tmp_path):
    """Runs the Pusher with the reasons of two verdicts; None: no verdict at all."""
    model = tmp_path / "model" / "Format-Serving"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    (model / "variables" / "variables.index").write_bytes(b"weights")

    def push(evaluator=(), infra_validator=(), keep=3):
        inputs = {"model": tmp_path / "model"}
        reasons = {"blessing": evaluator, "infra_blessing": infra_validator}
        for name, against in reasons.items():
            inputs[name] = tmp_path / name
            inputs[name].mkdir(exist_ok=True)
            for old in inputs[name].iterdir():
                old.unlink()
            if against is not None:
                blessing.write(inputs[name], against)
        config = Config.model_validate(
            {
                "name": "small",
                "workspace": "unused",
                "data": {"logs": ["unused"], "split": {"column": "user"}},
                "features": [{"name": "user", "kind": "categorical"}],
                "tasks": [{"name": "click"}],
                "push": {"destination": str(tmp_path / "served"), "keep": keep},
            }
        )
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
