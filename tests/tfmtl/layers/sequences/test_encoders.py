"""Encoders of sequences against loops over rows and items."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from effects import randomise

from tfmtl.layers import (
    BST,
    DIEN,
    ETA,
    SIM,
    SASRec,
    SequencePooling,
    sequence_encoder,
)
from tfmtl.layers.sequences.registry import ENCODERS

DIM = 4
RANDOM = np.random.default_rng(5)
TARGET = RANDOM.normal(size=(4, DIM)).astype("float32")
ITEMS = RANDOM.normal(size=(4, 5, DIM)).astype("float32")
PRESENT = np.array([[1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [0] * 5, [1] * 5])


def _encode(layer, items=ITEMS, present=PRESENT):
    return layer(*_given(layer, items, present)).numpy()


def _given(layer, items, present):
    """What an encoder is called with; all events are of the target's category."""
    target = [TARGET] if layer.takes_target else []
    same = [np.ones_like(present)] if getattr(layer, "takes_same", False) else []
    return [*target, items, present, *same]


def _expected(one_row):
    """Returns what a function of a target and the items that are there gives."""
    rows = zip(TARGET, ITEMS, PRESENT, strict=True)
    return [one_row(q, x[there == 1]) for q, x, there in rows]


def _made(layer):
    _encode(layer)
    randomise(layer)
    return layer


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("pooling", "of"), [("mean", np.mean), ("sum", np.sum), ("max", np.max)]
)
def test_pooling(pooling, of):
    expected = _expected(lambda q, x: of(x, axis=0) if len(x) else np.zeros(DIM))
    found = _encode(SequencePooling(pooling))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_dien():
    layer = _made(DIEN(3))

    def steps(weights, inputs, updates):
        kernel, state_kernel, bias = (w.numpy() for w in weights)
        h, states = np.zeros(3), []
        for x, a in zip(inputs, updates, strict=True):
            of_x = np.split(x @ kernel + bias, 3)
            of_h = np.split(h @ state_kernel, 3)
            u, r = (_sigmoid(of_x[i] + of_h[i]) for i in (0, 1))
            n = np.tanh(of_x[2] + r * of_h[2])
            h = (1 - a * u) * h + a * u * n
            states.append(h)
        return np.array(states)

    def dien(q, x):
        if not len(x):
            return np.zeros(3)
        states = steps(layer.extract, x, np.ones(len(x)))
        weights = _softmax(states @ layer.attend.numpy() @ q)
        return steps(layer.evolve, states, weights)[-1]

    np.testing.assert_allclose(_encode(layer), _expected(dien), rtol=1e-4, atol=1e-5)


def _block(block, x, attended):
    """Returns a transformer block, `attended[i]` being the places that i sees."""
    project, join, widen, narrow = (
        [w.numpy() for w in layer.weights]
        for layer in (block.project, block.join, block.widen, block.narrow)
    )

    def norm(which, x):
        scale, offset = (w.numpy() for w in block.norms[which].weights)
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-3) * scale + offset

    def attend(x):
        query, key, value = np.split(x @ project[0], 3, axis=-1)
        out = np.zeros_like(query)
        width = block.head_units
        for i in range(len(x)):
            for head in range(block.heads):
                own = slice(head * width, (head + 1) * width)
                scores = key[attended[i], own] @ query[i, own] / np.sqrt(width)
                out[i, own] = _softmax(scores) @ value[attended[i], own]
        return out @ join[0]

    def feed_forward(x):
        x = x @ widen[0] + widen[1]
        x = np.maximum(x, 0 if block.norm_first else 0.2 * x)
        return x @ narrow[0] + narrow[1]

    if block.norm_first:
        x = x + attend(norm(0, x))
        return x + feed_forward(norm(1, x))
    x = norm(0, x + attend(x))
    return norm(1, x + feed_forward(x))


def test_bst():
    layer = _made(BST(blocks=2, heads=2, hidden_units=6))

    def bst(q, x):
        count = len(x) + 1
        x = np.concatenate([x, q[None]]) + layer.distances.numpy()[:count][::-1]
        for block in layer.parts:
            x = _block(block, x, [np.arange(count)] * count)
        return x[-1]

    np.testing.assert_allclose(_encode(layer), _expected(bst), rtol=1e-4, atol=1e-5)


def test_sasrec():
    layer = _made(SASRec(blocks=2, heads=1, hidden_units=6))

    def sasrec(q, x):
        if not len(x):
            return np.zeros(DIM)
        x = x + layer.distances.numpy()[: len(x)][::-1]
        for block in layer.parts:
            x = _block(block, x, [np.arange(i + 1) for i in range(len(x))])
        return layer.norm(x[-1:]).numpy()[0]

    np.testing.assert_allclose(_encode(layer), _expected(sasrec), rtol=1e-4, atol=1e-5)


