"""Losses against numbers worked out by hand, loops, and what they are for."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import Task, losses, sample_space

KINDS = {"binary": 1.0, "regression": 3.0, "count": 2.0}


def _of_row(loss, label, prediction, kind=None):
    name = loss["name"] if isinstance(loss, dict) else loss
    kind = kind or next(kind for kind in KINDS if name in losses.names(kind))
    value = losses.get(loss, kind).of_rows(
        np.float32([label]), np.float32([prediction])
    )
    return float(value[0])


@pytest.mark.parametrize(
    ("loss", "label", "prediction", "expected"),
    [
        ("bce", 1, 0.25, math.log(4)),
        ("bce", 0, 0.25, -math.log(0.75)),
        # the label is 0.9
        (
            {"name": "bce", "label_smoothing": 0.2},
            1,
            0.25,
            0.9 * math.log(4) - 0.1 * math.log(0.75),
        ),
        # of 0.2 and a tenth of 0.8 kept
        ({"name": "bce", "negative_rate": 0.1}, 1, 0.2, math.log(0.28 / 0.2)),
        ({"name": "bce", "negative_rate": 0.1}, 0, 0.2, math.log(0.28 / 0.08)),
        ("focal", 1, 0.25, 0.75**2 * math.log(4)),
        ("focal", 0, 0.25, -(0.25**2) * math.log(0.75)),
        ({"name": "focal", "gamma": 0}, 0, 0.25, -math.log(0.75)),
        ({"name": "focal", "gamma": 1, "alpha": 0.3}, 1, 0.25, 0.225 * math.log(4)),
        ({"name": "focal", "gamma": 1, "alpha": 0.3}, 0, 0.5, 0.35 * math.log(2)),
        ("fake_negative_weighted", 1, 0.25, 1.25 * math.log(4)),
        ("fake_negative_weighted", 0, 0.25, -0.75 * 1.25 * math.log(0.75)),
        ("mse", 3, 1, 4),
        ("huber", 3, 2.5, 0.125),
        ("huber", 3, 1, 1.5),
        ({"name": "huber", "delta": 2}, 0, 2, 2),
        ({"name": "huber", "delta": 2}, 0, -5, 2 * (5 - 1)),
        ("log_mse", math.e**2 - 1, math.e - 1, 1),
        ("log_mse", -5, 0, 0),  # a negative time counts as none
        # -3 log(2 / 3) - log(1 / 3)
        ("weighted_logistic", 3, 2, 3 * math.log(3 / 2) + math.log(3)),
        ("weighted_logistic", 0, 2, math.log(3)),
        ({"name": "quantile", "quantile": 0.9}, 5, 3, 1.8),
        ({"name": "quantile", "quantile": 0.9}, 3, 5, 0.2),
        ("tweedie", 0, 4, 2 * 2),
        ("tweedie", -3, 4, 2 * 2),
        ({"name": "tweedie", "power": 1.2}, 3, 1, 3 / 0.2 + 1 / 0.8),
        ("poisson", 2, 1, 2 * math.log(2) - 1),
        ("poisson", 2, 2, 0),
        ("poisson", 0, 0.5, 0.5),
    ],
)
def test_row_losses(loss, label, prediction, expected):
    assert _of_row(loss, label, prediction) == pytest.approx(
        expected, rel=1e-5, abs=1e-7
    )


@pytest.mark.parametrize(
    ("loss", "kind", "labels", "best"),
    [
        # Of watch times most of which are not 0, too, where YouTube's odds are not.
        ("weighted_logistic", "regression", [0, 2, 7, 40, 1], 10),
        ("poisson", "count", [0, 2, 7, 40, 1], 10),
        ("mse", "regression", [0, 2, 7, 40, 1], 10),
        ("tweedie", "regression", [0, 2, 7, 40, 1], 10),
        ("quantile", "regression", [0, 2, 7, 40, 1], 2),
        ({"name": "quantile", "quantile": 0.7}, "regression", [0, 2, 7, 40, 1], 7),
        ("bce", "binary", [0, 0, 0, 1], 0.25),
        # A third of the negatives is kept: of 10 rows 1 is positive.
        ({"name": "bce", "negative_rate": 1 / 3}, "binary", [1, 0, 0, 0], 0.1),
        # Two of six shown rows turn out positive and are logged again.
        ("fake_negative_weighted", "binary", [0] * 6 + [1] * 2, 1 / 3),
    ],
)
def test_the_best_constant_prediction(loss, kind, labels, best):
    task = Task("t", kind=kind, loss=loss)
    labels = np.float32(labels)
    at = np.linspace(0.2, 1.8, 801) * best
    if kind == "binary":  # weights are constants to the gradient alone
        at = np.float32([best])
    else:
        values = [
            float(np.mean(task.loss[0].of_rows(labels, np.float32(p)))) for p in at
        ]
        assert at[np.argmin(values)] == pytest.approx(best, rel=0.01)
    if "quantile" in str(loss):
        return
    start = task.loss[0].logits_at(float(np.mean(labels)))
    z = tf.Variable([start])
    assert float(task.activate(z)[0, 0]) == pytest.approx(best, rel=1e-4)
    with tf.GradientTape() as tape:
        p = tf.reshape(task.activate(z), (-1,)) * tf.ones(len(labels))
        loss = task.loss_value(labels, p, tf.ones(len(labels)))
    assert abs(float(tape.gradient(loss, z)[0, 0])) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_a_certain_but_wrong_prediction_has_a_finite_loss_and_gradient(kind):
    for name in losses.names(kind):
        if name in ("d2q", "delayed"):  # by what is beside the label
            continue
        loss = losses.get(name, kind)
        first = [] if isinstance(loss, losses.RowLoss) else [losses.names(kind)[0]]
        task = Task("t", kind=kind, loss=[*first, name])
        z = tf.Variable(np.outer([60, -60], np.ones(task.logits)).astype("float32"))
        with tf.GradientTape() as tape:
            found = task.activate(z)
            rows = np.float32([0, 1]), found[:, 0], np.ones(2, "float32")
            value = task.loss_value(*rows, logits=found[:, 1:])
        assert np.isfinite(float(value)), name
        assert np.isfinite(tape.gradient(value, z)).all(), name


def test_a_row_outside_whose_loss_overflows_does_not_count():
    rows = np.float32([0, 1]), np.float32([1e30, 3]), np.float32([0, 1])
    assert float(losses.MSE().value(*rows)) == 4


def _batch(seed=0, rows=40):
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < 0.3).astype("float32")
    score = rng.normal(size=rows).astype("float32") * 3
    weight = rng.choice([0.0, 1.0, 2.5], rows).astype("float32")
    return label, score, weight, rng.integers(0, 6, rows)


def _pairwise(label, score, weight, groups):
    total, pairs = 0.0, 0.0
    for i in range(len(label)):
        for j in range(len(label)):
            if groups[i] == groups[j] and label[i] > label[j]:
                pair = weight[i] * weight[j]
                total += pair * math.log1p(math.exp(score[j] - score[i]))
                pairs += pair
    return total / pairs


def _listwise(label, score, weight, groups):
    total, positives = 0.0, 0.0
    for i in range(len(label)):
        rivals = sum(
            weight[j] * math.exp(score[j])
            for j in range(len(label))
            if groups[j] == groups[i]
        )
        if weight[i]:
            total += weight[i] * label[i] * (math.log(rivals) - score[i])
            positives += weight[i] * label[i]
    return total / positives


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(
    ("loss", "reference"),
    [(losses.Pairwise(), _pairwise), (losses.Listwise(), _listwise)],
)
def test_order_losses_equal_loops(loss, reference, grouped):
    label, score, weight, groups = _batch()
    value = loss.value(label, score, weight, groups if grouped else None)
    expected = reference(label, score, weight, groups * grouped)
    assert float(value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [losses.Pairwise(), losses.Listwise()])
def test_order_losses_in_an_xla_step_with_gradients_like_differences(loss):
    label, score, weight, groups = (tf.constant(x) for x in _batch(1, 12))

    @tf.function(jit_compile=True)
    def step(score):
        with tf.GradientTape() as tape:
            tape.watch(score)
            value = loss.value(label, score, weight, groups)
        return value, tape.gradient(value, score)

    _, gradient = step(score)
    for i in range(12):
        moved = [
            float(loss.value(label, score + step, weight, groups))
            for step in (1e-2 * np.eye(12)[i], -1e-2 * np.eye(12)[i])
        ]
        assert float(gradient[i]) == pytest.approx(
            (moved[0] - moved[1]) / 2e-2, abs=2e-4
        )


@pytest.mark.parametrize("loss", [losses.Pairwise(), losses.Listwise()])
def test_a_batch_with_nothing_to_order_has_loss_0(loss):
    ones = np.ones(4, "float32")
    for label, weight in ((0 * ones, ones), (np.float32([1, 0, 0, 0]), 0 * ones)):
        assert float(loss.value(label, ones, weight)) == 0


def test_scores_far_apart_do_not_overflow():
    score = np.float32([1e4, -1e4, 0])
    for loss in (losses.Pairwise(), losses.Listwise()):
        value = loss.value(np.float32([0, 1, 0]), score, np.ones(3, "float32"))
        assert 1e4 < float(value) <= 2e4


def _of_order(loss, label, score, weight, groups):
    """JRC's value where the scores are both of its logits."""
    if isinstance(loss, losses.JRC):
        p, logits = np.full(len(label), 0.5, "float32"), np.stack([-score, score], 1)
        return float(loss.value(label, p, weight, groups, logits))
    return float(loss.value(label, score, weight, groups))


