"""Options of a model: of all architectures, and of one alone."""

import pytest
from conftest import make_config

from pipeline.components.trainer.component import build
from pipeline.config.declarations import declare, options_of
from pipeline.config.sections import Model
from pipeline.errors import ConfigError

BOTH = {
    "activation": "tanh",
    "mmoe": {"experts": 3, "expert_units": [4]},
    "shared_bottom": {"units": [5], "activation": "relu"},
}


def _options(architecture, **options):
    return options_of(Model(options=options), architecture)


def test_an_architecture_is_built_with_its_own_options():
    for name, wanted in {
        "mmoe": {"experts": 3, "expert_units": (4,), "activation": "tanh"},
        "shared_bottom": {"units": (5,), "activation": "relu"},
    }.items():
        config = make_config(
            model={"architecture": name, "options": BOTH}, tasks=["click", "like"]
        )
        model = build(config, *declare(config))
        arguments = model.get_config()
        for option, value in wanted.items():
            made = arguments[option]
            assert (tuple(made) if isinstance(made, list) else made) == value


def test_what_goes_around_any_architecture_is_an_option_of_all():
    around = {"epnet": {"domain_features": ["tab"]}}
    assert _options("ple", **around) == around
    assert _options("epnet", **around) == around["epnet"]


@pytest.mark.parametrize("architecture", ["mmoe", "ple"])
def test_options_that_an_architecture_does_not_take_are_refused(architecture):
    expected = "model.options.mmoe: there is no option 'expert'. Did you mean 'experts'"
    with pytest.raises(ConfigError, match=expected):
        _options(architecture, mmoe={"expert": 3})
    with pytest.raises(ConfigError, match="model.options.mmoe: it is an architecture"):
        _options(architecture, mmoe=3)


def test_an_architecture_that_is_not_there_has_no_options():
    with pytest.raises(ConfigError, match="model.options: .*nowhere"):
        _options("ple", **{"nowhere:Model": {"units": [8]}})


def test_a_misspelt_architecture_is_no_option():
    options = {"plee": {"shared_experts": 2}}
    config = make_config(model={"architecture": "ple", "options": options})
    with pytest.raises(ConfigError, match="plee"):
        build(config, *declare(config))


def test_a_fault_of_the_features_is_told_as_theirs():
    names = {"user": 4, "friend": 8}
    features = [
        {"name": name, "kind": "categorical", "table": "people", "embedding_dim": dim}
        for name, dim in names.items()
    ]
    config = make_config(features=features, model={"options": {"units": [4]}})
    with pytest.raises(ConfigError, match="^features: Features of one table .*friend"):
        build(config, *declare(config))
