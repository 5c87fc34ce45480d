"""`${NAME}` in a config is the environment variable NAME."""

import json

import pytest
from conftest import raw_config

from pipeline import config as configs
from pipeline.config import environment
from pipeline.errors import ConfigError


def _load(folder, raw, *overrides):
    path = folder / "small.yaml"
    path.write_text(json.dumps(raw))  # which is YAML too
    return configs.load(path, overrides)


def test_variables_stand_anywhere_in_a_text(tmp_path, monkeypatch):
    monkeypatch.setenv("LOGS", "gs://bucket/a")
    monkeypatch.setenv("DAY", "2026-11-30")
    table = {"name": "users", "logs": "${LOGS}/users.csv", "key": "user"}
    raw = raw_config({"logs": ["${LOGS}/${DAY}/*.csv", "b.csv"], "tables": [table]})
    config = _load(tmp_path, raw, "workspace=work/${DAY}")
    assert config.data.logs == ["gs://bucket/a/2026-11-30/*.csv", "b.csv"]
    assert config.data.tables[0].logs == ["gs://bucket/a/users.csv"]
    assert config.workspace == "work/2026-11-30"


def test_a_value_is_no_text_to_expand_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LOGS", "${HOME}")
    assert _load(tmp_path, raw_config({"logs": "${LOGS}"})).data.logs == ["${HOME}"]


def test_a_second_dollar_makes_a_text_of_a_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("DAY", "2026-11-30")
    raw = raw_config({"logs": ["$${DAY}/${DAY}.csv", "$${NONE}", "$$${DAY}"]})
    logs = ["${DAY}/2026-11-30.csv", "${NONE}", "$${DAY}"]
    assert _load(tmp_path, raw).data.logs == logs
    assert environment.expand(environment.escape("${DAY}$${DAY}"), "") == (
        "${DAY}$${DAY}"
    )


def test_other_dollars_stay(tmp_path):
    raw = raw_config({"where": 'segment == "1) $0 - $100"', "logs": "$HOME/{a}.csv"})
    config = _load(tmp_path, raw)
    assert config.data.where == 'segment == "1) $0 - $100"'
    assert config.data.logs == ["$HOME/{a}.csv"]


def test_all_that_are_not_set_are_named_with_their_places(tmp_path, monkeypatch):
    monkeypatch.delenv("LOGS", raising=False)
    raw = raw_config({"logs": ["a.csv", "${LOGS}/b.csv"]}, workspace="${LOGS}/work")
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, raw)
    first, second = str(caught.value).splitlines()
    assert "small.yaml: data.logs.1: the environment variable LOGS is not" in second
    assert "small.yaml: workspace: the environment variable LOGS is not set." in first
    assert "Received: '${LOGS}/work'" in first
    assert "--set workspace=..." in first
    assert _load(tmp_path, raw, "workspace=w", "data.logs=[a.csv]").workspace == "w"
