"""The contract that every public layer keeps."""

import inspect
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from effects import change, effects, fingerprint, randomise, run
from layer_cases import CASES, NOISY, NORMALISED_BY_BATCH, WEIGHTLESS, X
from other_arguments import other
from representatives import fast

from tfmtl import layers

FINGERPRINTS = Path(__file__).with_name("fingerprints.json")
_OF_KERAS = {*vars(keras.layers.Layer())}  # of every layer, such as the list of all
every_layer = pytest.mark.parametrize("name", CASES)
# With loops, scans, draws, sorting, sums by group: what XLA may not take, or computes
# otherwise.
COMPILED = (
    "FeatureEmbedding",
    "DIEN",
    "SASRec",
    "ETA",
    "AutoDis",
    "HoME",
    "PHN",
    "SNR",
    "FieldRecurrentCross",
    "PartitionedNormalization",
    "M3oE",
    "AdaSparse",
    "APG",
)


def _flat(outputs):
    return [np.asarray(x, "float32") for x in tf.nest.flatten(outputs)]


def _same(a, b, **tolerance):
    for x, y in zip(_flat(a), _flat(b), strict=True):
        np.testing.assert_allclose(x, y, **{"rtol": 1e-5, "atol": 1e-6, **tolerance})


def _tensors(inputs):
    return tf.nest.map_structure(tf.convert_to_tensor, inputs)


def _symbolic(inputs):
    return tf.nest.map_structure(
        lambda x: keras.Input(x.shape[1:], dtype=x.dtype.name), inputs
    )


def test_every_public_layer_has_a_case():
    assert sorted(CASES) == sorted(layers.__all__)


@every_layer
def test_config_round_trip(name):
    make, inputs = CASES[name]
    layer = make()
    layer(*inputs)
    randomise(layer)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    again(*inputs)
    again.set_weights(layer.get_weights())
    _same(layer(*inputs), again(*inputs))


@every_layer
def test_a_keras_file_holds_its_parts(name):
    """Keras below 3.13 does not save layers of a list in a list or dict."""
    make, inputs = CASES[name]
    layer = make()
    layer(*inputs)
    seen = set()
    for part in layer._flatten_layers():
        for key, held in vars(part).items():
            if key in _OF_KERAS:
                continue
            values = held.values() if isinstance(held, dict) else held
            values = values if isinstance(held, dict | list | tuple) else [held]
            seen |= {id(v) for v in values if isinstance(v, keras.layers.Layer)}
    parts = list(layer._flatten_layers(include_self=False))
    assert [part.name for part in parts if id(part) not in seen] == []


@every_layer
def test_static_shapes_and_dtypes_are_the_real_ones(name):
    make, inputs = CASES[name]
    layer = make()
    real = layer(*inputs)
    symbolic = make()(*_symbolic(inputs))
    for x, y in zip(tf.nest.flatten(real), tf.nest.flatten(symbolic), strict=True):
        assert (None, *x.shape[1:]) == tuple(y.shape)
        assert x.dtype.name == y.dtype
    shapes = tf.nest.map_structure(lambda x: x.shape, inputs)
    promised = layer.compute_output_shape(*shapes)
    if isinstance(real, dict):
        assert list(promised.items()) == [(k, tuple(x.shape)) for k, x in real.items()]
    else:
        assert tuple(promised) == tuple(real.shape)


@every_layer
def test_saved_in_a_functional_model(name, tmp_path):
    make, inputs = CASES[name]
    symbolic = _symbolic(inputs)
    model = keras.Model(symbolic, make()(*symbolic))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    _same(model(inputs), again(inputs))


@every_layer
def test_rows_do_not_depend_on_each_other(name):
    make, inputs = CASES[name]
    layer = make()
    layer(*inputs)
    randomise(layer)
    whole = layer(*inputs)
    half = layer(*tf.nest.map_structure(lambda x: x[3:], inputs))
    _same(tf.nest.map_structure(lambda x: x[3:], whole), half)


@every_layer
def test_every_weight_learns(name):
    make, inputs = CASES[name]
    layer = make()
    inputs = _tensors(inputs)
    with tf.GradientTape() as tape:
        loss = sum(
            tf.reduce_sum(x * tf.random.stateless_normal(x.shape, (1, i)))
            for i, x in enumerate(tf.nest.flatten(layer(*inputs)))
        )
    gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights])
    assert bool(gradients) == (name not in WEIGHTLESS)
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        assert gradient is not None, weight.path
        gradient = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, weight.path


def _arguments(layer):
    """Returns the names of the layer's own arguments, not those of every layer."""
    init = vars(type(layer)).get("__init__") or type(layer).__base__.__init__
    of_all = inspect.signature(keras.layers.Layer.__init__).parameters
    return [name for name in inspect.signature(init).parameters if name not in of_all]


@every_layer
def test_every_argument_matters(name):
    make, inputs = CASES[name]
    layer, inputs = make(), _tensors(inputs)
    plain = list(effects(make, inputs))
    for argument in _arguments(layer):
        value = other(name, argument)
        if value is None:
            continue
        config = {**make().get_config(), argument: value}
        changed = effects(lambda c=config: type(layer).from_config(c), inputs)
        assert change(plain, changed), argument


