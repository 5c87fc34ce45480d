"""What every layer's config holds."""

import inspect

import keras
import pytest

from tfmtl import layers


@keras.saving.register_keras_serializable("tests")
class Warmer(layers.PLE):
    """A PLE with an argument of its own, which hands the others on."""

    def __init__(self, tasks, temperature=1.0, **kwargs):
        super().__init__(tasks, **kwargs)
        self.temperature = temperature


def _again(layer):
    config = keras.saving.serialize_keras_object(layer)
    return keras.saving.deserialize_keras_object(config)


def test_a_subclass_needs_no_config_of_its_own():
    layer = Warmer(["a"], 2.0, expert_units=((4,), (3,)), activation="tanh", name="it")
    again = _again(layer)
    assert type(again) is Warmer and again.temperature == 2.0 and again.name == "it"
    assert again.expert_units == ((4,), (3,)) and again.levels[0].expert_units == (4,)
    assert again.activation is keras.activations.tanh


def test_a_default_that_changes_later_leaves_a_saved_layer_as_it_was(monkeypatch):
    config = layers.Cross().get_config()
    monkeypatch.setattr(layers.Cross.__init__, "__defaults__", (7,))
    assert layers.Cross().depth == 7
    assert layers.Cross.from_config(config).depth == 3


def test_functions_and_layers_are_written_as_keras_saves_them():
    assert layers.DNN((4,), keras.activations.tanh).get_config()["activation"] == "tanh"
    dense = keras.layers.Dense(4, name="mine")
    given = layers.HeterogeneousExperts([dense]).get_config()["interactions"]
    assert given[0]["class_name"] == "Dense" and given[0]["config"]["units"] == 4


def test_a_wrong_argument_is_refused_as_python_does():
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        layers.DNN()
    assert "units" in inspect.signature(layers.DNN.__init__).parameters
