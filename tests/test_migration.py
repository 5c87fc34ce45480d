"""The code of docs/migration.md that is ours runs."""

import re

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
import yaml
from paths import ROOT
from quick_model import eager_steps

import tfmtl
from pipeline.config import Config
from pipeline.stages import stages

PAGE = (ROOT / "docs" / "migration.md").read_text()
RNG = np.random.default_rng(0)
DATA = pd.DataFrame(
    {
        "user": RNG.choice(["u1", "u2", "u3"], 64),
        "item": RNG.integers(1, 9, 64),
        "price": RNG.exponential(30, 64),
        "click": RNG.integers(0, 2, 64),
    }
)
DATA["buy"] = DATA["click"] * RNG.integers(0, 2, 64)


def _ours(section, language):
    """The code after "After:" in a section."""
    (text,) = re.findall(rf"^## {section}.*?(?=^## |\Z)", PAGE, re.M | re.S)
    (code,) = re.findall(rf"^After:\n\n```{language}\n(.*?)```", text, re.M | re.S)
    return code


def test_of_deepctr(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"data": DATA}
    with eager_steps():
        exec(_ours("DeepCTR", "python"), names)
    assert {n: s.shape for n, s in names["scores"].items()} == {
        "click": (64, 1),
        "buy": (64, 1),
    }
    assert (tmp_path / "served" / "1" / "saved_model.pb").is_file()
    names["model"].save("m.keras")
    assert keras.models.load_model("m.keras").tasks == names["tasks"]


def test_of_easyrec():
    config = Config.model_validate(yaml.safe_load(_ours("EasyRec", "yaml")))
    assert not list(config.problems())
    for stage in stages(config):
        stage.check(config)  # the Trainer builds the model


def test_of_tfrs():
    users, items = (DATA[name].astype(str).tolist() for name in ("user", "item"))
    labels = {name: DATA[name].to_numpy("float32") for name in ("click", "buy")}
    rows = {"user": users, "item": items}, labels
    names = {
        "users": sorted(set(users)),
        "items": sorted(set(items)),
        "dataset": tf.data.Dataset.from_tensor_slices(rows).batch(32),
    }
    exec(_ours("TensorFlow Recommenders", "python"), names)
    assert names["model"].evaluate(names["dataset"], verbose=0)


def test_a_table_is_taken_over():
    item = tfmtl.Categorical("item", vocabulary_size=3, embedding_dim=2)
    model = tfmtl.models.get("shared_bottom")([item], [tfmtl.Task("click")])
    table = np.arange(6, dtype="float32").reshape(3, 2)
    model.embedding.set_table("item", table)
    np.testing.assert_array_equal(model.embedding.table("item"), table)
