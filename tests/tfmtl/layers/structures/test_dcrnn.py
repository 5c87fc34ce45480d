import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import layers
from tfmtl.layers.blocks.partial_sharing import PartialDense, floor_share
from tfmtl.layers.interactions.recurrent_cell import RecurrentCell

RNG = np.random.default_rng(3)
ROWS, WIDTH = 6, 5
X = RNG.normal(size=(ROWS, WIDTH)).astype("float32")
V = RNG.normal(size=(ROWS, 3, 4)).astype("float32")
TASKS = ["click", "buy", "return"]


def _randomised(layer, *shapes):
    layer.build(*shapes)
    layer.set_weights([RNG.normal(size=w.shape) * 0.5 for w in layer.weights])
    return layer


def _close(a, b):
    np.testing.assert_allclose(np.asarray(a), b, rtol=1e-4, atol=1e-5)


def _count(layer):
    return sum(int(np.prod(w.shape)) for w in layer.trainable_weights)


@pytest.mark.parametrize("ratio, common", [(0, 0), (0.5, 3), (0.9, 6), (1, 7)])
def test_partial_dense_is_common_units_beside_own_ones(ratio, common):
    layer = _randomised(PartialDense(7, 3, ratio, "tanh"), (1, ROWS, WIDTH))
    m, n, n_s, copies = WIDTH, 7, common, 3
    assert _count(layer) == (m + 1) * (n_s + copies * (n - n_s))
    weights = {w.name: w.numpy() for w in layer.weights}
    out = np.asarray(layer(X[None]))
    each = RNG.normal(size=(3, ROWS, WIDTH)).astype("float32")
    out_each = np.asarray(layer(each))
    for k in range(copies):
        kernel, bias = np.zeros((m, 0)), np.zeros(0)
        if n_s:
            kernel, bias = weights["shared_kernel"], weights["shared_bias"][0]
        if n_s < n:
            kernel = np.concatenate([kernel, weights["own_kernel"][k]], axis=1)
            bias = np.concatenate([bias, weights["own_bias"][k, 0]])
        _close(out[k], np.tanh(X @ kernel + bias))
        _close(out_each[k], np.tanh(each[k] @ kernel + bias))


def test_a_single_copy_under_further_axes():
    layer = _randomised(PartialDense(7, 1, 0.5), (3, 1, ROWS, WIDTH))
    x = RNG.normal(size=(3, 1, ROWS, WIDTH)).astype("float32")
    (shared, shared_bias), (own, own_bias) = layer.parts
    kernel = np.concatenate([shared.numpy(), own.numpy()[0]], axis=1)
    bias = np.concatenate([shared_bias.numpy()[0], own_bias.numpy()[0, 0]])
    _close(layer(x), x @ kernel + bias)


def test_partial_dense_starts_at_the_scale_of_one_dense():
    layer = PartialDense(200, 4, 0.5)
    layer.build((1, ROWS, 100))
    alone = keras.initializers.GlorotUniform()((100, 200)).numpy().std()
    for kernel, _ in layer.parts:
        np.testing.assert_allclose(kernel.numpy().std(), alone, rtol=0.05)
    own = layer.parts[1][0].numpy()
    assert np.abs(own[0] - own[1]).max() > 0.01


def test_floor_of_a_share():
    assert floor_share(0.29, 100) == 29  # 0.29 * 100 is 28.999999999999996
    assert floor_share(0.5, 7) == 3


@pytest.mark.parametrize("kind", ["gru", "lstm", "simple"])
def test_cells_take_the_steps_of_keras_cells(kind):
    units = 4
    ours = _randomised(RecurrentCell(units, kind, shared_ratio=1), (1, ROWS, WIDTH))
    theirs = {
        "gru": lambda: keras.layers.GRUCell(units, reset_after=False),
        "lstm": lambda: keras.layers.LSTMCell(units),
        "simple": lambda: keras.layers.SimpleRNNCell(units),
    }[kind]()
    theirs.build((ROWS, WIDTH))
    order = {
        "gru": ["update", "reset", "candidate"],
        "lstm": ["input", "forget", "candidate", "output"],
        "simple": ["candidate"],
    }[kind]
    kernels = [ours.gates[name].parts[0][0].numpy() for name in order]
    biases = [ours.gates[name].parts[0][1].numpy()[0] for name in order]
    theirs.set_weights(
        [
            np.concatenate([k[:WIDTH] for k in kernels], axis=1),
            np.concatenate([k[WIDTH:] for k in kernels], axis=1),
            np.concatenate(biases),
        ]
    )
    h = RNG.normal(size=(ROWS, units)).astype("float32")
    states, expected = ours.start(h[None]), [h] * len(ours.start(h))
    for _ in range(2):
        states = ours(X[None], states)
        before = expected[0]
        _, expected = theirs(X, expected)
        if kind == "simple":  # ours carries the state over
            expected = [expected[0] + before]
    for a, b in zip(states, expected, strict=True):
        _close(a[0], b)