ORDER = [losses.Pairwise(), losses.Listwise(), losses.JRC(group="user")]


@pytest.mark.parametrize("loss", ORDER, ids=lambda loss: loss.name)
def test_groups_far_apart_and_rows_of_no_weight_do_not_count(loss):
    label, score, weight, groups = _batch()
    found = _of_order(loss, label, score, weight, groups)
    moved = score + 500.0 * groups.astype("float32")
    assert _of_order(loss, label, moved, weight, groups) == pytest.approx(
        found, rel=1e-3
    )
    wild = np.where(weight > 0, score, np.float32(1e6))
    assert _of_order(loss, label, wild, weight, groups) == pytest.approx(found)


@pytest.mark.parametrize("loss", ORDER, ids=lambda loss: loss.name)
def test_a_batch_of_one_row(loss):
    """As the last of a dataset may be."""
    one = np.ones(1, "float32")
    value = _of_order(loss, one, one, one, np.int32([3]))
    assert value == pytest.approx(math.log(2) / 2 if loss.name == "jrc" else 0)


def test_a_relevance_below_0_counts_as_0():
    label, score, weight, groups = _batch()
    below = np.where(label > 0, label, np.float32(-2))
    loss = losses.Listwise()
    assert float(loss.value(below, score, weight, groups)) == pytest.approx(
        float(loss.value(label, score, weight, groups))
    )


