"""Row-sparse optimizers against numbers by hand, and against Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from representatives import fast

import tfmtl
from tfmtl import optimizers
from tfmtl.models import trainer
from tfmtl.optimizers import row_sparse as rows
from tfmtl.optimizers.row_sparse import sum_duplicates

RATE = 0.5
START = np.arange(8, dtype="float32").reshape(4, 2) + 1


def _table(path="table_2"):
    with keras.name_scope("embedding"):
        return keras.Variable(START, name=path)


def _slices(rows, values):
    return tf.IndexedSlices(tf.constant(values, "float32"), tf.constant(rows), (4, 2))


@pytest.fixture(params=[0, rows.FEW_ROWS], ids=["by rows", "as a whole"])
def table_update(request, monkeypatch):
    """Updates tables row by row, as large ones are, or as a whole."""
    for module in (rows, trainer):
        monkeypatch.setattr(module, "FEW_ROWS", request.param)


def _apply(optimizer, variable, *gradients):
    for gradient in gradients:
        optimizer.apply([gradient], [variable])
    return variable.numpy()


TWICE = _slices([2, 0, 2], [[1.0, 2.0], [4.0, 4.0], [2.0, 1.0]])  # row 2: [3, 3]


def test_duplicates_are_summed():
    summed = sum_duplicates(TWICE)
    np.testing.assert_array_equal(summed.indices, [2, 0])
    np.testing.assert_array_equal(summed.values, [[3, 3], [4, 4]])


@pytest.mark.usefixtures("table_update")
def test_sgd_by_hand():
    expected = START.copy()
    expected[2] -= RATE * 3
    expected[0] -= RATE * 4
    found = _apply(optimizers.SparseSGD(RATE), _table(), TWICE)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # With momentum, row 0 rests in the second step, and its momentum with it.
    optimizer = optimizers.SparseSGD(RATE, momentum=0.5)
    variable = _table()
    _apply(optimizer, variable, TWICE, _slices([2], [[1.0, 1.0]]))
    expected = START.copy()
    expected[0] -= 2
    expected[2] -= 1.5 + (0.5 * 1.5 + 0.5)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)
    _apply(optimizer, variable, _slices([0], [[0.0, 0.0]]))
    expected[0] -= 0.5 * 2
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)


@pytest.mark.usefixtures("table_update")
def test_adagrad_by_hand():
    found = _apply(
        optimizers.SparseAdagrad(RATE, initial_accumulator_value=0.0), _table(), TWICE
    )
    expected = START.copy()
    expected[[0, 2]] -= RATE  # g / sqrt(g^2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.usefixtures("table_update")
def test_rowwise_adagrad_by_hand():
    optimizer = optimizers.RowwiseAdagrad(RATE, initial_accumulator_value=0.0)
    variable = _table()
    found = _apply(optimizer, variable, _slices([1, 1], [[1.0, 2.0], [2.0, 2.0]]))
    expected = START.copy()
    expected[1] -= RATE * np.array([3, 4]) / np.sqrt((9 + 16) / 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    slots = {v.path: tuple(v.shape) for v in optimizer.variables}
    assert [shape for path, shape in slots.items() if "accumulator" in path] == [(4, 1)]
    # A dense gradient of the table means the same.
    dense = _apply(
        optimizers.RowwiseAdagrad(RATE, initial_accumulator_value=0.0),
        _table(),
        tf.constant([[0.0, 0], [3, 4], [0, 0], [0, 0]]),
    )
    np.testing.assert_allclose(dense, expected, rtol=1e-5)
    # What is no table has a number an entry.
    kernel = _table("kernel")
    optimizer = optimizers.RowwiseAdagrad(RATE)
    optimizer.build([kernel])
    assert tuple(optimizer.variables[-1].shape) == (4, 2)


@pytest.mark.usefixtures("table_update")
def test_lazy_adam_by_hand():
    optimizer = optimizers.LazyAdam(RATE, beta_1=0.5, beta_2=0.75, epsilon=0.0)
    variable = _table()
    _apply(optimizer, variable, TWICE)
    expected = START.copy()
    expected[[0, 2]] -= RATE  # the first step is the rate, whatever the gradient
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5)
    _apply(optimizer, variable, _slices([2], [[1.0, 1.0]]))
    m = 0.5 * (0.5 * 3) + 0.5 * 1
    v = 0.75 * (0.25 * 9) + 0.25 * 1
    rate = RATE * np.sqrt(1 - 0.75**2) / (1 - 0.5**2)
    expected[2] -= rate * m / np.sqrt(v)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5)


@pytest.mark.usefixtures("table_update")
def test_l2_pulls_the_looked_up_rows_alone():
    found = _apply(
        optimizers.SparseSGD(RATE, l2=0.1), _table(), _slices([1, 1], np.zeros((2, 2)))
    )
    expected = START.copy()
    expected[1] *= 1 - RATE * 0.1  # once, though it was looked up twice
    np.testing.assert_allclose(found, expected, rtol=1e-6)


PAIRS = {
    "adagrad": (optimizers.SparseAdagrad, keras.optimizers.Adagrad, {}),
    "adam": (optimizers.LazyAdam, keras.optimizers.Adam, {}),
    "sgd": (optimizers.SparseSGD, keras.optimizers.SGD, {}),
    "momentum": (optimizers.SparseSGD, keras.optimizers.SGD, {"momentum": 0.9}),
    "ftrl": (optimizers.SparseFtrl, keras.optimizers.Ftrl, {"beta": 0.5}),
    "norm": (optimizers.LazyAdam, keras.optimizers.Adam, {"clipnorm": 0.5}),
    "value": (optimizers.SparseSGD, keras.optimizers.SGD, {"clipvalue": 0.5}),
    "global norm": (optimizers.SparseSGD, keras.optimizers.SGD, {"global_clipnorm": 1}),
}


@pytest.mark.usefixtures("table_update")
@pytest.mark.parametrize("pair", PAIRS)
def test_where_every_row_is_looked_up_the_numbers_are_those_of_keras(pair):
    ours, kerases, options = PAIRS[pair]
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(3, 6, 2)).astype("float32")
    looked_up = [0, 1, 2, 3, 1, 3]
    sparse = [_slices(looked_up, g) for g in gradients]
    dense = [tf.convert_to_tensor(g) for g in sparse]
    expected = _apply(kerases(0.1, **options), _table(), *dense)
    for given in (sparse, dense):
        found = _apply(ours(0.1, **options), _table(), *given)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.usefixtures("table_update")
def test_adagrad_is_that_of_keras_whatever_is_looked_up():
    steps = [TWICE, _slices([3], [[1.0, -1.0]]), TWICE]
    dense = [tf.convert_to_tensor(g) for g in steps]
    expected = _apply(keras.optimizers.Adagrad(0.1), _table(), *dense)
    found = _apply(optimizers.SparseAdagrad(0.1), _table(), *steps)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.usefixtures("table_update")
def test_ftrl_from_0_is_that_of_keras_whatever_is_looked_up():
    options = {"l1_regularization_strength": 3.0, "l2_regularization_strength": 0.3}
    steps = [TWICE, _slices([3], [[1.0, -1.0]]), TWICE]
    variables = [_table(), _table()]
    for variable in variables:
        variable.assign(np.zeros((4, 2)))
    ours = _apply(optimizers.SparseFtrl(0.1, **options), variables[0], *steps)
    dense = [tf.convert_to_tensor(g) for g in steps]
    theirs = _apply(keras.optimizers.Ftrl(0.1, **options), variables[1], *dense)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    # |z| of row 3 is 1, below l1; of row 2 it is 6 and more.
    assert not ours[3].any() and ours[2].all()


@pytest.mark.usefixtures("table_update")
def test_ftrl_by_hand():
    options = {"initial_accumulator_value": 0.0, "l1_regularization_strength": 1.0}
    found = _apply(optimizers.SparseFtrl(RATE, **options), _table(), TWICE)
    expected = START.copy()
    # z = g - |g| / rate w,  w = -(z - clip(z)) rate / |g|
    for row, g in ((2, 3), (0, 4)):
        z = g - g / RATE * START[row]
        expected[row] = -(z - np.clip(z, -1, 1)) * RATE / g
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def _model():
    keras.utils.set_random_seed(0)
    return tfmtl.models.get("shared_bottom")(
        [
            tfmtl.Categorical("user", vocabulary_size=50, embedding_dim=4),
            tfmtl.Categorical("item", num_buckets=60, embedding_dim=8),
            tfmtl.Sequence("seen", of="item", max_length=3),
            tfmtl.Numeric("x"),
        ],
        [
            tfmtl.Task("click", tower=()),
            tfmtl.Task("watch", kind="regression", space="click", tower=()),
        ],
        units=(8,),
    )


def _data(rows=64):
    rng = np.random.default_rng(1)
    inputs = {
        "user": rng.integers(0, 20, rows),
        "item": rng.integers(0, 20, rows),
        "seen": rng.integers(0, 20, (rows, 3)),
        "x": rng.normal(size=rows).astype("float32"),
    }
    labels = {
        "click": rng.integers(0, 2, rows).astype("float32"),
        "watch": rng.exponential(1, rows).astype("float32"),
    }
    return inputs, labels


needs_two = pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"),
    reason="this Keras, the last for Python 3.10, has no MultiOptimizer",
)


@pytest.mark.parametrize(
    "name",
    [
        "lazy_adam",
        "rowwise_adagrad",
        pytest.param("pepnet_online", marks=needs_two),
    ],
)
def test_a_model_trains_saves_and_goes_on(name, tmp_path):
    inputs, labels = _data()
    model = _model()
    before = {w.path: w.numpy() for w in model.weights}
    # One of them in a graph, which takes long to trace.
    model.compile(optimizers.get(name), run_eagerly=name != "lazy_adam")
    history = model.fit(inputs, labels, batch_size=16, epochs=2, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    # Rows that were never looked up are as they were.
    start = dict(before)
    for variable in model.embedding.trainable_weights:
        _, width = variable.shape
        feature = {4: "user", 8: "item"}[width]
        seen = np.zeros(variable.shape[0], bool)
        seen[inputs[feature]] = True
        if feature == "item":
            seen[inputs["seen"].reshape(-1)] = True
        moved = (variable.numpy() != start[variable.path]).any(axis=1)
        assert (moved <= seen).all() and moved[inputs[feature]].all()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.optimizer) is type(model.optimizer)
    again.run_eagerly = model.run_eagerly
    for one in (model, again):
        one.fit(inputs, labels, batch_size=16, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


LAZY_ADAM = ("lazy_adam", {"use_ema": True, "gradient_accumulation_steps": 2})


@pytest.mark.usefixtures("table_update")
@pytest.mark.parametrize(
    ("name", "options"), fast([LAZY_ADAM, ("sgd", {})], [LAZY_ADAM])
)
def test_a_compiled_step_is_the_plain_one(name, options):
    inputs, labels = _data()
    results = []
    for how in ({"run_eagerly": True}, {"jit_compile": True}):
        model = _model()
        model.compile(optimizers.get(name, **options), **how)
        history = model.fit(
            inputs, labels, batch_size=16, shuffle=False, epochs=2, verbose=0
        ).history
        results.append((history, model.get_weights()))
    assert model.get_compile_config()["jit_compile"]  # a loaded model goes on so
    (plain, weights), (compiled, compiled_weights) = results
    for key, value in plain.items():
        np.testing.assert_allclose(compiled[key], value, rtol=1e-4, err_msg=key)
    for a, b in zip(weights, compiled_weights, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5)


def test_half_precision_scales_the_loss_and_leaves_gradients_of_tables_sparse():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = _model()
        model.compile(optimizers.LazyAdam(use_ema=True, gradient_accumulation_steps=2))
        inputs, labels = _data()
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        history = model.fit(inputs, labels, batch_size=16, epochs=4, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]
        # A row with momentum rests while it is not looked up.
        before = model.embedding.table("user")
        others = {**inputs, "user": np.full(64, 19)}
        model.fit(others, labels, batch_size=16, verbose=0)
        moved = (model.embedding.table("user") != before).any(axis=1)
        assert np.flatnonzero(moved).tolist() == [19]
    finally:
        keras.config.set_dtype_policy("float32")


@needs_two
def test_presets_are_the_papers():
    model = _model()
    model.compile(optimizers.pepnet_online())
    tables = {w.path for w in model.embedding.trainable_weights}
    mapping = model.optimizer._optimizer_map
    for weight in model.trainable_weights:
        chosen = mapping(weight)
        rate = float(chosen.learning_rate)
        if weight.path in tables:
            assert isinstance(chosen, optimizers.SparseAdagrad)
            assert rate == pytest.approx(0.05)
        else:
            assert type(chosen) is keras.optimizers.Adam
            assert rate == pytest.approx(5e-6)
    offline = optimizers.pepnet_offline()
    assert float(offline.learning_rate) == pytest.approx(1e-3)


def test_two_optimizers_need_a_keras_that_has_them(monkeypatch):
    monkeypatch.delattr(keras.optimizers, "MultiOptimizer", raising=False)
    with pytest.raises(ValueError, match="MultiOptimizer. Received: Keras 3.*3.11"):
        optimizers.get("pepnet_online")


@pytest.mark.parametrize("given", ["lazyadam", None, 3])
def test_what_is_no_optimizer_is_refused(given):
    model = tfmtl.models.get("shared_bottom")([tfmtl.Numeric("x")], [tfmtl.Task("a")])
    message = f"must be a keras.optimizers.Optimizer.*Received: {given!r}.*'?lazy_adam"
    with pytest.raises(ValueError, match=message):
        model.compile(given)
    model.compile("rmsprop")  # one of Keras's
    assert type(model.optimizer) is keras.optimizers.RMSprop


def test_what_would_touch_every_row_is_refused():
    with pytest.raises(ValueError, match="change every row; use l2.*weight_decay=0.01"):
        optimizers.LazyAdam(weight_decay=0.01)
    with pytest.raises(ValueError, match="l2 must be a number >= 0. Received: -1"):
        optimizers.SparseAdagrad(l2=-1)
    with pytest.raises(ValueError, match="beta_1 must be a number. Received: '0.9'"):
        optimizers.LazyAdam(beta_1="0.9")
    with pytest.raises(ValueError, match="use_ema must be true or false.*'yes'"):
        optimizers.LazyAdam(use_ema="yes")
    for steps in (0, 2.5):
        with pytest.raises(ValueError, match=f"_steps must be a positive.*: {steps}"):
            optimizers.LazyAdam(gradient_accumulation_steps=steps)
    with pytest.raises(ValueError, match="SGD has no loss_scale_factor.*LossScale"):
        optimizers.SparseSGD(loss_scale_factor=2.0)
    with pytest.raises(ValueError, match="no amsgrad"):
        optimizers.LazyAdam(amsgrad=True)
    with pytest.raises(ValueError, match="Did you mean 'lazy_adam'"):
        optimizers.get("lazyadam")
    with pytest.raises(
        ValueError, match="pepnet_online has no options. Received: rate"
    ):
        optimizers.get("pepnet_online", rate=1)
