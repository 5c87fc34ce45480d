"""The configs of public data sets read the publishers' files, and have a page each."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import recipe_data
from paths import ROOT, SHARED

from pipeline import config as configs
from pipeline.__main__ import main
from pipeline.run import run

DATA = SHARED / "data"
SAMPLES = DATA / "format_samples"
RECIPES = ROOT / "docs" / "recipes"
REAL = ["hillstrom", "kuairand", "deskdrop", "epinions"]
# The sample of each file, by the publisher's name.
OF_SAMPLES = {
    "ali_ccp": {
        "ali_ccp_train.csv": "ali_ccp_train_sample.csv",
        "ali_ccp_val.csv": "ali_ccp_val_sample.csv",
        "ali_ccp_test.csv": "ali_ccp_test_sample.csv",
    },
    "aliexpress": {
        "train.csv": "aliexpress_train_sample.csv",
        "test.csv": "aliexpress_test_sample.csv",
    },
    "wechat2021": {
        "user_action.csv": "wechat_user_action_mini.csv",
        "feed_info.csv": "wechat_feed_info_mini.csv",
    },
}


def _load(name, data, workspace, monkeypatch, *overrides):
    monkeypatch.setenv("DATA", str(data))
    changes = [f"workspace={workspace}", f"push.destination={workspace}/pushed"]
    return configs.load(ROOT / "configs" / f"{name}.yaml", [*changes, *overrides])


@pytest.mark.parametrize("name", recipe_data.LAYOUTS)
def test_files_of_the_layout_become_examples(name, tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    recipe_data.write(name, data)
    config = _load(name, data, tmp_path / "work", monkeypatch)
    lines = []
    artifacts = run(config, until="StatisticsGen", report=lines.append)
    assert not [line for line in lines if "dead" in line]
    if name == "ali_ccp":
        _check_weights(artifacts["examples"] / "Split-train", data)


@pytest.mark.parametrize("name", recipe_data.LAYOUTS)
def test_each_has_a_page(name):
    page = (RECIPES / f"{name}.md").read_text()
    command = rf"^DATA=\S+ python -m pipeline run configs/{name}\.yaml$"
    assert re.search(command, page, re.MULTILINE)
    text = (ROOT / "configs" / f"{name}.yaml").read_text()
    assert f"docs/recipes/{name}.md" in text
    assert f"({name}.md)" in (RECIPES / "README.md").read_text()


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the samples are not at {SAMPLES}")
@pytest.mark.parametrize("name", OF_SAMPLES)
def test_samples_of_the_publishers_files(name, tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    for to, sample in OF_SAMPLES[name].items():
        shutil.copy(SAMPLES / sample, data / to)
    # WeChat's has rows of few days, too few for a split by them.
    changes = {"wechat2021": ["data.split={by: random}"]}.get(name, [])
    config = _load(name, data, tmp_path / "work", monkeypatch, *changes)
    lines = []
    artifacts = run(config, until="ExampleGen", report=lines.append)
    assert not [line for line in lines if "dead" in line]
    if name == "ali_ccp":
        _check_weights(artifacts["examples"] / "Split-train", data)


def _check_weights(examples, data):
    """Ali-CCP's D508 is the weight of its 508, and so for each such pair."""
    logs = pd.read_csv(data / "ali_ccp_train.csv")
    found = pd.read_parquet(examples)
    for name in ("508", "853", "109_14"):
        texts = [text for (text,) in found[f"f{name}"]]
        values, weights = zip(*(text.split(":") for text in texts), strict=True)
        assert sorted(map(int, values)) == sorted(logs[name])
        np.testing.assert_allclose(
            sorted(map(float, weights)), sorted(logs[f"D{name}"]), rtol=1e-6
        )


def test_the_page_of_movielens_has_a_config(tmp_path, monkeypatch):
    page = (RECIPES / "movielens.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "movielens.yaml"
    path.write_text(text)
    recipe_data.movielens(tmp_path)
    monkeypatch.setenv("DATA", str(tmp_path))
    config = configs.load(path, [f"workspace={tmp_path}/work"])
    run(config, until="StatisticsGen", report=lambda line: None)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_data_become_a_pushed_model(name, tmp_path, monkeypatch):
    if not (DATA / name).is_dir():
        pytest.skip(f"the files are not at {DATA / name}")
    _load(name, DATA / name, tmp_path, monkeypatch)
    changes = [f"workspace={tmp_path}", f"push.destination={tmp_path}/pushed"]
    command = ["run", str(ROOT / "configs" / f"{name}.yaml")]
    assert main([*command, *(arg for c in changes for arg in ("--set", c))]) == 0
    assert (tmp_path / "pushed" / "1" / "saved_model.pb").is_file()