def _numbers(*rows):
    return np.float32(rows)


def test_ziln_by_hand():
    task = Task("t", kind="regression", loss="ziln")
    z = _numbers([0.5, 1.0, 2.0], [-1.0, 0.3, 0.0])
    sigma = math.log1p(math.exp(2.0)), math.log(2)
    p = 1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(1.0))
    found = task.activate(z).numpy()
    means = [
        p[0] * math.exp(1 + sigma[0] ** 2 / 2),
        p[1] * math.exp(0.3 + sigma[1] ** 2 / 2),
    ]
    np.testing.assert_allclose(found[:, 0], means, rtol=1e-5)
    np.testing.assert_array_equal(found[:, 1:], z)
    value = task.loss[0].of_rows(_numbers(7.0, 0.0), found[:, 0], z)
    density = math.exp(-((math.log(7) - 1) ** 2) / (2 * sigma[0] ** 2)) / (
        7 * sigma[0] * math.sqrt(2 * math.pi)
    )
    np.testing.assert_allclose(
        value, [-math.log(p[0] * density), -math.log(1 - p[1])], rtol=1e-5
    )


def test_ordinal_by_hand():
    loss = {"name": "ordinal", "lowest": 2, "highest": 5}
    task = Task("t", kind="regression", loss=loss)
    p = np.float32([[0.9, 0.6, 0.2], [0.9, 0.6, 0.2]])
    z = np.log(p / (1 - p))
    found = task.activate(z).numpy()
    np.testing.assert_allclose(found[:, 0], 2 + 1.7, rtol=1e-6)
    value = task.loss[0].of_rows(_numbers(4.0, 2.9), found[:, 0], z)
    expected = [
        -math.log(0.9) - math.log(0.6) - math.log(0.8),
        -math.log(0.1) - math.log(0.4) - math.log(0.8),
    ]
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_jrc_equals_a_loop():
    label, _, weight, groups = _batch(2)
    z = np.random.default_rng(5).normal(size=(len(label), 2)).astype("float32")
    task = Task("t", loss={"name": "jrc", "alpha": 0.3, "group": "user"})
    found = task.activate(z).numpy()
    p = 1 / (1 + np.exp(z[:, 0] - z[:, 1]))
    np.testing.assert_allclose(found[:, 0], p, rtol=1e-5)
    value = task.loss_value(label, found[:, 0], weight, {"user": groups}, z)
    rank, known = 0.0, weight * (groups != 0)
    for i in range(len(label)):
        own = int(label[i])
        rivals = sum(
            known[j] * math.exp(z[j, own])
            for j in range(len(label))
            if groups[j] == groups[i]
        )
        if known[i]:
            rank += known[i] * (math.log(rivals) - z[i, own]) / known.sum()
    entropy = -np.where(label == 1, np.log(p), np.log1p(-p))
    entropy = np.sum(entropy * weight) / np.sum(weight)
    assert float(value) == pytest.approx(0.3 * entropy + 0.7 * rank, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "kind", "mean"),
    [("ziln", "regression", 12.0), ("ordinal", "count", 3.5), ("jrc", "binary", 0.02)],
)
def test_several_logits_start_at_the_mean(loss, kind, mean):
    task = Task("t", kind=kind, loss=loss)
    z = np.float32([task.loss[0].logits_at(mean)])
    assert z.shape == (1, task.logits)
    assert float(task.activate(z)[0, 0]) == pytest.approx(mean, rel=1e-5)
    with pytest.raises(ValueError, match="cannot predict"):
        task.loss[0].logits_at(0.0 if kind != "count" else 5.0)


