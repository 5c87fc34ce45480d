"""Strategies that solve a problem for their weights, against what they shall solve."""

import numpy as np
import pytest
import tensorflow as tf
import two_parameters as two
from scipy import optimize

import tfmtl
from tfmtl.training import weighting
from tfmtl.training.balancing.simplex import minimise_on_simplex

CASES = [(2, 5, 0), (8, 30, 3)]  # tasks, parameters, seed


def _gradients(tasks, size, seed):
    """Some conflict, and their lengths differ a hundredfold."""
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(tasks, size)) + 0.3
    return gradients * np.geomspace(0.1, 10, tasks)[:, None]


def _weights(name, gradients, losses=None, rows=None, weights=None, **options):
    """Returns what the gradients are multiplied by, found from their sum."""
    strategy = weighting(name, **options)
    count = len(gradients)
    names = [f"t{i}" for i in range(count)]
    given = np.ones(count) if weights is None else weights
    strategy.start(
        [tfmtl.Task(n, weight=float(w)) for n, w in zip(names, given, strict=True)], []
    )
    losses = tf.ones(count) if losses is None else tf.constant(np.float32(losses))
    rows = tf.ones(count) if rows is None else tf.constant(np.float32(rows))
    parts = [tf.constant(np.float32(g)) for g in gradients]
    step = tf.function(lambda: strategy.combine([parts], losses, rows))
    (total,) = step()
    found = np.linalg.lstsq(np.array(gradients).T, total.numpy(), rcond=None)[0]
    return found, total.numpy()