def test_recurrent_cross_step_by_step():
    layer = _randomised(layers.RecurrentCross(3, units=4, rank=2), (None, WIDTH))

    def dense(part, x):
        kernel, bias = part.parts[0]
        y = x @ kernel.numpy()
        return y if bias is None else y + bias.numpy()[0]

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    gates = layer.recurrent.gates
    h = dense(layer.projection, X)
    for _ in range(3):
        c = X * dense(layer.cross[1], dense(layer.cross[0], h))
        q = np.concatenate([c, h], axis=1)
        u, r = sigmoid(dense(gates["update"], q)), sigmoid(dense(gates["reset"], q))
        n = np.tanh(dense(gates["candidate"], np.concatenate([c, r * h], axis=1)))
        h = u * h + (1 - u) * n
    _close(layer(X), h)


def test_copies_of_a_recurrent_cross_do_not_mix():
    layer = _randomised(
        layers.RecurrentCross(2, 4, copies=2, shared_ratio=0.5), (None, WIDTH)
    )
    before = np.asarray(layer(X))
    gate = layer.recurrent.gates["update"].parts[1][0]
    gate.assign(gate.numpy() + np.array([0.0, 1.0])[:, None, None])
    after = np.asarray(layer(X))
    _close(before[:, 0], after[:, 0])
    assert np.abs(before[:, 1] - after[:, 1]).max() > 1e-3


def test_steps_use_the_same_weights_and_none_crosses_nothing():
    counts = []
    for steps in (1, 2, 5):
        layer = layers.RecurrentCross(steps)
        layer.build((None, WIDTH))
        counts.append(_count(layer))
    # W_c and b_c, and three gates that read [c; h].
    assert counts == [WIDTH * (WIDTH + 1) + 3 * WIDTH * (2 * WIDTH + 1)] * 3
    nothing = layers.RecurrentCross(0)
    _close(nothing(X), X)
    assert _count(nothing) == 0


@pytest.mark.parametrize("bidirectional", [False, True])
def test_field_recurrent_cross_reads_field_after_field(bidirectional):
    layer = layers.FieldRecurrentCross(5, bidirectional=bidirectional)
    out = np.asarray(layer(V))
    changed = V.copy()
    changed[:, 1] += 1
    again = np.asarray(layer(changed))
    # A field before the changed one is not concerned, if nobody reads backwards.
    assert np.allclose(out[:, 0], again[:, 0]) != bidirectional
    assert not np.allclose(out[:, 1], again[:, 1])
    assert not np.allclose(out[:, 2], again[:, 2])
    # o_f = e_f * (W s_f + b), with the state after the last field.
    zeros = keras.ops.zeros((1, ROWS, 5))
    states = layer.cells[0].start(zeros)
    for f in range(3):
        states = layer.cells[0](V[None, :, f], states)
    state = [states[0]]
    if bidirectional:
        first = layer.cells[1](V[None, :, 2], layer.cells[1].start(zeros))
        state.append(first[0])
    crossed = layer.cross(keras.ops.concatenate(state, axis=-1))[0]
    _close(out[:, 2], V[:, 2] * np.asarray(crossed))


def _gradient_of_one_task(layer, task, inputs=X):
    layer(inputs)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant(inputs))[task] ** 2)
    variables = [w.value for w in layer.trainable_weights]
    return tape.gradient(loss, variables, unconnected_gradients="zero")


