"""YAML in the docs is what a config may have, in editors and in a run."""

import json

import jsonschema
import keras
import pytest
import yaml
from conftest import raw_config
from doc_inputs import IDS, TASKS, features, tasks
from doc_pages import blocks
from paths import ROOT

import tfmtl
from pipeline import config as configs
from pipeline.components.trainer import component as trainer

YAML = [pytest.param(b, id=f"{b.page}:{b.line}") for b in blocks("yaml")]
EDITORS = jsonschema.Draft7Validator(
    json.loads((ROOT / "configs" / "schema.json").read_text("utf-8"))
)


@pytest.mark.parametrize("block", YAML)
def test_it_is_a_config(block, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA", str(tmp_path))
    named = [
        *({"name": name, "kind": "categorical", "hash_buckets": 10} for name in IDS),
        {"name": "watched", "kind": "sequence", "of": "video_id"},
        {"name": "viewed", "kind": "sequence", "of": "item_id"},
    ]
    raw = raw_config({"split": {"by": "hash", "column": "user_id"}}, named, TASKS)
    written = yaml.safe_load(block.text)
    raw |= written
    assert [error.message for error in EDITORS.iter_errors(raw)] == []
    path = tmp_path / "page.yaml"
    path.write_text(yaml.safe_dump(raw))
    split = raw.get("train", {}).get("optimizer", {}).get("name") == "split"
    if split and not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("Keras for Python 3.10 has no optimizer of two")
    config = configs.load(path)
    ours = config.model.architecture in tfmtl.models.names()
    if ours and {"model", "train"} & set(written):
        # Its options are known to the architecture, and name features that are there.
        monkeypatch.setattr("tfmtl.MultiTaskModel.symbolic_call", lambda *_: None)
        trainer.build(config, features(), tasks())