def _least(function, count):
    """Returns the weights of sum 1 at which a function is least, by SciPy."""
    best = None
    for start in [np.full(count, 1 / count), *(np.eye(count) * 0.9 + 0.1 / count)]:
        found = optimize.minimize(
            function,
            start / start.sum(),
            bounds=[(0, 1)] * count,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        if best is None or found.fun < best.fun:
            best = found
    return best.x


@pytest.mark.parametrize("case", CASES)
def test_mgda_is_the_shortest(case):
    gradients = _gradients(*case)
    weights, total = _weights("mgda", gradients)
    count = len(gradients)
    assert weights.sum() == pytest.approx(count, rel=1e-4) and (weights > -1e-4).all()
    best = _least(lambda w: np.sum((w @ gradients) ** 2), count)
    shortest = np.linalg.norm(best @ gradients)
    assert np.linalg.norm(total) / count == pytest.approx(shortest, rel=1e-3)
    # No task's loss rises.
    assert (gradients @ total > -1e-3 * np.sum(total**2)).all()


def test_mgda_of_normalised_gradients_with_a_least_share():
    gradients = _gradients(3, 5, 1)
    lengths = np.linalg.norm(gradients, axis=1)
    weights, _ = _weights("mgda", gradients, normalization="l2", least=0.2)
    shares = weights * lengths / 3
    assert shares.sum() == pytest.approx(1, rel=1e-4)
    assert (shares > 0.2 - 1e-4).all()
    unit = gradients / lengths[:, None]
    best = _least(lambda w: np.sum(((0.2 + 0.4 * w) @ unit) ** 2), 3)
    np.testing.assert_allclose(shares, 0.2 + 0.4 * best, atol=2e-3)
    losses = [1.0, 2.0, 4.0]
    by_loss, _ = _weights("mgda", gradients, losses, normalization="loss")
    alone, _ = _weights("mgda", gradients / np.array(losses)[:, None])
    np.testing.assert_allclose(by_loss * losses, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("c", [0.0, 0.4, 3.0])
def test_cagrad_helps_the_worst_task_most(case, c):
    gradients = _gradients(*case)
    count = len(gradients)
    _, total = _weights("cagrad", gradients, c=c)
    step = total * (1 + c**2) / count
    mean = gradients.mean(0)
    radius = c * np.linalg.norm(mean)

    def bound(w):
        g = w @ gradients
        return g @ mean + radius * np.linalg.norm(g)

    np.testing.assert_allclose(np.linalg.norm(step - mean), radius, 1e-4, 1e-5)
    # By duality, what the worst task gains is the least bound.
    best = bound(_least(bound, count))
    worst = np.min(gradients @ step)
    if c:
        assert worst == pytest.approx(best, rel=5e-3, abs=5e-3 * radius)


@pytest.mark.parametrize("case", CASES)
def test_nash_solves_the_bargain_whatever_the_scale(case):
    gradients = _gradients(*case)
    weights, total = _weights("nash_mtl", gradients)
    np.testing.assert_allclose(gradients @ total, 1 / weights, rtol=1e-3)
    assert np.linalg.norm(total) == pytest.approx(len(gradients) ** 0.5, rel=1e-3)
    _, scaled = _weights("nash_mtl", 7 * gradients)
    np.testing.assert_allclose(scaled, total, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("off", [0, 1e-4, 1e-2])
def test_nash_is_bounded_where_gradients_are_opposite(off, jit):
    gradients = np.array([[1, 0], [-1, off], [0, 3]], "float32")
    strategy = weighting("nash_mtl")
    strategy.start([tfmtl.Task(name) for name in "abc"], [])
    products = tf.constant(gradients @ gradients.T)[None]
    balance = tf.function(strategy.balance, jit_compile=jit)
    found = balance(products, tf.ones(3), tf.constant([True] * 3)).numpy()
    assert (found > 0).all() and found.max() < 400
    assert found[2] == pytest.approx(1 / 3, rel=0.5)


@pytest.mark.parametrize("scale", [1e-8, 1e10])
@pytest.mark.parametrize("name", ["mgda", "cagrad"])
def test_gradients_may_be_very_long_or_short(name, scale):
    gradients = np.array([[1, 0], [0, 1], [0, 0]], "float32")
    wanted, total = _weights(name, gradients, rows=[1, 1, 0])
    found, scaled = _weights(name, scale * gradients, rows=[1, 1, 0])
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    alone, _ = _weights(name, scale * gradients, rows=[1, 0, 0])
    assert np.isfinite(alone).all()


@pytest.mark.parametrize("case", CASES)
def test_imtl_goes_equally_far_along_every_gradient(case):
    gradients = _gradients(*case)
    weights, total = _weights("imtl_g", gradients)
    along = gradients @ total / np.linalg.norm(gradients, axis=1)
    np.testing.assert_allclose(along, along[0], rtol=1e-2)
    assert weights.sum() == pytest.approx(len(gradients), rel=1e-3)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
def test_aligned_gradients_are_orthogonal_and_of_one_length(case, scale):
    gradients = _gradients(*case)
    weights = np.linspace(1, 2, len(gradients))
    _, total = _weights("aligned_mtl", gradients, weights=weights, scale=scale)
    u, values, vt = np.linalg.svd(gradients.T, full_matrices=False)
    squares = values[::-1] ** 2
    # Eigenvalues below a millionth of the largest count as none.
    squares = squares[squares > 1e-6 * squares[-1]]
    length = {
        "min": squares[0],
        "median": squares[(len(squares) - 1) // 2],
        "rmse": squares.mean(),
    }[scale] ** 0.5
    np.testing.assert_allclose(total, length * (u @ vt @ weights), rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["mgda", "cagrad", "nash_mtl", "imtl_g", "aligned_mtl"]
)
def test_tasks_without_rows_and_weights_of_tasks(name):
    gradients = _gradients(3, 6, 4)
    absent = gradients * [[1], [1], [0]]
    _, without = _weights(name, absent, rows=[1, 1, 0])
    _, of_two = _weights(name, gradients[:2])
    np.testing.assert_allclose(without, of_two, rtol=1e-3, atol=1e-4)
    found, _ = _weights(name, gradients)
    weighed, _ = _weights(name, gradients, weights=[1, 1, 3])
    if name != "aligned_mtl":  # which weighs what it has aligned
        np.testing.assert_allclose(weighed, found * [1, 1, 3], rtol=1e-3, atol=1e-4)
    nothing, total = _weights(name, 0 * gradients)
    np.testing.assert_array_equal(total, 0)
    alike, total = _weights(name, np.tile(gradients[:1], (3, 1)))
    assert np.isfinite(total).all() and total @ gradients[0] > 0


def test_many_tasks_of_very_different_lengths():
    rng = np.random.default_rng(1)
    gradients = rng.normal(size=(20, 40)) * 10 ** rng.uniform(-2, 0, (20, 1))
    products = gradients @ gradients.T
    linear = gradients @ gradients.mean(0)
    linear /= 2 * np.linalg.norm(gradients.mean(0))

    def length(w):
        return linear @ w + np.sqrt(max(w @ products @ w, 0))

    found = minimise_on_simplex(
        tf.constant(products, tf.float32), tf.constant([True] * 20), linear
    ).numpy()
    assert found.sum() == pytest.approx(1, rel=1e-5) and (found >= 0).all()
    assert length(found) == pytest.approx(length(_least(length, 20)), rel=1e-4)


def test_nothing_moves_away_from_the_least():
    products = tf.constant(np.diag([1.0, 100.0, 1e4]).astype("float32"))
    found = minimise_on_simplex(products, tf.constant([True] * 3), least=0.25)
    np.testing.assert_allclose(found, [0.5, 0.25, 0.25], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mgda", {"normalization": "l1"}, "normalization must be one of"),
        ("mgda", {"least": 2}, "least must be in"),
        ("cagrad", {"c": -1}, "c must be a number >= 0"),
        ("aligned_mtl", {"scale": "max"}, "scale must be one of"),
        ("famo", {"rate": 0}, "rate must be a number above 0"),
        ("famo", {"decay": -1}, "decay must be a number >= 0"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        weighting(name, **options)


def test_least_shares_of_too_many_tasks():
    with pytest.raises(ValueError, match="least must be at most 1 / 2"):
        two.model(weighting("mgda", least=0.6))


def test_famo_by_hand():
    strategy = weighting("famo", rate=0.5, decay=0.1)
    model = two.model(strategy, rate=0.1, weights=(1, 2))
    data = two.batch(u=(1, 0), v=(0, 2))
    theta, x = np.zeros(2), np.zeros(2)
    for _ in range(3):
        error = np.array([theta[0], 2 * theta[1]]) + 0.5
        losses = error**2
        z = np.exp(x) / np.exp(x).sum()
        m = 2 * (z / losses) / np.sum(z / losses)
        model.reset_metrics()  # before Keras 3.13 the loss is the mean of all steps
        logs = model.train_on_batch(*data, return_dict=True)
        assert logs["loss"] == pytest.approx(np.sum(m * [1, 2] * losses), rel=1e-5)
        theta -= 0.1 * m * [1, 2] * 2 * error * [1, 2]
        np.testing.assert_allclose(model.theta, theta, rtol=1e-5)
        after = (np.array([theta[0], 2 * theta[1]]) + 0.5) ** 2
        d = np.log(losses / after)
        x -= 0.5 * (z * (d - z @ d) + 0.1 * x)
        np.testing.assert_allclose(strategy.learnt.numpy(), x, rtol=1e-4)
    assert strategy.report() == pytest.approx(
        dict(zip("uv", m * [1, 2], strict=True)), rel=1e-5
    )
    # The losses of an epoch are those before its steps.
    assert logs["u_loss"] < 0.25


def test_famo_leaves_a_task_without_rows_as_it_was():
    """And the only one that has rows, as there is none to compare it with."""
    strategy = weighting("famo", decay=0)
    model = two.model(strategy)
    inputs, labels = two.batch()
    model.train_on_batch(inputs, {**labels, "v": np.float32([np.nan, np.nan])})
    np.testing.assert_array_equal(strategy.learnt, [0, 0])
    assert strategy.last.numpy()[1] == 1
    np.testing.assert_array_equal(model.theta[1], 0)


def test_famo_learns_nothing_of_a_loss_that_overflows():
    strategy = weighting("famo")
    model = two.model(strategy)
    model.train_on_batch(*two.batch(labels=(1e30, -0.5)))
    np.testing.assert_array_equal(strategy.learnt, [0, 0])


def test_famo_admits_an_id_once_a_step():
    features = [tfmtl.Categorical("user", capacity=4, embedding_dim=2)]
    scores = {}
    for name in ("fixed", "famo"):
        model = tfmtl.models.get("shared_bottom")(features, [tfmtl.Task("click")])
        model.compile(loss_weighting=name)
        data = {"user": np.int32([7, 7, 8])}, {"click": np.float32([1, 0, 1])}
        model.train_on_batch(*data)
        scores[name] = [w.numpy() for w in model.embedding.non_trainable_weights]
    for fixed, famo in zip(scores["fixed"], scores["famo"], strict=True):
        np.testing.assert_array_equal(fixed, famo)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("famo", {}),
        ("gradnorm", {}),
        ("uncertainty", {}),
        ("mgda", {"normalization": "loss"}),
    ],
)
def test_losses_below_0_are_refused_where_strategies_divide_by_them(name, options):
    tasks = [tfmtl.Task("click"), tfmtl.Task("v", kind="regression", loss="ziln")]
    with pytest.raises(ValueError, match="0 or above. Received: the loss 'ziln'"):
        weighting(name, **options).start(tasks, [])


def test_normalised_mgda_of_a_task_without_a_gradient():
    gradients = _gradients(3, 6, 4) * [[1], [1], [0]]
    _, total = _weights("mgda", gradients, normalization="l2")
    assert np.isfinite(total).all()