@pytest.mark.parametrize("mode", ["unit", "layer"])
def test_ratio_1_is_hard_sharing(mode):
    layer = layers.DCRNN(
        TASKS, shared_ratio=1, share_mode=mode, units=(8,), task_recurrence=False
    )
    out = layer(X)
    for task in TASKS[1:]:
        np.testing.assert_array_equal(out[task], out["click"])
    single = layers.DCRNN(["click"], units=(8,), task_recurrence=False)
    single(X)
    assert _count(layer) == _count(single)


@pytest.mark.parametrize("mode", ["unit", "layer"])
def test_ratio_0_is_separate_networks(mode):
    layer = layers.DCRNN(
        TASKS, shared_ratio=0, share_mode=mode, units=(8,), task_recurrence=False
    )
    gradients = _gradient_of_one_task(layer, "buy")
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        assert weight.name.startswith("own"), weight.path
        moved = np.abs(gradient.numpy()).reshape(3, -1).max(axis=1)
        assert moved[1] > 0 and moved[0] == moved[2] == 0, weight.path


def test_a_ratio_between_shares_some_units_of_every_matrix():
    layer = layers.DCRNN(
        TASKS, shared_ratio=0.5, units=(8,), state_units=6, task_recurrence=False
    )
    layer(X)
    m, k = WIDTH, len(TASKS)

    def size(inputs, units, bias=1):
        common = units // 2
        return (inputs + bias) * (common + k * (units - common))

    cross = size(m, 6, bias=0) + size(6, m) + 3 * size(m + 6, 6)
    assert _count(layer) == cross + size(6, 8)
    gradients = _gradient_of_one_task(layer, "buy")
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        if weight.name.startswith("shared"):
            assert np.abs(gradient).max() > 0, weight.path
        else:
            moved = np.abs(gradient.numpy()).reshape(3, -1).max(axis=1)
            assert moved[0] == moved[2] == 0, weight.path


def test_layer_mode_shares_the_first_layers():
    layer = layers.DCRNN(
        TASKS,
        shared_ratio=0.5,
        share_mode="layer",
        units=(8, 7, 6),
        task_recurrence=False,
    )
    layer(X)
    assert layer.cross.copies == 1
    assert [dense.copies for dense in layer.hidden] == [1, 3, 3]
    assert [dense.shared_units for dense in layer.hidden] == [8, 0, 0]


def test_without_steps_only_the_dense_layers_are_left():
    layer = layers.DCRNN(
        TASKS, steps=0, state_units=None, units=(8,), task_recurrence=False
    )
    out = layer(X)
    dense = layer.hidden[0](np.broadcast_to(X, (3, ROWS, WIDTH)))
    for k, task in enumerate(TASKS):
        _close(out[task], np.asarray(dense[k]))
    assert _count(layer) == _count(layer.hidden[0])


def test_a_task_hears_of_those_before_it_alone():
    layer = layers.DCRNN(TASKS, shared_ratio=0, units=(8,))
    for task, heard in (("click", [1, 0, 0]), ("buy", [1, 1, 0])):
        gradients = _gradient_of_one_task(layer, task)
        for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
            if weight.name == "own_kernel":
                moved = np.abs(gradient.numpy()).reshape(3, -1).max(axis=1) > 0
                assert moved.tolist() == [bool(x) for x in heard], weight.path


def test_a_further_task_adds_two_products():
    """With the state; what does not wait for it is one product for all tasks."""

    def count(tasks):
        layer = layers.DCRNN([f"t{k}" for k in range(tasks)], steps=1, units=(4,))
        layer.build((ROWS, WIDTH))
        graph = tf.function(layer).get_concrete_function(X).graph
        kinds = [op.type for op in graph.get_operations()]
        return kinds.count("MatMul") + kinds.count("BatchMatMulV2")

    assert count(3) - count(2) == 2


def test_task_cell_has_the_same_weights_for_any_number_of_tasks():
    sizes = set()
    for tasks in (TASKS[:1], TASKS):
        layer = layers.DCRNN(tasks, units=(8,))
        layer(X)
        sizes.add(_count(layer.recurrent))
    assert sizes == {3 * 8 * (8 + 8 + 1)}


def _features():
    return [tfmtl.Categorical("item", vocabulary_size=9), tfmtl.Numeric("x")]


def _inputs():
    return {"item": np.arange(ROWS), "x": X[:, 0]}


