"""Strategies on gradients, against numbers worked out by hand."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import two_parameters as two
from quick_model import quick_model
from representatives import fast

import tfmtl
from tfmtl.training import GradNorm, MetaBalance, PCGrad, weighting
from tfmtl.training.balancing.gradients import add, stack, unstack

BALANCING = (
    "gradient_sum",
    "gradnorm",
    "pcgrad",
    "metabalance",
    "mgda",
    "cagrad",
    "nash_mtl",
    "imtl_g",
    "aligned_mtl",
)
# With a state, and with a problem to solve: in what is the same code for all.
SOME = ("gradnorm", "cagrad")


def _close(found, expected, **tolerance):
    np.testing.assert_allclose(found, expected, **{"rtol": 1e-5, **tolerance})


@pytest.mark.parametrize(
    ("weights", "theta"),
    [
        # The gradients (1, 0) and (-1, 1) conflict; without the part that does, they
        # are (1/2, 1/2) and (0, 1).
        ((1, 1), [-0.5, -1.5]),
        ((1, 2), [-0.5, -2.5]),
    ],
)
def test_pcgrad(weights, theta):
    strategy = PCGrad()
    model = two.model(strategy, rate=1.0, weights=weights)
    data = two.batch(u=(1, 0), v=(-1, 1))
    logs = model.train_on_batch(*data, return_dict=True)
    _close(logs["loss"], sum(weights) / 4)
    _close(model.theta, theta)
    # The same, as weights of the gradients: 1 + 1 weight_v and 1/2 + 1 weight_v.
    expected = {"u": 1 + weights[1], "v": 0.5 + weights[1]}
    assert strategy.report() == pytest.approx(expected)


def test_pcgrad_goes_on():
    model = two.model(PCGrad(), rate=1.0)
    data = two.batch(u=(1, 0), v=(-1, 1))
    model.train_on_batch(*data)
    # Task u is fitted; v predicts -1, so its gradient is 2 (-1/2) (-1, 1).
    model.train_on_batch(*data)
    _close(model.theta, [-1.5, -0.5], atol=1e-6)


def _surgery(gradients, orders):
    """PCGrad's algorithm 1, word by word."""
    total = np.zeros_like(gradients[0])
    for i, order in enumerate(orders):
        g = gradients[i].copy()
        for j in order:
            if j != i and g @ gradients[j] < 0:
                g -= (g @ gradients[j]) / (gradients[j] @ gradients[j]) * gradients[j]
        total += g
    return total


def test_pcgrad_of_three_tasks_in_random_order():
    gradients = np.float32([[1, 0.2], [-1, 0.3], [-0.1, -1]])
    others = [[j for j in range(3) if j != i] for i in range(3)]
    possible = [
        _surgery(gradients, orders)
        for orders in itertools.product(*(itertools.permutations(o) for o in others))
    ]
    strategies = [PCGrad(seed=1), PCGrad(seed=1), PCGrad(seed=2)]
    found = []
    for strategy in strategies:
        strategy.start([tfmtl.Task(name) for name in "abc"], [])
        found.append(
            [
                strategy.combine([list(map(tf.constant, gradients))], *[tf.ones(3)] * 2)
                for _ in range(12)
            ]
        )
    found = np.squeeze(found)  # (strategies, steps, parameters)
    for result in found.reshape(-1, 2):
        assert min(np.abs(result - p).max() for p in possible) < 1e-5
    assert len(np.unique(found[0].round(4), axis=0)) > 1
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_gradnorm():
    strategy = GradNorm(alpha=1, rate=0.025)
    model = two.model(strategy)
    data = two.batch(u=(1, 0), v=(0, 2))
    model.train_on_batch(*data)
    _close(model.theta, [-0.1, -0.2])
    # Norms 1 and 2, mean 1.5, both tasks at their start: u gains 0.025, v loses 0.05.
    m = np.array([1.025, 0.95]) * 2 / 1.975
    _close(strategy.learnt, m)
    model.train_on_batch(*data)
    # u: error 0.4, L = 0.16, gradient 0.8; v: error 0.1, L = 0.01, gradient 0.4.
    _close(model.theta, [-0.1 - 0.1 * m[0] * 0.8, -0.2 - 0.1 * m[1] * 0.4])
    # Pace: 0.64 and 0.04 over their mean 0.34. The mean norm is 0.6076, the targets
    # 1.144 and 0.0715; the norms 0.830 and 0.385: u gains 0.02, v loses 0.01.
    _close(strategy.learnt, np.array([m[0] + 0.02, m[1] - 0.01]) * 2 / 2.01)
    assert strategy.report() == pytest.approx(
        {"u": (1 + m[0]) / 2, "v": (1 + m[1]) / 2}, rel=1e-5
    )


