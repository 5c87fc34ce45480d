"""What an architecture can be given: signature, docstring and config agree."""

import inspect
import json

import keras
import numpy as np
import pytest
from quick_model import quick_again, quick_model

import tfmtl

FEATURES, TASKS = [tfmtl.Numeric("x")], [tfmtl.Task("click")]
every_architecture = pytest.mark.parametrize("name", tfmtl.models.names())


@every_architecture
def test_the_signature_shows_the_layers_arguments_with_their_defaults(name):
    cls = tfmtl.models.get(name)
    shown = inspect.signature(cls).parameters
    assert [*shown] == ["features", "tasks", *tfmtl.models.options(name)]
    if cls.structure:
        own = inspect.signature(cls.__init__).parameters
        given = ("self", "tasks", "kwargs", *cls.given)
        for option, p in inspect.signature(cls.structure.__init__).parameters.items():
            if option not in (*given, *own):
                assert shown[option].default == p.default, option
                assert option in shown


@every_architecture
def test_the_docstring_describes_every_argument_once(name):
    cls = tfmtl.models.get(name)
    arguments = cls.__doc__.split("\nArgs:\n")[1].split("\n\n")[0].split("\n")
    described = [line.split(":")[0].strip() for line in arguments if line[4] != " "]
    assert described == [*inspect.signature(cls).parameters]
    assert "tasks: List of `Task`" in cls.__doc__


@every_architecture
def test_the_config_holds_every_argument(name):
    inputs = {"x": np.ones(2, "float32")}
    model = quick_model(name, FEATURES, TASKS, inputs)
    config = model.get_config()
    assert [*config] == [*inspect.signature(type(model)).parameters]
    assert config["name"] == model.name == name
    again = quick_again(model, inputs)
    assert json.dumps(again.get_config()) == json.dumps(config)
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]


def test_a_default_that_changes_later_leaves_a_saved_model_as_it_was(monkeypatch):
    config = tfmtl.models.PLE(FEATURES, TASKS).get_config()
    defaults = list(tfmtl.layers.PLE.__init__.__defaults__)
    monkeypatch.setattr(tfmtl.layers.PLE.__init__, "__defaults__", (5, *defaults[1:]))
    assert tfmtl.models.PLE(FEATURES, TASKS).sharing.shared_experts == 5
    assert tfmtl.models.PLE.from_config(config).sharing.shared_experts == 1


def test_a_model_is_not_called_with_the_arguments_that_it_is_built_with():
    model = tfmtl.models.PLE(FEATURES, TASKS)
    assert "shared_experts" not in inspect.signature(model).parameters


def test_options_are_given_by_name():
    with pytest.raises(TypeError, match="PLE: too many positional.*given by name"):
        tfmtl.models.PLE(FEATURES, TASKS, 2)
    with pytest.raises(TypeError, match="PLE: missing a required argument: 'tasks'"):
        tfmtl.models.PLE(FEATURES)


@pytest.mark.parametrize(
    ("name", "option"),
    [("cgc", "shared_gate"), ("mt_phn", "gates"), ("epnet", "epnet")],
)
def test_what_an_architecture_gives_itself_is_no_option(name, option):
    with pytest.raises(ValueError, match=f"Received: '{option}'"):
        tfmtl.models.get(name)(FEATURES, TASKS, **{option: None})


class Wide(tfmtl.models.PLE):
    """A PLE with an argument of its own.

    Args:
        temperature: Float. What it is.
    """

    def __init__(self, features, tasks, *, temperature=1.0, **options):
        super().__init__(features, tasks, **options)
        self.temperature = temperature


def test_an_architecture_can_be_extended():
    options = [*inspect.signature(Wide).parameters]
    assert options[2:7] == [*tfmtl.models.options("ple")[:4], "temperature"]
    assert "temperature: Float. What it is." in Wide.__doc__
    assert "shared_experts: Integer" in Wide.__doc__
    model = Wide(FEATURES, TASKS, temperature=2.0, shared_experts=3)
    again = Wide.from_config(model.get_config())
    assert again.temperature == 2.0 and again.sharing.shared_experts == 3


def test_a_model_without_a_sharing_structure_is_refused():
    with pytest.raises(ValueError, match="sharing must be a layer. Received: None"):
        tfmtl.MultiTaskModel(FEATURES, TASKS)


def test_a_layer_among_the_interactions_survives_the_config():
    layer = keras.layers.Dense(4)
    model = tfmtl.models.MMoE(FEATURES, TASKS, interactions=[layer])
    assert type(model).from_config(model.get_config()).bottom.built


def test_a_model_prints_what_it_is_made_of(capsys):
    features = [
        tfmtl.Categorical("tab", vocabulary=["new", "hot"], embedding_dim=4),
        tfmtl.Categorical("user", num_buckets=1000),
        tfmtl.Numeric("price", boundaries=(1.0, 2.0), embedding_dim=8),
        tfmtl.Sequence("seen", of="user", max_length=5),
        *FEATURES,
    ]
    tasks = [*TASKS, tfmtl.Task("buy", space="click", weight=2.0)]
    model = tfmtl.models.get("mmoe")(features, tasks)
    head = f"<MMoE 'mmoe': 5 features, tasks click, buy, {model.count_params():,} para"
    assert repr(model).startswith(head)
    model.summary()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    for row in (
        "tab one of 2 values 4",
        "user an id, 1,000 rows 16",
        "price a number, 2 boundaries 8",
        "seen up to 5 of user 16",
        "x a number 1",
        "buy binary bce click 2.0",
        f"embedding FeatureEmbedding {model.embedding.count_params():,}",
    ):
        assert row.split() in rows
    lines = []
    model.summary(
        print_fn=lambda text, line_break=False: lines.append(text), line_length=90
    )
    assert "Total params" in "".join(lines)