def test_eta_attends_to_the_items_with_most_bits_of_the_target():
    layer = _made(ETA(items=2, bits=3))
    planes = layer.planes.numpy()

    def eta(q, x):
        equal = ((x @ planes > 0) == (q @ planes > 0)).sum(axis=1)
        found = sorted(range(len(x)), key=lambda j: (equal[j], j))[-2:]
        chosen = np.zeros((1, 2, DIM), "float32")
        chosen[0, : len(found)] = x[sorted(found)]
        there = np.arange(2) < len(found)
        return layer.attention(q[None], chosen, there[None]).numpy()[0]

    expected = _expected(eta)
    np.testing.assert_allclose(_encode(layer), expected, rtol=1e-4, atol=1e-5)


def test_eta_of_few_items_is_target_attention():
    layer = _made(ETA(items=5))
    expected = layer.attention(TARGET, ITEMS, PRESENT)
    np.testing.assert_array_equal(_encode(layer), expected)


def test_sim_attends_to_the_last_events_of_the_targets_category():
    layer = SIM(items=2)
    same = np.array([[1, 0, 1, 1, 1], [1, 1, 1, 1, 1], [1] * 5, [1, 1, 0, 1, 0]])
    layer(TARGET, ITEMS, PRESENT, same)
    randomise(layer)
    expected = []
    for q, x, found in zip(TARGET, ITEMS, PRESENT * same, strict=True):
        at = np.flatnonzero(found)[-2:]
        chosen = np.zeros((1, 2, DIM), "float32")
        chosen[0, : len(at)] = x[at]
        there = np.arange(2)[None] < len(at)
        expected.append(layer.attention(q[None], chosen, there).numpy()[0])
    found = layer(TARGET, ITEMS, PRESENT, same).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    nothing = layer(TARGET, ITEMS, PRESENT, np.zeros_like(same)).numpy()
    np.testing.assert_array_equal(nothing, 0)


def test_sim_of_few_items_of_one_category_is_target_attention():
    layer = _made(SIM(items=5))
    expected = layer.attention(TARGET, ITEMS, PRESENT)
    np.testing.assert_array_equal(_encode(layer), expected)


@pytest.mark.parametrize("name", ENCODERS)
def test_padding_changes_nothing(name):
    """Not by what stands there, nor by where it stands."""
    layer = _made(sequence_encoder(name))
    found = _encode(layer)
    there = PRESENT[..., None] == 1
    other = np.where(there, ITEMS, np.float32(1e4))
    np.testing.assert_array_equal(found, _encode(layer, other))
    moved, present = np.zeros_like(ITEMS), PRESENT[:, ::-1]
    for row in range(len(ITEMS)):
        moved[row, present[row] == 1] = ITEMS[row, PRESENT[row] == 1]
    found_moved = _encode(layer, moved, present)
    np.testing.assert_allclose(found, found_moved, rtol=1e-4, atol=1e-6)
    if name != "bst":  # which reads the target too
        np.testing.assert_array_equal(found[2], 0)


@pytest.mark.parametrize("name", ENCODERS)
def test_what_is_absent_learns_nothing_also_under_xla(name):
    layer = _made(sequence_encoder(name))

    @tf.function(jit_compile=True)
    def gradients(items):
        with tf.GradientTape() as tape:
            tape.watch(items)
            out = layer(*_given(layer, items, PRESENT))
            loss = tf.reduce_sum(out * tf.random.stateless_normal(out.shape, (1, 2)))
        return tape.gradient(loss, items)

    size = np.abs(gradients(tf.constant(ITEMS))).sum(-1)
    assert np.isfinite(size).all()
    np.testing.assert_array_equal(size[PRESENT == 0], 0)
    assert (size.sum(axis=1) > 0).tolist() == [True, True, False, True]


@pytest.mark.parametrize("name", ENCODERS)
def test_half_precision_has_no_nan(name):
    layer = sequence_encoder(name, dtype="mixed_float16")
    assert np.isfinite(_encode(layer).astype("float32")).all()


@pytest.mark.parametrize("name", ["dien", "eta", "sim"])  # of loops and of gathers
def test_what_is_exported_is_what_was_trained(name, tmp_path):
    layer = sequence_encoder(name)
    given = [np.float32(x) for x in _given(layer, ITEMS, PRESENT)]
    shapes = [x.shape for x in given]
    inputs = [keras.Input(shape[1:], dtype="float32") for shape in shapes]
    model = keras.Model(inputs, layer(*inputs))
    model.export(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(served.serve(given), model(given), rtol=1e-5, atol=1e-6)


def test_an_unknown_encoder_is_refused():
    with pytest.raises(ValueError, match="encoder must be one of.*'dien'"):
        sequence_encoder("diem")
