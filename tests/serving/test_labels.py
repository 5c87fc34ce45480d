"""Labels and the versions to serve, in TF Serving's model config file."""

import argparse

import pytest

from serving import labels, release_commands
from serving.client import RequestError
from serving.config import read_config_file


@pytest.fixture
def config(tmp_path):
    """A file of two models, as a person writes it."""
    file = tmp_path / "models.config"
    file.write_text(
        """# ours
        model_config_list {
          config { name: "shop" base_path: "/models/shop" model_platform: "tensorflow" }
          config { name: "other" base_path: "/models/other" }
        }"""
    )
    return file


def _state(file):
    model = next(model for model in read_config_file(file) if model.name == "shop")
    return model.versions, model.labels


def test_a_release_from_canary_to_stable(config):
    labels.assign(config, "shop", {"stable": 3}, add=[3])
    assert _state(config) == ((3,), {"stable": 3})
    labels.assign(config, "shop", {"canary": 4}, add=[4])
    assert _state(config) == ((3, 4), {"stable": 3, "canary": 4})
    labels.assign(config, "shop", {"stable": 4, "canary": None})
    assert _state(config) == ((4,), {"stable": 4})
    assert str(read_config_file(config)[0].base_path) == "/models/shop"
    assert read_config_file(config)[1].versions == 1  # the other is as it was


def test_rollback_of_a_canary_and_of_the_stable_version(config):
    labels.assign(config, "shop", {"stable": 3}, add=[4])
    labels.assign(config, "shop", {"canary": 4})
    assert labels.rollback(config, "shop") == 3
    assert _state(config) == ((3,), {"stable": 3})
    labels.assign(config, "shop", {"previous": 3, "stable": 4}, add=[4])
    assert labels.rollback(config, "shop") == 3
    assert _state(config) == ((3,), {"stable": 3, "previous": 3})
    with pytest.raises(ValueError, match=r"no older version of 'shop'.*lists \[3\]"):
        labels.rollback(config, "shop")
    assert labels.rollback(config, "shop", on_disk=[1, 2, 5]) == 2
    assert _state(config) == ((2,), {"stable": 2})
    with pytest.raises(ValueError, match=r"no version 7 .* lists \[2\].* has \[1, 3\]"):
        labels.rollback(config, "shop", 7, on_disk=[3, 1])
    assert _state(config) == ((2,), {"stable": 2})
    assert labels.rollback(config, "shop", 1, on_disk=[3, 1]) == 1


def test_a_label_that_no_server_has_loaded_changes_nothing(config, server):
    labels.assign(config, "shop", {"stable": 3}, add=[3, 4])
    args = argparse.Namespace(
        labels=["stable=9"], model_config_file=config, model_name="shop",
        url=server.url, wait_seconds=0,
    )  # fmt: skip
    with pytest.raises(RequestError, match="any versions of model shop"):
        release_commands.label(args)
    assert _state(config) == ((3, 4), {"stable": 3})
    args.labels, args.url = ["stable=4", "canary="], None
    assert release_commands.label(args) == "stable=4"


def test_what_is_wrong_is_said(config):
    with pytest.raises(ValueError, match=r"no model 'sh'. It has: \['shop', 'other'\]"):
        labels.assign(config, "sh", {"stable": 1})
    before = config.read_text()
    config.write_text("model_config_list {")
    with pytest.raises(ValueError, match="no model_config_list in text format"):
        labels.labels(config, "shop")
    config.write_text(before)
    assert [path.name for path in config.parent.iterdir()] == ["models.config"]


def test_waiting_for_a_version_to_be_loaded():
    states = [{}, {4: "LOADING"}, {4: "AVAILABLE"}]
    labels.wait(lambda: states.pop(0), 4)
    assert states == []
    with pytest.raises(ValueError, match="state after the wait: END"):
        labels.wait(lambda: {4: "END"}, 4)
    with pytest.raises(ValueError, match="state after the wait: unknown"):
        labels.wait(lambda: {}, 4, seconds=0)