def test_gradnorm_of_weighted_tasks():
    model = two.model(GradNorm(), weights=(1, 3))
    history = model.fit(*two.batch(u=(1, 0), v=(0, 2)), verbose=0, shuffle=False)
    _close(model.theta, [-0.1, -0.6])
    _close(model.loss_weighting.learnt, np.array([1.025, 0.95]) * 2 / 1.975)
    assert history.history["v_weight"] == [3]


def test_gradnorm_starts_a_rare_task_at_its_first_rows():
    strategy = GradNorm()
    model = two.model(strategy)
    inputs, labels = two.batch()
    without = {**labels, "v": np.float32([np.nan, np.nan])}
    model.train_on_batch(inputs, without)
    _close(strategy.first, [0.25, 0])
    model.train_on_batch(inputs, labels)
    _close(strategy.first, [0.25, 0.25])


@pytest.mark.parametrize(
    ("change", "ratios"),
    [("both", (0.25, 0.65 / 3)), ("reduce", (0.25, 0.65 / 3)), ("enlarge", (1, 1))],
)
def test_metabalance(change, ratios):
    strategy = MetaBalance(relax=0.5, decay=0.5, change=change)
    model = two.model(strategy, weights=(1, 0.5))
    data = two.batch(u=(1, 0), v=(0, 4))
    model.train_on_batch(*data)
    # The mean norms are 1/2 and 2.
    w = 0.5 * (0.5 * ratios[0] + 0.5)
    theta = [-0.1, -0.1 * w * 4]
    _close(model.theta, theta)
    model.train_on_batch(*data)
    # u has the gradient 0.8 and the mean 0.65.
    error = 4 * theta[1] + 0.5
    norm = 0.5 * 2 + 0.5 * abs(8 * error)
    ratio = ratios[1] if change == "enlarge" else 0.65 / norm
    w = 0.5 * (0.5 * ratio + 0.5)
    _close(model.theta, [-0.1 - 0.1 * 0.8, theta[1] - 0.1 * w * 8 * error])


def test_metabalance_towards_a_target():
    strategy = MetaBalance(target="v", relax=1)
    model = two.model(strategy)
    model.train_on_batch(*two.batch(u=(1, 0), v=(0, 4)))
    _close(model.theta, [-0.4, -0.4])
    assert strategy.report() == pytest.approx({"u": 4, "v": 1})


def test_clipping_of_each_task():
    """By its norm over all that is shared; what is its own stays as it is."""
    strategy = weighting("gradient_sum", clip=1.0)
    strategy.start([tfmtl.Task("u", weight=3), tfmtl.Task("v")], [None] * 3)
    shared = [[3.0, 0.3], [4.0, 0.4]]  # |g_u| = 5, |g_v| = 0.5
    gradients = [[tf.constant([g]) for g in pair] for pair in shared]
    gradients.append([tf.constant([7.0]), None])
    for scale in (1.0, 8.0):  # as a scaled loss has it
        scaled = [[g if g is None else g * scale for g in pair] for pair in gradients]
        found = strategy.combine(scaled, tf.ones(2), tf.ones(2), scale)
        _close(found, np.array([[3 * 0.6 + 0.3], [3 * 0.8 + 0.4], [21]]) * scale)
    assert strategy.report() == pytest.approx({"u": 3 / 5, "v": 1})