SEVERAL = [
    Task("click", loss="jrc", calibration="platt", tower=(4,)),
    Task("spend", kind="regression", loss="ziln", space="click", tower=(4,)),
    Task("stars", kind="count", loss=["ordinal", "pairwise"], tower=(4,)),
]
OPTIONS = {
    "shared_bottom": {"units": (8,)},
    "specific_top": {"domain": "user", "units": (8,)},
    "pepnet": {"domain_features": ["user"], "prior_features": ["user"]},
    "aitm": {},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_several_logits_in_a_model(name, tmp_path):
    """A call, `predict` and an export give predictions alone."""
    x, y = _users(96)
    rng = np.random.default_rng(0)
    y["spend"] = y["click"] * rng.lognormal(size=96).astype("float32")
    y["stars"] = rng.integers(1, 6, 96).astype("float32")
    features = [tfmtl.Categorical("user", vocabulary_size=6), tfmtl.Numeric("x")]
    model = tfmtl.models.get(name)(features, SEVERAL, **OPTIONS[name])
    model.start_at({"spend": 1.0, "stars": 3.0, "click": 0.4})
    model.compile(run_eagerly=name != "shared_bottom")
    history = model.fit(x, y, batch_size=96, verbose=0, validation_data=(x, y)).history
    assert np.isfinite([history["loss"], history["val_loss"]]).all()
    if name != "shared_bottom":
        return
    found = model.predict(x, verbose=0)
    assert {task: p.shape for task, p in found.items()} == dict.fromkeys(found, (96, 1))
    assert ((1 < found["stars"]) & (found["stars"] < 5)).all()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").predict(x, verbose=0)
    np.testing.assert_allclose(again["spend"], found["spend"], rtol=1e-5)
    tfmtl.export(model, tmp_path / "1")
    served = tf.saved_model.load(tmp_path / "1").signatures["serving_default"]
    answer = served(**{name: tf.constant(value) for name, value in x.items()})
    np.testing.assert_allclose(answer["spend"], found["spend"], rtol=1e-5)


def test_what_several_logits_do_not_go_with():
    features = [tfmtl.Numeric("x")]
    chain = [Task("click", loss="jrc"), Task("buy")]
    with pytest.raises(ValueError, match="'jrc' of task 'click'; 'bce' with"):
        tfmtl.models.get("esmm")(features, chain)
    with pytest.raises(ValueError, match="A product head multiplies"):
        tfmtl.models.get("dcrnn")(features, chain, product_head=True)
    with pytest.raises(ValueError, match="'ziln' of task 's' does not read alone"):
        Task("s", kind="regression", loss="ziln", duration="length")


def _fit(task, x, labels, epochs=1, **options):
    keras.utils.set_random_seed(0)
    features = [
        tfmtl.Categorical("user", vocabulary_size=6, embedding_dim=2),
        tfmtl.Numeric("x"),
    ]
    model = tfmtl.models.get("shared_bottom")(features, [task], units=(8,))
    model.compile(**(options or {"run_eagerly": True}))
    history = model.fit(x, labels, batch_size=64, epochs=epochs, verbose=0)
    return model, history


def test_a_calibration_is_for_all_rows_where_the_logs_kept_some_negatives():
    loss = {"name": "bce", "negative_rate": 0.1}
    task = Task("click", loss=loss, calibration="platt", tower=())
    model = tfmtl.models.get("shared_bottom")([tfmtl.Numeric("x")], [task], units=())
    x = {"x": np.random.default_rng(0).normal(size=1100).astype("float32")}
    label = np.float32([1] * 100 + [0] * 1000)  # of 10,100 rows
    model.start_at({"click": 100 / 1100})
    report = model.calibrate((x, {"click": label}))
    assert report["click"]["after"] == pytest.approx(1, rel=0.01)
    p = model.predict(x, verbose=0)["click"]
    assert p.mean() == pytest.approx(100 / 10_100, rel=0.1)


def test_the_weight_of_a_first_loss():
    rows = np.float32([1]), np.float32([0.25]), np.float32([1])
    value = Task("t", loss={"name": "bce", "weight": 3}).loss_value(*rows)
    assert float(value) == pytest.approx(3 * math.log(4))


@pytest.mark.parametrize("loss", ["fake_negative_weighted", "delayed"])
def test_no_calibration_by_fake_negatives(loss):
    more = {}
    if loss == "delayed":
        more, loss = {"elapsed": "age"}, {"name": "delayed", "delay": 1.0}
    with pytest.raises(ValueError, match="calibration of task 't' must be 'none'"):
        Task("t", loss=loss, calibration="platt", **more)


DELAYED = {"name": "delayed", "delay": 2.0}


def test_a_young_negative_says_little():
    task = Task("buy", elapsed="age", loss=DELAYED, tower=())
    model = tfmtl.models.get("shared_bottom")([tfmtl.Numeric("x")], [task], units=())
    x = {"x": np.zeros(5, "float32")}
    # The last two are outside: no time, and one before the row.
    age = np.float32([0, 1, 2, np.nan, -1])
    p = tf.Variable(np.full((5, 1), 0.25, "float32"))
    for label in (0, 1):
        y = {"buy": np.full(5, label, "float32"), "age": age}
        with tf.GradientTape() as tape:
            values, rows = model.task_loss_values(x, y, {"buy": p})
        share = 1 - np.exp(-age[:3] / 2)
        of_rows = [-math.log(0.25)] * 3 if label else -np.log(1 - 0.25 * share)
        slopes = [-4.0] * 3 if label else share / (1 - 0.25 * share)
        assert float(rows["buy"]) == 3
        assert float(values["buy"]) == pytest.approx(np.mean(of_rows), rel=1e-5)
        np.testing.assert_allclose(
            tape.gradient(values["buy"], p)[:, 0],
            [*(np.array(slopes) / 3), 0, 0],
            rtol=1e-5,
        )


def test_what_comes_late_is_learnt_from_young_rows():
    random = np.random.default_rng(0)
    rows = 20_000
    age = random.uniform(0, 6, rows)
    comes = random.random(rows) < 0.3
    label = np.float32(comes & (random.exponential(2.0, rows) < age))
    y = {"buy": label, "age": np.float32(age)}
    task = Task("buy", elapsed="age", loss=DELAYED)
    z = tf.Variable(0.0)
    for _ in range(60):  # Newton's steps, by differences of the slope
        slopes = []
        for at in (z + 1e-2, z - 1e-2, z):
            with tf.GradientTape() as tape:
                tape.watch(at)
                p = tf.sigmoid(at) * tf.ones(rows)
                seen = sample_space.seen(task, label, p, y, {})
                value = task.loss_value(label, seen, tf.ones(rows))
            slopes.append(tape.gradient(value, at))
        z.assign_sub(slopes[2] / ((slopes[0] - slopes[1]) / 2e-2))
    assert float(tf.sigmoid(z)) == pytest.approx(0.3, abs=0.015)
    assert label.mean() < 0.22  # what cross-entropy would predict


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": DELAYED}, "elapsed of task 't' and the loss 'delayed' belong"),
        ({"elapsed": "age"}, "elapsed of task 't' and the loss 'delayed' belong"),
        ({"elapsed": "age", "loss": [DELAYED, "pairwise"]}, "stands alone"),
        ({"elapsed": "age", "loss": {"name": "delayed", "delay": 0}}, "above 0"),
        ({"elapsed": 3, "loss": DELAYED}, "must be the name of a column"),
    ],
)
def test_what_a_delayed_loss_needs(arguments, message):
    with pytest.raises(ValueError, match=message):
        Task("t", **arguments)