def test_product_head_multiplies_along_the_funnel():
    tasks = [
        tfmtl.Task("click"),
        tfmtl.Task("watch", kind="regression"),
        tfmtl.Task("buy"),
        tfmtl.Task("return"),
    ]
    model = tfmtl.models.DCRNN(_features(), tasks, product_head=True)
    logits = {t.name: keras.ops.ones((2, 1)) * i for i, t in enumerate(tasks)}
    p = {name: np.asarray(x) for name, x in model.predict_tasks(logits).items()}
    sigmoid = 1 / (1 + np.exp(-np.arange(4.0)))
    _close(p["click"], np.full((2, 1), sigmoid[0]))
    _close(p["watch"], np.ones((2, 1)))
    _close(p["buy"], np.full((2, 1), sigmoid[0] * sigmoid[2]))
    _close(p["return"], np.full((2, 1), sigmoid[0] * sigmoid[2] * sigmoid[3]))


def test_product_head_starts_at_the_means():
    tasks = [tfmtl.Task("click"), tfmtl.Task("buy"), tfmtl.Task("return")]
    means = {"click": 0.3, "buy": 0.01, "return": 0.002}
    model = tfmtl.models.DCRNN(_features(), tasks, product_head=True)
    for task in tasks:  # one by one is as good as all at once
        model.start_at({task.name: means[task.name]})
    # Without the towers' inputs, so that the biases alone speak.
    logits = {
        name: keras.ops.reshape(tower.output_bias, (1, 1))
        for name, tower in model.towers.items()
    }
    for name, p in model.predict_tasks(logits).items():
        np.testing.assert_allclose(np.asarray(p)[0, 0], means[name], rtol=1e-4)


def test_product_head_refuses_a_sample_space():
    tasks = [tfmtl.Task("click"), tfmtl.Task("buy", space="click")]
    with pytest.raises(ValueError, match="no space. Received: task 'buy' with space"):
        tfmtl.models.DCRNN(_features(), tasks, product_head=True)
    tfmtl.models.DCRNN(_features(), tasks)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"cross": "fields", "bidirectional": True, "state_units": 4},
        {"cell": "lstm", "rank": 3, "share_mode": "layer", "product_head": True},
        {"cell": "simple", "task_recurrence": False},
    ],
)
def test_variants_train_and_load(options, tmp_path):
    model = tfmtl.models.get("dcrnn")(
        _features(), [tfmtl.Task("click"), tfmtl.Task("buy")], units=(8,), **options
    )
    model.compile(jit_compile=False)
    labels = {"click": np.ones(ROWS), "buy": np.zeros(ROWS)}
    history = model.fit(_inputs(), labels, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    expected = model(_inputs())
    for task, prediction in again(_inputs()).items():
        _close(prediction, np.asarray(expected[task]))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"cross": "step"}, "cross must be one of .* Did you mean 'steps'"),
        ({"cell": "grru"}, "cell must be one of .* Did you mean 'gru'"),
        ({"share_mode": "row"}, "share_mode must be one of"),
        ({"shared_ratio": 1.5}, r"shared_ratio must be in \[0, 1\]. Received: 1.5"),
        ({"steps": -1}, "steps, if not 0, must be a positive integer"),
        ({"units": ()}, "needs a dense layer"),
        ({"cross": "fields", "state_units": None}, "^state_units with cross='f"),
        ({"cross": "fields", "rank": 2}, "rank is no option of cross='fields'"),
        ({"cross": "fields", "steps": 2}, "steps is no option of cross='fields'"),
        ({"bidirectional": True}, "bidirectional is no option of cross='steps'"),
        (
            {"cell": "foo", "steps": 0, "task_recurrence": False},
            "cell must be one of",
        ),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        layers.DCRNN(TASKS, **options)


def test_recurrent_crosses_refuse_bad_options_at_once():
    for layer in (layers.RecurrentCross, layers.FieldRecurrentCross):
        with pytest.raises(ValueError, match="cell must be one of .* Did you mean 'gr"):
            layer(cell="grru")
        with pytest.raises(ValueError, match=r"shared_ratio must be in \[0, 1\]"):
            layer(shared_ratio=3)


def test_the_cell_is_that_of_both_recurrences():
    layer = layers.DCRNN(["click", "buy"], cell="lstm")
    assert layer.recurrent.cell == layer.cross.cell == "lstm"