@pytest.mark.parametrize("name", fast(BALANCING, SOME))
def test_what_is_clipped_is_balanced_as_gradients_of_that_norm(name):
    pair = [tf.constant([30.0, 40.0]), tf.constant([-0.3, 0.1])]
    short = [tf.constant([0.6, 0.8]), pair[1]]
    results = []
    for gradients, options in ((pair, {"clip": 1.0}), (short, {})):
        strategy = weighting(name, **options)
        strategy.start([tfmtl.Task("u"), tfmtl.Task("v")], [None])
        results += strategy.combine([gradients], tf.ones(2), tf.ones(2))
    _close(*results)


@pytest.mark.parametrize("name", BALANCING)
def test_layers_that_are_balanced(name):
    """The others get the plain sum, and take no part in the comparison."""
    variables = [
        keras.Variable(np.zeros(2), name="w"),
        keras.Variable(np.zeros(2), name="w"),
    ]
    for variable, layer in zip(variables, ("embedding", "bottom"), strict=True):
        variable._path = f"model/{layer}/w"
    pairs = [
        [tf.constant([2.0, 1.0]), tf.constant([-1.0, 3.0])],
        [tf.constant([5.0, 1.0]), tf.constant([-1.0, 0.5])],
    ]
    tasks = [tfmtl.Task("u"), tfmtl.Task("v", weight=2)]
    strategy, alone = weighting(name, layers=["bottom"]), weighting(name)
    strategy.start(tasks, variables)
    alone.start(tasks, variables[1:])
    found = strategy.combine(pairs, tf.ones(2), tf.ones(2))
    (expected,) = alone.combine(pairs[1:], tf.ones(2), tf.ones(2))
    _close(found[1], expected)
    if not strategy.on_loss:
        _close(found[0], pairs[0][0] + 2 * pairs[0][1])
    again = type(strategy).from_config(strategy.get_config())
    assert again.layers == ["bottom"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": 0}, "clip must be a number above 0. Received: 0"),
        ({"layers": "embedding"}, "layers must be a list .* Received: 'embedding'"),
        ({"layers": ["embeding"]}, "called 'embeding'. Did you mean 'embedding'"),
        ({"clop": 1}, "An option of pcgrad .* Did you mean 'clip'"),
    ],
)
def test_bad_clip_and_layers(options, message):
    with pytest.raises(ValueError, match=message):
        _table(weighting("pcgrad", **options))


def _slices(values, ids, rows=6):
    return tf.IndexedSlices(
        tf.constant(np.float32(values)), tf.constant(ids), tf.constant([rows, 2])
    )


def _dense(gradient):
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient.numpy()
    table = np.zeros((6, 2), "float32")
    np.add.at(table, gradient.indices.numpy(), gradient.values.numpy())
    return table


@pytest.mark.parametrize("name", BALANCING)
def test_tables_count_as_a_whole_and_stay_sparse(name):
    # Rows of one id come several times, and in another order for each task.
    a = _slices([[1, 2], [3, 4], [-5, 1]], [4, 1, 4])
    b = _slices([[-1, 1], [2, -7]], [1, 4])
    dense = [tf.constant([1.0, -2.0]), tf.constant([0.5, 1.0])]
    strategies = [weighting(name), weighting(name)]
    results = []
    tables = ([a, b], [tf.constant(_dense(a)), tf.constant(_dense(b))])
    for strategy, table in zip(strategies, tables, strict=True):
        strategy.start([tfmtl.Task("u"), tfmtl.Task("v")], [None, None])
        for _ in range(2):
            result = strategy.combine([table, dense], tf.ones(2), tf.ones(2))
        results.append(result)
    assert isinstance(results[0][0], tf.IndexedSlices)
    np.testing.assert_array_equal(results[0][0].indices, [4, 1])
    for sparse, full in zip(*results, strict=True):
        _close(_dense(sparse), full)
    for one, other in zip(*(s.weights for s in strategies), strict=True):
        _close(one, other)


