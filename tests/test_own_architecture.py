"""The architecture of docs/own_architecture.md, and how one is refused."""

import json
import re
import sys

import keras
import numpy as np
import pytest
import yaml
from conftest import make_config
from paths import ROOT
from quick_model import eager_steps

import tfmtl
from pipeline.artifacts import layout
from pipeline.run import run
from pipeline.stages import stages

PAGE = (ROOT / "docs" / "own_architecture.md").read_text()


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def gated(tmp_path, monkeypatch):
    """The page's module, as it stands beside a config."""
    (tmp_path / "gated.py").write_text(_blocks("python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    yield tfmtl.models.get("gated:GatedBottomModel")
    del sys.modules["gated"]


def test_it_runs_from_yaml_to_a_pushed_model(gated, tmp_path):
    rng = np.random.default_rng(0)
    lines = ["user,price,click,buy"]
    for user, price in zip(
        rng.integers(0, 30, 2000), rng.lognormal(7, 1, 2000), strict=True
    ):
        click = int(rng.random() < 0.2 + 0.6 * (price < 1000))
        lines.append(
            f"{user},{price:.2f},{click},{int(rng.random() < 0.1 + click / 2)}"
        )
    (tmp_path / "logs.csv").write_text("\n".join(lines) + "\n")
    config = make_config(
        {"logs": [str(tmp_path / "logs.csv")]},
        features=["user", {"name": "price", "kind": "numeric"}],
        tasks=["click", "buy"],
        workspace=str(tmp_path / "workspace"),
        model=yaml.safe_load(_blocks("yaml")[0])["model"],
        train={"epochs": 1, "batch_size": 256},
        evaluate={"default_rules": [], "importance": None},
        push={"destination": str(tmp_path / "served")},
    )
    # A warning is an error here: prices of about 1,000 are scaled by Transform.
    with eager_steps():
        artifacts = run(config, report=lambda line: None)
    assert (artifacts["model"] / layout.KERAS_MODEL).is_file()
    assert (tmp_path / "served" / "1" / "saved_model.pb").is_file()
    measured = json.loads((artifacts["evaluation"] / layout.METRICS).read_text())
    assert measured["architecture"] == "gated:GatedBottomModel"


def test_the_library_takes_it_and_the_layer_alone(gated):
    features = [tfmtl.Categorical("user", vocabulary_size=30)]
    tasks = [tfmtl.Task("click", tower=())]
    names = {"tfmtl": tfmtl, "features": features, "tasks": tasks}
    names["GatedBottom"] = sys.modules["gated"].GatedBottom
    for block in _blocks("python")[1:]:
        exec(block, names)
        names["model"].compile()
        users = {"user": np.arange(16)}
        names["model"].fit(users, {"click": np.ones(16)}, verbose=0)
        assert names["model"].predict(users, verbose=0)["click"].shape == (16, 1)


def test_the_training_depends_on_its_code():
    config = make_config(model={"architecture": "gated:GatedBottomModel"})
    code = {stage.component: stage.code for stage in stages(config)}
    assert code["Trainer"] == ("gated",) and not any(
        modules for name, modules in code.items() if name != "Trainer"
    )


@keras.saving.register_keras_serializable("tests")
class Registered(tfmtl.MultiTaskModel):
    structure = tfmtl.layers.SharedBottom


class Forgotten(Registered):
    pass


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:Model", "cannot be imported: No module named"),
        ("json:Model", "cannot be imported: module 'json' has no attribute 'Model'"),
        (":Model", "Write module:Class"),
        ("json:JSONDecoder", "must be a subclass of tfmtl.MultiTaskModel"),
        ("json:loads", "must be a subclass of tfmtl.MultiTaskModel"),
        (f"{__name__}:Forgotten", "Forgotten must be registered"),
    ],
)
def test_what_cannot_be_trained_is_refused(name, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tfmtl.models.get(name)


def test_a_registered_class_is_found():
    assert tfmtl.models.get(f"{__name__}:Registered") is Registered
