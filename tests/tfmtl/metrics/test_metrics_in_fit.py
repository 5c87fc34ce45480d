"""Tasks and their metrics inside `fit`: rows outside a space change nothing at all."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl.metrics import exact

NAN = float("nan")
ROWS, USERS, TABS = 96, 8, 3
FEATURES = [
    tfmtl.Categorical("user", vocabulary_size=USERS, embedding_dim=4),
    tfmtl.Categorical("tab", vocabulary_size=TABS, embedding_dim=4),
    tfmtl.Numeric("x"),
]


def _regression(name, metrics=(), **options):
    return tfmtl.Task(
        name, label="seconds", kind="regression", metrics=metrics, **options
    )


# Every loss, every metric and every way to be outside.
TASKS = [
    tfmtl.Task(
        "click",
        row_weight="w",
        metrics=("auc", "gauc:user", "logloss", "ne", "calibration", "auc/tab"),
    ),
    tfmtl.Task("like", space="click", metrics=("gauc:user/tab", "ndcg@2:user")),
    _regression("mse", ("mae", "rmse", "xauc", "calibration/tab"), space="played"),
    _regression(
        "huber", space="click", loss={"name": "huber", "delta": 5.0}, row_weight="w"
    ),
    _regression("log_mse", loss="log_mse", space="played"),
    _regression("odds", loss="weighted_logistic", space="click"),
    _regression("ratio", ("rmse",), duration="length"),
    tfmtl.Task("comments", kind="count", space="click", metrics=("deviance",)),
]


def _data(rows=ROWS, seed=0):
    random = np.random.default_rng(seed)
    inputs = {
        "user": random.integers(0, USERS, rows),
        "tab": random.integers(0, TABS, rows),
        "x": random.normal(size=rows).astype("float32"),
    }
    labels = {
        "click": random.integers(0, 2, rows),
        "like": random.integers(0, 2, rows),
        "seconds": random.integers(0, 60, rows),
        "comments": random.poisson(1, rows),
        "played": random.integers(0, 2, rows),
        "length": random.integers(10, 90, rows),
        "w": random.random(rows),
    }
    return inputs, {k: v.astype("float32") for k, v in labels.items()}


def _model(tasks, **options):
    keras.utils.set_random_seed(0)
    model = tfmtl.models.get("shared_bottom")(FEATURES, tasks, units=(8,))
    model.compile(keras.optimizers.SGD(1e-3), **{"run_eagerly": True, **options})
    return model


@pytest.fixture(scope="module")
def shared():
    """A model of all tasks, and its weights; eager, as tracing it takes longer."""
    model = _model(TASKS)
    return model, model.get_weights()


def _join(a, b):
    return {key: np.concatenate([a[key], b[key]]) for key in a}


def _same(a, b, **tolerance):
    assert list(a) == list(b)
    for key in a:
        np.testing.assert_allclose(
            a[key], b[key], rtol=1e-4, atol=1e-5, err_msg=key, **tolerance
        )


def _outside(case, rows):
    """Rows outside every sample space, and the weight that goes with them."""
    inputs, labels = _data(rows, seed=1)
    weight = np.full(rows, 0.7, "float32")
    if case == "labels missing":
        labels = {key: np.full(rows, NAN, "float32") for key in labels}
    elif case == "spaces not held":
        labels |= {key: np.full(rows, NAN, "float32") for key in ("w", "length")}
        # Within no space, but with labels that would blow anything up.
        labels |= {"played": np.zeros(rows), "click": np.full(rows, NAN)}
        labels |= {"like": np.full(rows, 9e9), "comments": np.full(rows, -9e9)}
        inputs |= {"x": np.full(rows, 1e30, "float32")}  # the square of which is inf
    elif case == "weights 0":
        weight[:] = 0
    else:
        weight[:] = NAN
    return inputs, {k: v.astype("float32") for k, v in labels.items()}, weight


@pytest.fixture(scope="module")
def alone(shared):
    """What `evaluate` says of the rows that count, and the weights after a step."""
    model, weights = shared
    inputs, labels = _data()
    weight = np.linspace(0.1, 2, ROWS).astype("float32")
    predictions = {k: v.numpy()[:, 0] for k, v in model(inputs).items()}
    logs = _evaluate(model, inputs, labels, weight, ROWS)
    model.fit(inputs, labels, ROWS, verbose=0, sample_weight=weight, shuffle=False)
    after = model.get_weights()
    model.set_weights(weights)
    return weight, logs, predictions, after


def _evaluate(model, inputs, labels, weight, batch):
    return model.evaluate(
        inputs, labels, batch, 0, sample_weight=weight, return_dict=True
    )


@pytest.mark.parametrize(
    "case", ["labels missing", "spaces not held", "weights 0", "weights missing"]
)
def test_rows_outside_change_neither_loss_nor_gradients_nor_metrics(
    case, shared, alone
):
    model, weights = shared
    weight, logs, _, after = alone
    inputs, labels = _data()
    more_inputs, more_labels, more_weight = _outside(case, 2 * ROWS)
    inputs, labels = _join(inputs, more_inputs), _join(labels, more_labels)
    weight = np.concatenate([weight, more_weight])
    # One batch with the rows, and one with nothing else.
    together = _evaluate(model, inputs, labels, weight, 2 * ROWS)
    # Keras's own mean over the batches counts all their rows.
    assert together.pop("loss") == pytest.approx(logs["loss"] * 2 / 3, rel=1e-4)
    _same(together, {k: v for k, v in logs.items() if k != "loss"})
    try:
        model.fit(
            inputs, labels, 2 * ROWS, verbose=0, sample_weight=weight, shuffle=False
        )
        for a, b in zip(model.get_weights(), after, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        assert any((a != b).any() for a, b in zip(after, weights, strict=True))
    finally:
        model.set_weights(weights)


@pytest.mark.filterwarnings("ignore:No row has a label")
@pytest.mark.parametrize("case", ["labels missing", "weights missing"])
def test_batches_without_a_row_inside(case, shared):
    """Loss 0 and not NaN, no gradient, and metrics that say that there is nothing."""
    model, weights = shared
    inputs, labels, weight = _outside(case, ROWS)
    history = model.fit(inputs, labels, 48, verbose=0, sample_weight=weight).history
    # Losses; metrics; those by tab of click, like and mse.
    assert len(history) == 1 + len(TASKS) + 6 + 3 + 1 + 1 + 3 * TABS
    for key, (value,) in history.items():
        is_loss = key.endswith("loss") and not key.endswith("logloss")
        assert value == 0 if is_loss else np.isnan(value), key
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_metrics_in_the_logs_are_the_exact_ones(alone):
    weight, logs, p, _ = alone
    inputs, labels = _data()
    y, user, tab = labels["click"], inputs["user"], inputs["tab"]
    w = weight * labels["w"]
    expected = {
        "click_logloss": exact.log_loss(y, p["click"], w),
        "click_ne": exact.normalized_entropy(y, p["click"], w),
        "click_calibration": exact.calibration(y, p["click"], w),
        # Id 0, an unknown user, is no user.
        "click_gauc": exact.grouped_auc(y, p["click"], user, w * (user > 0)),
    }
    for i in range(TABS):
        at = tab == i
        expected[f"click_auc/tab={i}"] = exact.auc(y[at], p["click"][at], w[at])
        w_like = weight * (y == 1) * (user > 0)
        expected[f"like_gauc/tab={i}"] = exact.grouped_auc(
            labels["like"][at], p["like"][at], user[at], w_like[at]
        )
        expected[f"mse_calibration/tab={i}"] = exact.calibration(
            labels["seconds"][at], p["mse"][at], (weight * labels["played"])[at]
        )
    expected["like_ndcg@2"] = exact.ndcg(
        labels["like"], p["like"], user, weight * (y == 1) * (user > 0), k=2
    )
    expected["mse_xauc"] = exact.xauc(
        labels["seconds"], p["mse"], weight * labels["played"]
    )
    expected["ratio_rmse"] = exact.rmse(labels["seconds"], p["ratio"], weight)
    expected["comments_deviance"] = exact.poisson_deviance(
        labels["comments"], p["comments"], weight * y
    )
    for key, value in expected.items():
        # An untrained model's scores are close: many pairs lie in one of AUC's bins.
        error = 0.02 if "_auc" in key else 1e-4
        assert logs[key] == pytest.approx(value, rel=1e-3, abs=error), key
    # The loss of a task with a duration is that of completion ratios.
    error = (p["ratio"] - labels["seconds"]) / labels["length"]
    assert logs["ratio_loss"] == pytest.approx(
        np.average(error**2, weights=weight), rel=1e-4
    )


def test_default_metrics_and_their_names():
    model = _model(
        [
            tfmtl.Task("click"),
            tfmtl.Task("seconds", kind="regression"),
            tfmtl.Task("comments", kind="count", metrics=()),
        ]
    )
    inputs, labels = _data()
    history = model.fit(
        inputs, labels, validation_data=(inputs, labels), verbose=0
    ).history
    ends = ["click_loss", "seconds_loss", "comments_loss", "click_auc", "seconds_mae"]
    ends = sorted(["loss", *ends])
    assert sorted(history) == sorted([*ends, *(f"val_{end}" for end in ends)])


def test_metrics_need_their_features():
    def build(metric):
        _model([tfmtl.Task("click", metrics=(metric,))])

    with pytest.raises(ValueError, match="'gauc' of task 'click' must .*mean 'user'"):
        build("gauc:usr")
    with pytest.raises(ValueError, match="Categorical .* Received: 'x'"):
        build("auc/x")
    wide = [tfmtl.Categorical("id", vocabulary_size=2000)]
    with pytest.raises(ValueError, match="at most 1000 ids"):
        tfmtl.models.get("ple")(wide, [tfmtl.Task("a", metrics=("auc/id",))])


def test_steps_of_several_batches_and_loading(tmp_path):
    inputs, labels = _data()
    model = _model(TASKS[:1], steps_per_execution=3)
    model.fit(inputs, labels, 16, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.tasks == TASKS[:1]
    for a, b in zip(again.metrics, model.metrics, strict=True):
        assert a.get_config() == b.get_config()
    logs = model.evaluate(inputs, labels, 16, 0, return_dict=True)
    _same(again.evaluate(inputs, labels, 16, 0, return_dict=True), logs)
    assert np.isfinite(logs["click_gauc"])


def test_records_hold_weights_and_durations(tmp_path):
    path = str(tmp_path / "rows.tfrecord")
    columns = {"click": 1.0, "w": 0.5, "seconds": 30.0, "length": 60.0, "x": 2.0}
    with tf.io.TFRecordWriter(path) as writer:
        feature = {
            key: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
            for key, value in columns.items()
        }
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        writer.write(example.SerializeToString())
    tasks = [tfmtl.Task("click", row_weight="w"), _regression("t", duration="length")]
    data = tfmtl.data.read(path, [tfmtl.Numeric("x")], tasks, batch_size=1)
    inputs, labels = next(iter(data))
    assert list(inputs) == ["x"]
    assert {k: v.numpy().tolist() for k, v in labels.items()} == {
        key: [columns[key]] for key in ("click", "seconds", "w", "length")
    }


def test_a_domain_has_one_row_an_id_that_stays():
    for options in ({"capacity": 4}, {"num_buckets": 8, "num_hashes": 2}):
        with pytest.raises(ValueError, match="neither `capacity` nor several hashes"):
            tfmtl.models.get("shared_bottom")(
                [tfmtl.Categorical("tab", **options)],
                [tfmtl.Task("click", metrics=("auc/tab",))],
            )
