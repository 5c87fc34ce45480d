import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import layers
from tfmtl.layers.blocks.explicit_mapping import explicit_mapping
from tfmtl.layers.blocks.gates import record_gates


def _random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def _randomize(layer):
    """Gives every weight, those that start at 0 or 1 too, values that show."""
    layer.set_weights(
        [_random(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())]
    )


def test_parallel_cross_row_by_row():
    x = _random(4, 3)
    layer = layers.ParallelCross(2)
    layer(x)
    _randomize(layer)
    expected = []
    for x0 in x:
        xi = x0
        for i in range(2):
            # Keras writes x W, so Omega is the transposed kernel.
            omega = layer.kernels[i].numpy().T
            w, b, a = (
                weights[i].numpy().reshape(-1)
                for weights in (layer.vectors, layer.biases, layer.residuals)
            )
            xi = x0 * (omega @ xi) + x0 * (w @ xi) + b + a * xi
        expected.append(xi)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_parallel_cross_starts_with_a_plain_residual():
    layer = layers.ParallelCross(1)
    x = _random(2, 4)
    layer(x)
    np.testing.assert_array_equal(layer.residuals[0], np.ones(4))
    layer.kernels[0].assign(np.zeros((4, 4)))
    layer.vectors[0].assign(np.zeros((4, 1)))
    np.testing.assert_allclose(layer(x), x, rtol=1e-6)


def test_soft_selection_blends_attention_and_embedding():
    x = _random(3, 4, 6)
    layer = layers.SoftSelection(heads=2)
    layer(x)
    np.testing.assert_array_equal(layer.gate, np.zeros((4, 6)))  # half and half
    q, k, v, out = (
        getattr(layer.attention, f"_{name}_dense").kernel.numpy()
        for name in ("query", "key", "value", "output")
    )  # (D, heads, D / heads), the last one (heads, D / heads, D)
    attended = np.zeros_like(x)
    for row in range(3):
        for head in range(2):
            score = (x[row] @ q[:, head]) @ (x[row] @ k[:, head]).T / np.sqrt(3)
            score = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
            attended[row] += score @ (x[row] @ v[:, head]) @ out[head]
    np.testing.assert_allclose(layer(x), (attended + x) / 2, rtol=1e-4, atol=1e-5)
    layer.gate.assign(np.full((4, 6), 50))
    np.testing.assert_allclose(layer(x), attended, rtol=1e-4, atol=1e-5)
    layer.gate.assign(np.full((4, 6), -50))
    np.testing.assert_allclose(layer(x), x, rtol=1e-6)


def test_heads_of_soft_selection_are_rounded_up():
    layer = layers.SoftSelection(heads=2)
    layer(_random(3, 4, 5))
    assert layer.attention.key_dim == 3


def test_an_experts_own_options_win_over_those_of_all():
    layer = layers.PHN(
        ["click"], [{"name": "dnn", "units": (3,)}, "dnn"], ["cin"], units=(8, 4)
    )
    assert [expert.units for expert in layer.public_experts] == [(3,), (8, 4)]