def test_adding_gradients():
    a, b = _slices([[1, 2], [3, 4]], [4, 4]), _slices([[5, 6]], [1])
    full = tf.constant(np.arange(12, dtype="float32").reshape(6, 2))
    both = add(a, b)
    assert isinstance(both, tf.IndexedSlices)
    _close(_dense(both), _dense(a) + _dense(b))
    for one, other in ((a, full), (full, a), (full, full)):
        _close(add(one, other), _dense(one) + _dense(other))
    assert add(None, a) is a and add(a, None) is a and add(None, None) is None


def test_stacks_of_a_table_and_a_matrix():
    a = _slices([[1, 2]], [4])
    full = tf.ones((6, 2))
    for gradients in ([a, None, full], [full, None, full], [a, None, a]):
        stacked = stack(gradients)
        assert stacked[0].shape[0] == 3
        total = unstack(stacked, tf.constant([2.0, 5.0, 3.0]), gradients)
        _close(_dense(total), 2 * _dense(gradients[0]) + 3 * _dense(gradients[2]))


class _Recorder(keras.optimizers.SGD):
    """SGD that remembers the gradients it was given."""

    def apply_gradients(self, grads_and_vars):
        pairs = list(grads_and_vars)
        self.seen = {variable.path: gradient for gradient, variable in pairs}
        return super().apply_gradients(pairs)


def _tasks():
    return [
        tfmtl.Task("click", tower=(4,)),
        tfmtl.Task("like", space="click", tower=(4,), weight=2.0),
        tfmtl.Task("watch", kind="regression", loss="log_mse", tower=(4,)),
    ]


def _data(rows=16, seed=0):
    rng = np.random.default_rng(seed)
    inputs = {
        "user": rng.integers(0, 9, rows),
        "item": rng.integers(0, 9, rows),
        "seen": rng.integers(0, 9, (rows, 3)),
        "x": rng.normal(size=rows).astype("float32"),
    }
    labels = {
        "click": rng.integers(0, 2, rows).astype("float32"),
        "like": rng.integers(0, 2, rows).astype("float32"),
        "watch": rng.exponential(9, rows).astype("float32"),
    }
    return inputs, labels


SIZES = {
    "shared_bottom": {"units": (6,)},
    "mmoe": {"expert_units": (6,), "experts": 2},
    "ple": {"expert_units": ((6,), (4,))},
    "esmm": {"units": (6,)},
    "aitm": {"units": (6, 4)},
    "dephn": {"units": (6,), "depth": 1, "public": ("dnn",), "private": ("cross",)},
}


def _model(architecture, loss_weighting, tasks=3, **options):
    keras.utils.set_random_seed(3)
    features = [
        tfmtl.Categorical("user", vocabulary_size=9, embedding_dim=4),
        tfmtl.Categorical("item", vocabulary_size=9, embedding_dim=4),
        tfmtl.Sequence("seen", of="item", max_length=3),
        tfmtl.Numeric("x"),
    ]
    sizes = SIZES.get(architecture, {})
    inputs, _ = _data()
    model = quick_model(architecture, features, _tasks()[:tasks], inputs, **sizes)
    options = {"optimizer": keras.optimizers.SGD(0.1), "run_eagerly": True, **options}
    model.compile(loss_weighting=loss_weighting, **options)
    return model


def _moved(model, data):
    """Returns by how much a training step moves each weight."""
    before = [w.numpy() for w in model.trainable_weights]
    model.train_on_batch(*data)
    return [w.numpy() - b for w, b in zip(model.trainable_weights, before, strict=True)]


