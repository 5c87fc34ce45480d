import itertools
import json

import keras
import numpy as np
import pytest

import tfmtl
from tfmtl import layers

RNG = np.random.default_rng(3)
FIELDS, DIM = 3, 4
V = RNG.normal(size=(6, FIELDS, DIM)).astype("float32")


def _randomised(layer):
    layer.build(V.shape)
    layer.set_weights([RNG.normal(size=w.shape) * 0.5 for w in layer.weights])
    return layer


def _close(a, b):
    np.testing.assert_allclose(np.asarray(a), b, rtol=1e-4, atol=1e-5)


def test_field_interaction_entry_by_entry():
    layer = _randomised(layers.FieldInteraction(2))
    expected = V.astype("float64")
    for i in range(2):
        mixer, carry = layer.mixers[i].numpy(), layer.carries[i].numpy()[:, 0]
        before, expected = expected, np.zeros(V.shape)
        for b, f, d in itertools.product(range(6), range(FIELDS), range(DIM)):
            mixed = sum(mixer[f, g] * before[b, g, d] for g in range(FIELDS))
            expected[b, f, d] = V[b, f, d] * mixed + carry[f] * before[b, f, d]
    _close(layer(V), expected)


def test_factorization_machine_is_the_sum_over_pairs():
    pairs = sum(V[:, i] * V[:, j] for i, j in itertools.combinations(range(FIELDS), 2))
    _close(layers.FactorizationMachine()(V), pairs)


def test_cin_product_by_product():
    layer = _randomised(layers.CIN((5, 2)))
    x, pooled = V, []
    for kernel, units in zip(layer.kernels, (5, 2), strict=True):
        w = kernel.numpy().reshape(units, x.shape[1], FIELDS)
        new = np.zeros((6, units, DIM))
        for h, i, j in itertools.product(
            range(units), range(x.shape[1]), range(FIELDS)
        ):
            new[:, h] += w[h, i, j] * x[:, i] * V[:, j]
        pooled.append(new.sum(-1))
        x = new
    _close(layer(V), np.concatenate(pooled, axis=1))


def test_field_attention_head_by_head():
    layer = _randomised(layers.FieldAttention(1, heads=2, units=3))
    w = {n.removesuffix("_0"): p.kernel.numpy() for n, p in layer.projections.items()}
    for row, out in zip(V, np.asarray(layer(V)), strict=True):
        heads = []
        for h in (slice(0, 3), slice(3, 6)):
            scores = np.exp((row @ w["query"][:, h]) @ (row @ w["key"][:, h]).T)
            weights = scores / scores.sum(axis=1, keepdims=True)
            heads.append(weights @ (row @ w["value"][:, h]))
        expected = np.concatenate(heads, axis=1) + row @ w["residual"]
        _close(out, np.maximum(expected, 0))


def test_field_stack_projects_what_is_of_another_width():
    layer = layers.FieldStack()
    vectors = {"item": V[:, 0], "country": V[:, 1, :3], "age": V[:, 2, :1]}
    out = np.asarray(layer(vectors))
    assert sorted(layer.projections) == ["age", "country"]
    _close(out[:, 0], V[:, 0])
    _close(out[:, 1], V[:, 1, :3] @ layer.projections["country"].kernel.numpy())
    # A number scales its vector.
    _close(out[:, 2], V[:, 2, :1] * layer.projections["age"].kernel.numpy()[0])
    assert layers.FieldStack(dim=7)(vectors).shape == (6, 3, 7)


def test_interactions_by_name_say_what_they_take():
    flat = V.reshape(6, -1)
    for name in ("dnn", "cross", "cross_v2", "cross_mix", "recurrent_cross"):
        layer = layers.interaction(name)
        assert not getattr(layer, "takes_fields", False)
        assert layer(flat).shape[0] == 6
    for name in ("field_interaction", "fm", "cin", "attention"):
        layer = layers.interaction(name)
        assert layer.takes_fields and layer(V).shape[0] == 6
    layer = layers.interaction("field_recurrent_cross")
    assert layer.takes_fields and layer(V).shape == V.shape
    with pytest.raises(ValueError, match="Received: 'cros'. Did you mean 'cross'"):
        layers.interaction("cros")