def _users(rows=256):
    rng = np.random.default_rng(3)
    user = rng.integers(0, 6, rows)
    x = rng.normal(size=rows).astype("float32")
    label = (x + rng.normal(size=rows) > user - 3).astype("float32")
    return {"user": user, "x": x}, {"click": label}


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}])
def test_a_models_loss_is_the_weighted_sum_and_leaves_unknown_users_out(options):
    parts = ["bce", {"name": "pairwise", "group": "user", "weight": 0.5}]
    task = Task("click", loss=parts, tower=(4,))
    x, y = _users()
    model, _ = _fit(task, x, y, **options)
    found = model.evaluate(x, y, batch_size=256, verbose=0, return_dict=True)["loss"]
    p = model.predict(x, verbose=0)["click"].ravel().astype("float64")
    score = np.log(p) - np.log1p(-p)
    bce = -np.mean(np.where(y["click"] == 1, np.log(p), np.log1p(-p)))
    known = (x["user"] != 0).astype(float)
    expected = bce + 0.5 * _pairwise(y["click"], score, known, x["user"])
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_saved_model_keeps_its_losses(tmp_path):
    parts = [{"name": "focal", "gamma": 1.5}, {"name": "listwise", "weight": 0.1}]
    x, y = _users(64)
    model, _ = _fit(Task("click", loss=parts), x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.tasks == model.tasks
    assert loaded.tasks[0].loss == (
        losses.Focal(gamma=1.5),
        losses.Listwise(weight=0.1),
    )
    assert loaded.tasks[0].calibration == "platt"


def test_a_chain_learns_its_order_from_its_product():
    """ESMM's second task has no logit of its own."""
    x, y = _users()
    y["buy"] = y["click"] * (x["x"] > 0)
    tasks = [Task("click"), Task("buy", loss=["bce", "pairwise"], space=None)]
    features = [tfmtl.Categorical("user", vocabulary_size=6), tfmtl.Numeric("x")]
    model = tfmtl.models.get("esmm")(features, [tasks[0], tasks[1]])
    model.compile(run_eagerly=True)
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ("mse", "binary", "loss must be one of 'bce', 'focal'"),
        ("focl", "binary", "Did you mean 'focal'"),
        ({"name": "jrc", "alpha": 2}, "binary", "alpha of the loss 'jrc' must be in"),
        ({"name": "jrc", "group": 1}, "binary", "name of a categorical feature"),
        ({"name": "ordinal", "highest": 1}, "count", "above the integer `lowest`"),
        ({"gamma": 1}, "binary", "Received: None"),
        (
            {"name": "focal", "gama": 1},
            "binary",
            "An argument of the loss 'focal' must",
        ),
        (
            {"name": "bce", "kinds": 1},
            "binary",
            "must be one of 'weight', 'label_smoothing', 'negative_rate'. Received",
        ),
        ({"name": "focal", "gamma": -1}, "binary", "gamma of the loss 'focal' must be"),
        ({"name": "focal", "alpha": 1}, "binary", "alpha of the loss 'focal' must be"),
        ({"name": "bce", "label_smoothing": 1}, "binary", "a number in .0, 1"),
        ({"name": "bce", "negative_rate": 0}, "binary", "negative_rate of the loss"),
        ({"name": "bce", "weight": -1}, "binary", "weight of the loss 'bce' must be"),
        ({"name": "huber", "delta": 0}, "regression", "must be a number > 0"),
        ({"name": "quantile", "quantile": 1}, "regression", "between 0 and 1"),
        ({"name": "tweedie", "power": 2}, "regression", "between 1 and 2"),
        ({"name": "pairwise", "group": 3}, "binary", "name of a categorical feature"),
    ],
)
def test_bad_losses(given, kind, message):
    with pytest.raises(ValueError, match=message):
        losses.get(given, kind)


def test_a_loss_groups_by_a_categorical_feature():
    task = Task("click", loss=["bce", {"name": "pairwise", "group": "x"}])
    with pytest.raises(ValueError, match="by a Categorical .* Received: 'x'"):
        tfmtl.models.get("shared_bottom")([tfmtl.Numeric("x")], [task])