def test_explicit_mappings():
    x = np.array([0, np.pi / 2, -np.pi], "float32")
    raw, sine, cosine = explicit_mapping(x, ("raw", "sin", "cos"))
    np.testing.assert_array_equal(raw, x)
    np.testing.assert_allclose(sine, [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(cosine, [1, 0, -1], atol=1e-6)


def test_input_gates_scale_by_softmax():
    gates = layers.InputGates(["a", "b"], 2)
    x, experts = _random(3, 4), [_random(3, 2, seed=1), _random(3, 1, seed=2)]
    out = gates(x, experts)
    for task in ("a", "b"):
        weights = np.exp(x @ gates.kernels[task].numpy())
        weights /= weights.sum(axis=1, keepdims=True)
        expected = [weights[:, i : i + 1] * e for i, e in enumerate(experts)]
        np.testing.assert_allclose(out[task], np.hstack(expected), rtol=1e-5)


def test_gates_refuse_another_number_of_experts():
    experts = [_random(3, 2), _random(3, 1)]
    with pytest.raises(ValueError, match="over 3 experts .* many tensors. Received: 2"):
        layers.GlobalGates(["a"], 3)(experts)
    with pytest.raises(ValueError, match="over 1 experts .* many tensors. Received: 2"):
        layers.InputGates(["a"], 1)(_random(3, 4), experts)


def test_a_task_may_be_called_public():
    phn = layers.PHN(["public", "b"], units=(6,))
    phn(_random(2, 3, 4))
    assert [*phn.selections] == ["shared", "public", "b"]
    paths = [w.path for w in phn.weights]
    assert len(set(paths)) == len(paths)


def test_output_is_the_papers_sum():
    """Equations 4 to 6: a linear tower on the output adds up all experts."""
    fields = 0.1 * _random(5, 3, 4)
    phn = layers.PHN(
        ["a", "b"],
        ("dnn", "parallel_cross"),
        ("field_interaction",),
        units=(6,),
        depth=2,
    )
    out = phn(fields)
    gates = phn.gates.gates.numpy()  # (T, K * P)
    seen = phn.selections["shared"](fields)
    flat = keras.ops.reshape(seen, (5, 12))
    dnn, cross = phn.public_experts[0](flat), phn.public_experts[1](flat)
    mapped = [dnn, np.sin(dnn), cross, np.sin(cross)]
    for t, task in enumerate(["a", "b"]):
        private = phn.task_experts[task][0](phn.selections[task](fields))
        tower = _random(out[task].shape[-1], 1, seed=t)
        pieces = np.split(tower, np.cumsum([6, 6, 12, 12]))
        logit = sum(
            gates[t, k] * np.asarray(x) @ w
            for k, (x, w) in enumerate(zip(mapped, pieces[:4], strict=True))
        )
        logit = logit + np.reshape(private, (5, 12)) @ pieces[4]
        np.testing.assert_allclose(out[task] @ tower, logit, rtol=1e-4, atol=1e-4)


def test_a_task_reaches_public_experts_and_its_own_alone():
    fields = tf.constant(_random(5, 3, 4))
    phn = layers.PHN(["a", "b"], units=(6,), depth=2)
    phn(fields)

    def reached(parts, gradients):
        paths = {w.path for part in parts for w in part.trainable_weights}
        return [gradients[path] is not None for path in paths]

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(phn(fields)["a"] ** 2)
    weights = phn.trainable_weights
    gradients = tape.gradient(loss, [w.value for w in weights])
    gradients = dict(zip([w.path for w in weights], gradients, strict=True))
    assert all(reached(phn.public_experts, gradients))
    assert all(reached([phn.selections["shared"]], gradients))
    assert all(reached([*phn.task_experts["a"], phn.selections["a"]], gradients))
    assert not any(reached([*phn.task_experts["b"], phn.selections["b"]], gradients))
    gates = gradients[phn.gates.gates.path].numpy()
    assert gates[0].all() and not gates[1].any()


def test_experts_and_gates_start_different():
    phn = layers.PHN(["a", "b"], units=(6,))
    phn(_random(2, 3, 4))
    kernels = [expert.layers[0].kernel.numpy() for expert in phn.public_experts]
    kernels += [phn.task_experts[task][0].kernels[0].numpy() for task in ("a", "b")]
    for i, a in enumerate(kernels):
        for b in kernels[:i]:
            assert a.shape != b.shape or np.abs(a - b).max() > 0.01
    gates = phn.gates.gates.numpy()
    assert gates.shape == (2, 6) and len(np.unique(gates)) == 12
    np.testing.assert_allclose(gates, np.ones((2, 6)), atol=0.3)


@pytest.mark.parametrize(
    ("public", "private"),
    [  # the three assignments of the paper's table I
        (("dnn", "parallel_cross", "field_interaction"), ()),
        (("parallel_cross", "field_interaction"), ("dnn",)),
        (("dnn",), ("parallel_cross", "field_interaction")),
    ],
)
@pytest.mark.parametrize("gates", ["global", "input"])
def test_assignments_of_experts(public, private, gates):
    coefficient = "add_sqrt" if gates == "global" else None
    phn = layers.PHN(
        ["a", "b"], public, private, units=(6,), gates=gates, coefficient=coefficient
    )
    fields = tf.constant(_random(5, 3, 4))
    with record_gates() as seen:
        out = phn(fields)
    labels = [f"{kind}_{i}/{m}" for i, kind in enumerate(public) for m in phn.mappings]
    fields_seen = [f"field_{i}" for i in range(3)]
    named = {path: named for path, (_, named) in seen.items()}
    selections = 3 if private else 1
    assert sum(path.endswith("_selection") for path in named) == selections
    for path, found in named.items():
        assert found == (fields_seen if path.endswith("_selection") else labels)
    assert len(named) == selections + 2
    widths = {"dnn": 6, "parallel_cross": 12, "field_interaction": 12}
    width = 2 * sum(map(widths.get, public)) + sum(map(widths.get, private))
    assert out["a"].shape == out["b"].shape == (5, width)
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(x**2) for x in phn(fields).values())
    for gradient in tape.gradient(loss, [w.value for w in phn.trainable_weights]):
        assert gradient is not None  # no weight is left over


def test_without_heads_there_is_no_selection():
    phn = layers.PHN(
        ["a"], ("parallel_cross",), (), depth=1, heads=0, mappings=("raw",)
    )
    fields = 0.1 * _random(5, 3, 4)
    out = phn(fields)
    assert not phn.selections
    crossed = phn.public_experts[0](fields.reshape(5, 12))
    np.testing.assert_allclose(out["a"], phn.gates.gates.numpy() * crossed, rtol=1e-5)


def test_works_in_any_multi_task_model():
    model = tfmtl.models.MultiTaskModel(
        [tfmtl.Categorical("item", vocabulary_size=9, embedding_dim=4)],
        [tfmtl.Task("click", tower=())],
        sharing=layers.PHN(["click"], units=(6,)),
    )
    assert model({"item": np.array([1, 2])})["click"].shape == (2, 1)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="public must name at least one expert"):
        layers.PHN(["a"], public=())
    with pytest.raises(ValueError, match="'crss'. Did you mean 'cross'"):
        layers.PHN(["a"], private=("crss",))
    with pytest.raises(ValueError, match="Each of mappings must be one of.*'tan'"):
        layers.PHN(["a"], mappings=("raw", "tan"))
    with pytest.raises(ValueError, match="Mappings must have different names"):
        layers.PHN(["a"], mappings=("raw", "raw"))
    with pytest.raises(ValueError, match="At least one mapping"):
        layers.PHN(["a"], mappings=())
    with pytest.raises(ValueError, match="gates must be one of"):
        layers.PHN(["a"], gates="softmax")
    with pytest.raises(ValueError, match="virtual gradient needs global gates"):
        layers.PHN(["a"], gates="input")
    with pytest.raises(ValueError, match="heads, if not 0, must be a positive"):
        layers.PHN(["a"], heads=-1)
    with pytest.raises(ValueError, match="depth must be a positive integer"):
        layers.ParallelCross(0)