def _plain_is_balanced(architecture):
    """A balance that changes nothing is Keras's own step."""
    plain, balanced = (
        _model(architecture, "fixed"),
        _model(architecture, MetaBalance(relax=0)),
    )
    data = _data()
    for model in (plain, balanced):
        _moved(model, data)  # gates and the like leave their start
    for a, b in zip(_moved(plain, data), _moved(balanced, data), strict=True):
        _close(b, a, rtol=1e-3, atol=1e-6)
    logs = [
        model.train_on_batch(*data, return_dict=True) for model in (plain, balanced)
    ]
    _close(logs[1]["loss"], logs[0]["loss"], rtol=1e-4)


@pytest.mark.parametrize("architecture", ["dephn"])
def test_a_balance_that_changes_nothing(architecture):
    _plain_is_balanced(architecture)


@pytest.mark.slow  # the architectures that do something of their own are above
@pytest.mark.parametrize("architecture", tfmtl.models.names())
def test_a_balance_that_changes_nothing_in_any_architecture(architecture):
    _plain_is_balanced(architecture)


@pytest.mark.parametrize("architecture", ["shared_bottom", "dephn"])
def test_pcgrad_in_a_model_is_the_papers(architecture):
    data = _data()
    if architecture == "shared_bottom":  # labels that are sure to conflict
        data[1].update(click=np.ones(16, "float32"), like=np.zeros(16, "float32"))
    gradients = []
    for task in range(2):  # what each task alone does to the weights
        model = _model(architecture, "fixed", tasks=2)
        object.__setattr__(model.tasks[1 - task], "weight", 0)
        object.__setattr__(model.tasks[task], "weight", 1)
        gradients.append([-10 * move for move in _moved(model, data)])
    strategy = PCGrad()
    model = _model(architecture, strategy, tasks=2, optimizer=_Recorder(0.1))
    moved = [-10 * move for move in _moved(model, data)]
    shared = [
        i for i, pair in enumerate(zip(*gradients, strict=True))
        if all(g.any() for g in pair)
    ]  # fmt: skip
    assert 2 <= len(shared) < len(moved)
    u, v = (np.concatenate([g[i].ravel() for i in shared]) for g in gradients)
    if architecture == "shared_bottom":
        assert u @ v < 0  # else this would show little
    dot = min(u @ v, 0)
    c = [1 - 2 * dot / (u @ u), 2 - dot / (v @ v)]  # weights 1 and 2
    for i, (move, *of_tasks) in enumerate(zip(moved, *gradients, strict=True)):
        a, b = c if i in shared else (1, 2)
        _close(move, a * of_tasks[0] + b * of_tasks[1], rtol=1e-3, atol=2e-5)
    assert strategy.report() == pytest.approx({"click": c[0], "like": c[1]}, rel=1e-3)
    # The tables' gradients are sparse, with one row an id.
    for path, gradient in model.optimizer.seen.items():
        if "embedding" in path:
            assert isinstance(gradient, tf.IndexedSlices)
            ids = gradient.indices.numpy()
            assert len(np.unique(ids)) == len(ids)


@pytest.mark.parametrize("name", fast(tfmtl.training.weightings(), SOME))
def test_every_strategy_and_a_task_without_rows(name):
    model = _model("shared_bottom", name)
    inputs, labels = _data()
    first = model.train_on_batch(inputs, labels, return_dict=True)
    empty = {**labels, "watch": np.full(16, np.nan, "float32")}
    model.train_on_batch(inputs, empty)
    model.train_on_batch(inputs, {k: np.full(16, np.nan) for k in labels})
    last = model.train_on_batch(inputs, labels, return_dict=True)
    assert last["watch_loss"] < first["watch_loss"]
    for variable in (*model.weights, *model.loss_weighting.weights):
        assert np.isfinite(variable.numpy()).all(), variable.path
    assert all(weight > 0 for weight in model.loss_weighting.report().values())