def test_heterogeneous_experts_are_their_parts():
    layer = layers.HeterogeneousExperts(
        [{"name": "cin", "units": (5,)}, layers.CrossV2(1)],
        units=8,
        activation="linear",
    )
    assert layer.takes_fields
    small = 0.1 * V  # of larger rows, what multiplies reads a part
    out = np.asarray(layer(small))
    cin, cross = layer.interactions
    assert cross.depth == 1
    for i, x in enumerate([cin(small), cross(small.reshape(6, -1))]):
        _close(out[:, i], layer.projections[i](x))
    flat = layers.HeterogeneousExperts(["cross", "recurrent_cross"], units=8)
    assert not flat.takes_fields
    assert flat(V.reshape(6, -1)).shape == (6, 2, 8)


def test_heterogeneous_experts_of_one_kind_differ():
    out = np.asarray(layers.HeterogeneousExperts(["cin", "cin"])(V))
    assert np.abs(out[:, 0] - out[:, 1]).max() > 1e-3


def test_heterogeneous_experts_refuse_what_they_cannot_use():
    with pytest.raises(
        ValueError, match=r"reads \(batch, fields, dim\). Received: sha"
    ):
        layers.HeterogeneousExperts(["cin", "cross"])(V.reshape(6, -1))
    with pytest.raises(ValueError, match="At least one interaction is needed"):
        layers.HeterogeneousExperts([])
    with pytest.raises(ValueError, match="dict with the key 'name'. Received: "):
        layers.HeterogeneousExperts([{"depth": 2}])
    with pytest.raises(ValueError, match="Did you mean 'cross_mix'"):
        layers.HeterogeneousExperts(["crossmix"])


@keras.saving.register_keras_serializable("tests")
class Mixed(keras.layers.Layer):
    """A sharing structure of fields, as a user would write one."""

    takes_fields = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.experts = layers.HeterogeneousExperts(["attention", "cross"], units=8)
        self.gates = {task: layers.SoftmaxGate(2) for task in ("click", "like")}

    def call(self, inputs):
        experts = self.experts(inputs)
        flat = keras.ops.reshape(inputs, (-1, inputs.shape[1] * inputs.shape[2]))
        return {task: gate(flat, experts) for task, gate in self.gates.items()}


def test_a_model_gives_fields_to_a_structure_that_takes_them():
    model = tfmtl.models.MultiTaskModel(
        [tfmtl.Categorical("item", vocabulary_size=9), tfmtl.Numeric("age")],
        [tfmtl.Task("click"), tfmtl.Task("like")],
        sharing=Mixed(),
    )
    inputs = {"item": np.arange(4), "age": np.ones(4, "float32")}
    labels = {"click": np.ones(4), "like": np.zeros(4)}
    model.compile()
    model.fit(inputs, labels, verbose=0)
    assert model.bottom.projections["age"].kernel.shape == (1, 16)


def test_mmoe_mixes_interactions(tmp_path):
    model = tfmtl.models.get("mmoe")(
        [tfmtl.Categorical("item", vocabulary_size=9), tfmtl.Numeric("age")],
        [tfmtl.Task("click"), tfmtl.Task("like")],
        experts=[
            "dnn",
            "cin",
            {"name": "cross_v2", "depth": 1},
        ],
        expert_units=(8,),
    )
    inputs = {"item": np.arange(4), "age": np.ones(4, "float32")}
    report = model.gate_report(inputs)
    assert [gate["labels"] for gate in report.values()] == [
        ["dnn_0", "cin_1", "cross_v2_2"]
    ] * 2
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    expected = model(inputs)
    for task, prediction in again(inputs).items():
        _close(prediction, np.asarray(expected[task]))
    layer = layers.MMoE(["click"], ["cross", {"name": "cross_v2", "depth": 2}], (8,))
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    assert again.experts.interactions[1].depth == 2
    assert not layer.takes_fields and layer(V[:, 0])["click"].shape == (6, 8)
