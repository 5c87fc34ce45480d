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
_BINARY = ("auc", "gauc:user", "logloss", "ne", "calibration", "auc/tab", "ne/tab")
_VALUES = ("mae", "rmse", "xauc", "calibration", "xauc/tab", "rmse/tab")


def _regression(name, **options):
    return tfmtl.Task(
        name, label="seconds", kind="regression", metrics=_VALUES, **options
    )


# Every loss, every metric and every way to be outside.
TASKS = [
    tfmtl.Task("click", row_weight="w", metrics=_BINARY),
    tfmtl.Task("like", space="click", metrics=(*_BINARY, "gauc:user/tab")[2:]),
    _regression("mse", space="played"),
    _regression("huber", space="click", loss="huber", delta=5.0, row_weight="w"),
    _regression("log_mse", loss="log_mse", space="played"),
    _regression("odds", loss="weighted_logistic", space="click"),
    _regression("ratio", duration="length"),
    tfmtl.Task("comments", kind="count", space="click", metrics=(*_VALUES, "deviance")),
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


def _model(tasks=TASKS):
    keras.utils.set_random_seed(0)
    model = tfmtl.models.get("shared_bottom")(FEATURES, tasks, units=(8,))
    model.compile(keras.optimizers.SGD(1e-3))
    return model


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
    elif case == "weights 0":
        weight[:] = 0
    else:
        weight[:] = NAN
    return inputs, {k: v.astype("float32") for k, v in labels.items()}, weight


@pytest.fixture(scope="module")
def alone():
    """A step on the rows that count, and what `evaluate` says of them."""
    inputs, labels = _data()
    weight = np.linspace(0.1, 2, ROWS).astype("float32")
    model = _model()
    logs = model.evaluate(
        inputs, labels, ROWS, 0, sample_weight=weight, return_dict=True
    )
    model.fit(inputs, labels, ROWS, verbose=0, sample_weight=weight, shuffle=False)
    return weight, logs, model.get_weights()


@pytest.mark.parametrize(
    "case", ["labels missing", "spaces not held", "weights 0", "weights missing"]
)
def test_rows_outside_change_neither_loss_nor_gradients_nor_metrics(case, alone):
    weight, logs, weights = alone
    assert len(logs) == 1 + 2 * len(TASKS) - len(TASKS) + len(
        [k for k in logs if not k.endswith("loss") or "logloss" in k]
    )
    more_inputs, more_labels, more_weight = _outside(case, 2 * ROWS)
    inputs, labels = _data()
    inputs, labels = _join(inputs, more_inputs), _join(labels, more_labels)
    weight = np.concatenate([weight, more_weight])
    model = _model()
    # One batch with the rows, and one with nothing else.
    together = model.evaluate(
        inputs, labels, 2 * ROWS, 0, sample_weight=weight, return_dict=True
    )
    # Keras's own mean of the batches' losses does not know which were empty.
    mean_loss, expected_loss = together.pop("loss"), {**logs}.pop("loss")
    assert mean_loss == pytest.approx(expected_loss * ROWS * 2 / ROWS / 3, rel=1e-4)
    _same(together, {k: v for k, v in logs.items() if k != "loss"})
    model.fit(inputs, labels, 2 * ROWS, verbose=0, sample_weight=weight, shuffle=False)
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", ["labels missing", "weights missing"])
def test_batches_without_a_row_inside(case):
    """Loss 0 and not NaN, no gradient, and metrics that say that there is nothing."""
    inputs, labels, weight = _outside(case, ROWS)
    model = _model()
    before = model.get_weights()
    history = model.fit(
        inputs, labels, 32, verbose=0, sample_weight=weight, validation_data=None
    ).history
    for key, (value,) in history.items():
        is_loss = key.endswith("loss") and not key.endswith("logloss")
        assert value == 0 if is_loss else np.isnan(value), key
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_metrics_in_the_logs_are_the_exact_ones(alone):
    weight, logs, _ = alone
    inputs, labels = _data()
    p = {k: v[:, 0] for k, v in _model().predict(inputs, verbose=0).items()}
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
        expected[f"mse_xauc/tab={i}"] = exact.xauc(
            labels["seconds"][at], p["mse"][at], (weight * labels["played"])[at]
        )
    expected["ratio_rmse"] = exact.rmse(labels["seconds"], p["ratio"], weight)
    expected["comments_deviance"] = exact.poisson_deviance(
        labels["comments"], p["comments"], weight * y
    )
    for key, value in expected.items():
        assert logs[key] == pytest.approx(value, rel=1e-3, abs=1e-3), key
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
    model = _model()
    model.compile(keras.optimizers.SGD(1e-3), steps_per_execution=3)
    model.fit(inputs, labels, 16, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.tasks == TASKS
    for a, b in zip(again.metrics, model.metrics, strict=True):
        assert a.get_config() == b.get_config()
    logs = model.evaluate(inputs, labels, 16, 0, return_dict=True)
    _same(again.evaluate(inputs, labels, 16, 0, return_dict=True), logs)
    assert np.isfinite(logs["click_gauc"]) and np.isfinite(logs["mse_xauc"])


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