def _table(name, **options):
    """Returns the two-parameter model over a table of such rows, and data for it."""
    features = [
        tfmtl.Categorical("id", vocabulary_size=5, embedding_dim=2),
        tfmtl.Sequence("seen", of="id", max_length=3),
    ]
    keras.utils.set_random_seed(1)
    model = two.TwoParameters(features, [tfmtl.Task("u"), tfmtl.Task("v", weight=2)])
    model.compile(keras.optimizers.SGD(0.5), name, **options)
    rng = np.random.default_rng(0)
    inputs = {"id": rng.integers(0, 5, 24), "seen": rng.integers(0, 5, (24, 3))}
    labels = {k: rng.integers(0, 2, 24).astype("float32") for k in "uv"}
    labels["v"][::3] = np.nan
    return model, (inputs, labels)


@pytest.mark.parametrize("name", fast(tfmtl.training.weightings(), ["pcgrad"]))
def test_ways_to_run_a_step_change_nothing(name):
    results = []
    for options in (
        {"run_eagerly": True},
        {"steps_per_execution": 2},
        {"jit_compile": True},
    ):
        model, data = _table(name, **options)
        history = model.fit(
            *data, epochs=2, batch_size=8, shuffle=False, verbose=0
        ).history
        weights = [history[key] for key in history if key.endswith("_weight")]
        assert len(weights) == (0 if name == "fixed" else 2)
        results.append([*weights, *(w.numpy() for w in model.trainable_weights)])
    for result in results[1:]:
        for a, b in zip(results[0], result, strict=True):
            _close(b, a, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "policy", fast(["mixed_float16", "mixed_bfloat16"], ["mixed_float16"])
)
@pytest.mark.parametrize("name", fast(tfmtl.training.weightings(), ["gradnorm"]))
def test_mixed_precision(name, policy):
    exact, data = _table(name, run_eagerly=True)
    exact.fit(*data, epochs=2, batch_size=8, shuffle=False, verbose=0)
    keras.config.set_dtype_policy(policy)
    try:
        mixed, data = _table(name, run_eagerly=True)
        mixed.fit(*data, epochs=2, batch_size=8, shuffle=False, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    scaled = isinstance(mixed.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    for a, b in zip(exact.trainable_weights, mixed.trainable_weights, strict=True):
        _close(b.numpy(), a.numpy(), rtol=0.1, atol=5e-3)
    state = zip(exact.loss_weighting.weights, mixed.loss_weighting.weights, strict=True)
    for a, b in state:
        assert b.dtype == a.dtype
        _close(b.numpy(), a.numpy(), rtol=0.1, atol=5e-3)


@pytest.mark.parametrize("name", fast(BALANCING, SOME))
def test_an_overflow_moves_no_state(name):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, (inputs, labels) = _table(name, run_eagerly=True)
    finally:
        keras.config.set_dtype_policy("float32")
    model.optimizer.dynamic_scale.assign(1e30)
    before = [w.numpy() for w in (*model.weights, *model.loss_weighting.weights)]
    model.train_on_batch(inputs, labels)
    assert float(model.optimizer.dynamic_scale) == np.float32(5e29)  # it was skipped
    after = (*model.weights, *model.loss_weighting.weights)
    for variable, old in zip(after, before, strict=True):
        if not any(word in variable.path for word in ("step", "loss", "auc")):
            np.testing.assert_array_equal(variable.numpy(), old, err_msg=variable.path)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", tfmtl.models.names())
def test_every_architecture_under_every_strategy(architecture, tmp_path):
    inputs, labels = _data(64)
    for name in tfmtl.training.weightings():
        model = _model(architecture, name, run_eagerly=False, optimizer="adam")
        history = model.fit(inputs, labels, batch_size=32, epochs=6, verbose=0).history
        assert history["watch_loss"][-1] < history["watch_loss"][0], name
        assert all(np.isfinite(values).all() for values in history.values())
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        for a, b in zip(
            model.loss_weighting.weights, again.loss_weighting.weights, strict=True
        ):
            np.testing.assert_array_equal(a, b)
