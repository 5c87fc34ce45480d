"""What TF Serving's model config file says of a model, and changing it."""

from pathlib import Path

import pytest

from serving.config.server import ModelConfig, read_config_file
from serving.release import labels


@pytest.fixture
def config(tmp_path):
    """A file of two models, as a person writes it."""
    file = tmp_path / "models.config"
    file.write_text(
        """# ours
        model_config_list {
          config { name: "shop" base_path: "/models/shop" model_platform: "tensorflow" }
          config { name: "other" base_path: "/models/other"
                   model_platform: "tensorflow" }
        }"""
    )
    return file


@pytest.mark.parametrize("versions", [(3, 4), "all", 2])
def test_what_is_written_is_found_and_the_rest_is_as_it_was(config, versions):
    before = labels.known(config, "shop")
    after = ModelConfig("shop", before.base_path, versions, {"stable": 3})
    labels.write(config, before, after)
    assert labels.find(config, "shop") == after
    assert read_config_file(config)[1] == ModelConfig("other", Path("/models/other"))
    assert "tensorflow" in config.read_text()
    assert [path.name for path in config.parent.iterdir()] == ["models.config"]


def test_a_model_is_added(config, tmp_path):
    new = ModelConfig("new", tmp_path, (1,))
    assert labels.find(config, "new") is None
    labels.write(config, None, new)
    labels.write(tmp_path / "etc" / "models.config", None, new)
    assert labels.find(config, "new") == new
    assert read_config_file(tmp_path / "etc" / "models.config") == [new]


def test_nothing_is_written_over_somebody_elses_change(config):
    before = labels.known(config, "shop")
    labels.write(config, before, ModelConfig("shop", before.base_path, (3,)))
    text = config.read_text()
    with pytest.raises(
        labels.ChangedMeanwhileError, match="is left as it is: version 3"
    ):
        labels.write(config, before, ModelConfig("shop", before.base_path, (4,)))
    assert config.read_text() == text


def test_what_is_wrong_is_said(config):
    with pytest.raises(ValueError, match=r"no model 'sh'. It has: \['shop', 'other'\]"):
        labels.known(config, "sh")
    config.write_text("model_config_list {")
    with pytest.raises(ValueError, match="no ModelServerConfig in text format"):
        labels.find(config, "shop")


def test_descriptions():
    def says(versions, **found):
        return labels.describe(ModelConfig("shop", "/models/shop", versions, found))

    assert says((5, 4), stable=4, canary=5) == "versions 4, 5; canary=5 stable=4"
    assert says((4,)) == "version 4" and says(()) == "versions none"
    assert says(2) == "the newest 2 versions" and says("all") == "all versions"
    assert labels.describe(None) == "no such model"