@every_layer
def test_training_differs_where_there_is_noise_and_only_there(name):
    make, inputs = CASES[name]
    layer = make()
    layer(*inputs)
    randomise(layer)
    inference, training = run(layer, inputs, False), run(layer, inputs, True)
    for x, y in zip(inference, training, strict=True):
        assert np.allclose(x, y, rtol=1e-5, atol=1e-6) == (name not in NOISY)
    if name in NORMALISED_BY_BATCH:  # which keeps what training has seen
        return
    _same(inference, layer(*inputs))
    if "dropout" not in _arguments(layer):
        return
    layer = type(layer).from_config({**layer.get_config(), "dropout": 0.5})
    layer(*inputs)
    randomise(layer)
    _same(inference, run(layer, inputs, False))
    for x, y in zip(inference, run(layer, inputs, True), strict=True):
        assert not np.allclose(x, y), "one task has no dropout"


@every_layer
def test_the_formula_is_the_one_recorded(name):
    # Equations have tests of their own; this sees a sign, a bias or an axis that none
    # of them does. Where a formula is meant to change, record its new numbers.
    make, inputs = CASES[name]
    recorded = json.loads(FINGERPRINTS.read_text())[name]
    found = fingerprint(make(), _tensors(inputs))
    np.testing.assert_allclose(found, recorded, rtol=1e-3, atol=1e-4)


@every_layer
def test_mixed_precision(name):
    make, inputs = CASES[name]
    layer = make(dtype="mixed_bfloat16")
    for x in tf.nest.flatten(layer(*inputs)):
        assert x.dtype == "bfloat16"
    assert all(w.dtype == "float32" for w in layer.trainable_weights)
    full = make()
    full(*inputs)
    full.set_weights(layer.get_weights())
    _same(layer(*inputs), full(*inputs), rtol=0.1, atol=0.05)


@pytest.mark.parametrize("name", fast(CASES, COMPILED))
def test_jit_changes_nothing(name):
    make, inputs = CASES[name]
    layer = make()
    plain = layer(*inputs)
    compiled = tf.function(lambda *x: layer(*x), jit_compile=True)(*_tensors(inputs))
    _same(plain, compiled)


ONE_TENSOR = [
    name
    for name, (_, inputs) in CASES.items()
    if len(inputs) == 1 and isinstance(inputs[0], np.ndarray)
]


@pytest.mark.parametrize("name", ONE_TENSOR)
def test_an_input_of_another_rank_is_refused(name):
    make, (x,) = CASES[name]
    fields = x.ndim == 3
    wanted = r"\(batch, fields, dim\)" if fields else r"\(batch, width\)"
    with pytest.raises(ValueError, match=f"reads {wanted}. Received: shape"):
        make()(x[:, 0] if fields else x[:, None])


@pytest.mark.parametrize("name", ["EPNet", "FieldStack", "InteractionBottom"])
def test_a_tensor_in_the_place_of_vectors_is_refused(name):
    with pytest.raises(ValueError, match=r"reads a dict \{feature: .*shape \(6, 5\)"):
        CASES[name][0]()(X)


@pytest.mark.parametrize("name", ["SeparateBottoms", "CGC", "PPNet"])
def test_a_dict_without_a_task_is_refused(name):
    make, inputs = CASES[name]
    with pytest.raises(ValueError, match=r"Received: \['click'\], without \['like'"):
        make()({"click": X}, *inputs[1:])


@pytest.mark.parametrize("name", ["MMoE", "SharedBottom", "GlobalGates"])
def test_a_name_in_the_place_of_a_list_of_tasks_is_refused(name):
    with pytest.raises(ValueError, match="tasks must be a list of names. Rec.*'click'"):
        getattr(layers, name)("click", 2)


@keras.saving.register_keras_serializable("tests")
class Scaled(keras.layers.Layer):
    """A sound layer, whose children below are broken."""

    def __init__(self, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 2), name="kernel")

    def call(self, inputs):
        return self.scale * keras.ops.matmul(inputs, self.kernel)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 2)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable("tests")
class ForgetsAnArgument(Scaled):
    def get_config(self):
        return keras.layers.Layer.get_config(self)


class PromisesAnotherShape(Scaled):
    def compute_output_shape(self, input_shape):
        return (input_shape[0], 3)


class MixesRows(Scaled):
    def call(self, inputs):
        return super().call(inputs - keras.ops.mean(inputs, axis=0))


class LeavesAWeightOut(Scaled):
    def build(self, input_shape):
        super().build(input_shape)
        self.unused = self.add_weight(shape=(2,), name="unused")


class LosesPrecision(Scaled):
    def call(self, inputs):
        return keras.ops.cast(super().call(inputs), "float32")


class DrawsOnTheHost(Scaled):
    def call(self, inputs):
        noise = float(np.random.default_rng().normal())
        return super().call(inputs) + noise


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (ForgetsAnArgument, test_config_round_trip),
        (ForgetsAnArgument, test_saved_in_a_functional_model),
        (PromisesAnotherShape, test_static_shapes_and_dtypes_are_the_real_ones),
        (MixesRows, test_rows_do_not_depend_on_each_other),
        (LeavesAWeightOut, test_every_weight_learns),
        (LosesPrecision, test_mixed_precision),
        (DrawsOnTheHost, test_jit_changes_nothing),
    ],
)
def test_a_broken_layer_fails_the_battery(broken, check, monkeypatch, tmp_path):
    more = [tmp_path] if check is test_saved_in_a_functional_model else []
    monkeypatch.setitem(CASES, "it", (lambda **kw: Scaled(scale=3.0, **kw), [X]))
    check("it", *more)
    monkeypatch.setitem(CASES, "it", (lambda **kw: broken(scale=3.0, **kw), [X]))
    with pytest.raises(AssertionError):
        check("it", *more)


def test_a_layer_without_a_case_fails_the_battery(monkeypatch):
    monkeypatch.setattr(layers, "__all__", [*layers.__all__, "New"])
    with pytest.raises(AssertionError):
        test_every_public_layer_has_a_case()
