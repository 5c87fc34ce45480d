"""Calibrations: numbers by hand and scikit-learn's, and what must not change."""

import json
import re
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from quick_model import quick_model
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

import tfmtl
from tfmtl import calibration, model_card
from tfmtl.calibration import Isotonic, Platt, Scale
from tfmtl.calibration.isotonic import pool_adjacent_violators
from tfmtl.calibration.rows import Rows, pool_neighbours
from tfmtl.metrics import exact
from tfmtl.training import warm_start

NAN = float("nan")
METHODS = {"platt": Platt, "isotonic": lambda: Isotonic(1.0), "scale": Scale}


def _apply(layer, score):
    return np.asarray(layer(np.float32(score)[:, None]))[:, 0].astype("float64")


def _fit(layer, score, label, weight=None):
    weight = np.ones(len(score)) if weight is None else weight
    layer.build((None, 1))
    layer.fit(*pool_neighbours(score, label, weight, 2**16))
    return layer


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _clicks(rows, slope=0.6, offset=-0.8, seed=0):
    """Probabilities that are wrong by a line over their logits, and labels."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1, 1.5, rows)
    label = rng.random(rows) < _sigmoid(slope * logit + offset)
    return np.float32(_sigmoid(logit)), label.astype("float64")


# Each method by itself.


@pytest.mark.parametrize("method", METHODS)
def test_it_starts_as_the_identity(method):
    score = np.float32([0, 1e-30, 1e-6, 0.3, 0.99, 1])
    np.testing.assert_allclose(
        _apply(METHODS[method](), score), score, rtol=1e-5, atol=1e-37
    )
    assert not METHODS[method]().trainable_weights


def test_one_factor_makes_the_totals_equal():
    layer = _fit(Scale(), [1, 2, 3], [2, 2, 8], [1, 1, 2])
    assert float(layer.scale) == pytest.approx((2 + 2 + 16) / (1 + 2 + 6))
    with pytest.raises(ValueError, match="total of the predictions, -3, that of .* 2"):
        _fit(Scale(), [-1, -2], [1, 1])


def test_a_line_meets_two_rates():
    """With two scores, the likelihood is largest where p' is each one's rate."""
    score, label = [0.2, 0.5], [0.1, 0.4]
    layer = _fit(Platt(), score, label, [1e4, 1e4])
    np.testing.assert_allclose(_apply(layer, score), label, rtol=1e-4)


def test_platt_finds_scikit_learns_line():
    score, label = _clicks(3000)
    weight = np.random.default_rng(1).integers(1, 4, 3000).astype(float)
    layer = _fit(Platt(), score, label, weight)
    logit = np.log(score.astype(float)) - np.log1p(-score.astype(float))
    line = LogisticRegression(C=np.inf, tol=1e-9).fit(logit[:, None], label, weight)
    assert float(layer.slope) == pytest.approx(line.coef_.item(), rel=1e-4)
    assert float(layer.offset) == pytest.approx(line.intercept_.item(), rel=1e-4)


def test_scores_that_separate_the_classes_keep_a_finite_line():
    label = np.repeat([0.0, 1.0], 50)
    layer = _fit(Platt(), np.linspace(0.01, 0.02, 100), label)
    assert np.isfinite(layer.get_weights()).all() and float(layer.slope) > 0


def test_rows_that_say_little_leave_the_line_as_it_is():
    """The penalty is on a slope that is not 1, so it holds what rows do not move."""
    layer = _fit(Platt(), [0.2, 0.5], [0.1, 0.4], [1e-6, 1e-6])
    assert float(layer.slope) == pytest.approx(1, abs=1e-3)


def test_labels_that_fall_with_the_scores_are_told():
    with pytest.raises(ValueError, match="labels do not rise .* the best slope is -"):
        _fit(Platt(), np.linspace(0.1, 0.9, 100), np.repeat([1.0, 0.0], 50))


def test_knots_of_isotonic_worked_out():
    # Blocks 1, {2, 3} and 4 with means 1, 2.5 and 6; the totals are 10 and 12.
    layer = _fit(Isotonic(), [1, 2, 3, 4], [1, 3, 2, 6])
    score = np.array([0.5, 1, 1.75, 2.5, 3.25, 4, 9])
    # At 1, 2, 3 and 4 the lines are 1, 2, 3.67 and 6, in total 12.67.
    share = (12 - 0.01 * 10) / (1 + 2 + 11 / 3 + 6)
    expected = share * np.array([1, 1, 1.75, 2.5, 4.25, 6, 6]) + 0.01 * score
    np.testing.assert_allclose(_apply(layer, score), expected, rtol=1e-6)


def test_blocks_are_scikit_learns():
    rng = np.random.default_rng(0)
    for _ in range(20):
        label = rng.integers(0, 5, 200).astype(float)
        weight = rng.uniform(0.1, 3, 200)
        blocks = pool_adjacent_violators(label, weight)
        means = np.bincount(blocks, weight * label) / np.bincount(blocks, weight)
        found = (
            IsotonicRegression()
            .fit(np.arange(200), label, weight)
            .predict(np.arange(200))
        )
        np.testing.assert_allclose(means[blocks], found, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [200, 20_000])
def test_isotonic_rises_and_stays_a_probability(rows):
    score, label = _clicks(rows, seed=rows)
    layer = _fit(Isotonic(1.0), score, label)
    everywhere = np.unique(np.float32(np.concatenate([score, np.linspace(0, 1, 999)])))
    p = _apply(layer, everywhere)
    assert (np.diff(p) >= 0).all() and p[0] >= 0 and p[-1] <= 1
    # Ties only where float32 ends.
    assert len(np.unique(p)) > 0.99 * len(p)
    assert exact.auc(label, _apply(layer, score)) == pytest.approx(
        exact.auc(label, score), abs=1e-5
    )


def test_isotonic_keeps_to_the_highest_beyond_what_it_has_seen():
    """Scores of at most 0.2 with labels up to 1, and then a score of 1."""
    rows = [0.1, 0.2], [0, 1], [50, 50]
    bounded, free = (_fit(Isotonic(most), *rows) for most in (1.0, None))
    assert _apply(bounded, [1]) == 1 < _apply(free, [1])


def test_isotonic_finds_what_no_line_does():
    score = np.float32(np.random.default_rng(0).random(50_000))
    truth = np.where(score < 0.5, 0.1, 0.6)
    label = (np.random.default_rng(1).random(50_000) < truth).astype(float)
    errors = {
        method: np.abs(_apply(_fit(METHODS[method](), score, label), score) - truth)
        for method in ("platt", "isotonic")
    }
    assert errors["isotonic"].mean() < 0.02 < 0.05 < errors["platt"].mean()


@pytest.mark.parametrize("method", ["scale", "platt"])
def test_the_order_stays(method):
    score, label = _clicks(5000)
    layer = _fit(METHODS[method](), score, label)
    found = _apply(layer, score)
    assert exact.auc(label, found) == pytest.approx(exact.auc(label, score), abs=1e-6)
    assert exact.spearman(score, found) == pytest.approx(1, abs=1e-6)
    assert found.sum() == pytest.approx(label.sum(), rel=1e-4)


def test_what_is_no_calibration_of_a_task_is_refused():
    assert tfmtl.Task("a").calibration == "none"
    assert tfmtl.Task("a", kind="regression").calibration == "none"
    watch = tfmtl.Task("a", kind="regression", loss="log_mse")
    assert watch.calibration == "scale"
    with pytest.raises(
        ValueError, match="binary task 'a' must be one of .*platt.*'sca"
    ):
        tfmtl.Task("a", calibration="scale")
    with pytest.raises(ValueError, match="count task 'a' must be one of .*'platt'"):
        tfmtl.Task("a", kind="count", calibration="platt")


# Within a model.


def _tasks(click="platt", watch="scale", like="none"):
    options = {"row_weight": "importance", "duration": "length"}
    return [
        tfmtl.Task("click", calibration=click, metrics=["auc", "calibration"]),
        tfmtl.Task("like", space="click", calibration=like),
        tfmtl.Task(
            "watch",
            kind="regression",
            space="click",
            loss="log_mse",
            calibration=watch,
            metrics=["mae", "calibration"],
            **options,
        ),
    ]


def _model(tasks=None, name="shared_bottom", seed=0):
    """A model whose predictions rise with x, untrained."""
    keras.utils.set_random_seed(seed)
    features = [tfmtl.Numeric("x")]
    inputs = {"x": np.zeros(1, "float32")}
    model = quick_model(name, features, tasks or _tasks(), inputs, units=(8,))
    for weight in model.trainable_weights:
        weight.assign(0.3 * keras.ops.abs(weight))
    model.compile(run_eagerly=True)
    return model


def _data(rows=512, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.exponential(size=rows).astype("float32")
    labels = {
        "click": rng.random(rows) < _sigmoid(x - 1),
        "like": rng.random(rows) < _sigmoid(x - 2),
        "watch": rng.lognormal(2 + x, 1),
        "importance": rng.integers(0, 3, rows),
        "length": rng.uniform(1, 90, rows),
    }
    return {"x": x}, {key: np.float32(value) for key, value in labels.items()}


def _dataset(*data, batch=200):
    return tf.data.Dataset.from_tensor_slices(data).batch(batch)


def _outputs(model, inputs):
    return {name: np.asarray(p) for name, p in model(inputs).items()}


def _same(a, b, **tolerance):
    for name in a:
        np.testing.assert_allclose(a[name], b[name], err_msg=name, **tolerance)


def _calibrate(model, data):
    """Calibrates eagerly, as tracing takes longer; some tests have it in a graph."""
    tf.config.run_functions_eagerly(True)
    try:
        return model.calibrate(data)
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def calibrated():
    """A model with all methods, of which no test may change anything; its inputs."""
    model = _model(_tasks("isotonic", like="platt"))
    inputs, labels = _data()
    report = model.calibrate(_dataset(inputs, labels))
    for found in report.values():
        assert found["after"] == pytest.approx(1, abs=0.01) and "reason" not in found
    return model, inputs


def test_totals_are_those_of_the_metric():
    model = _model()
    inputs, labels = _data()
    options = {"batch_size": 512, "return_dict": True, "verbose": 0}
    before = model.evaluate(inputs, labels, **options)
    report = model.calibrate(_dataset(inputs, labels))
    after = model.evaluate(inputs, labels, **options)
    assert list(report) == ["click", "watch"]
    for task, found in report.items():
        assert found["before"] == pytest.approx(before[f"{task}_calibration"], rel=1e-4)
        assert found["after"] == pytest.approx(after[f"{task}_calibration"], rel=1e-4)
        assert found["after"] == pytest.approx(1, abs=1e-4)
    inside = (labels["click"] == 1) & (labels["importance"] > 0)
    assert report["watch"]["rows"] == inside.sum() < report["click"]["rows"] == 512


def test_rows_outside_change_nothing():
    inputs, labels = _data()
    more_inputs, more = _data(60, seed=1)
    more["click"][:] = 1
    more["watch"][:20], more["length"][20:40] = NAN, 0
    more["importance"][40:50], more["importance"][50:] = NAN, 0
    unlabelled = {**more, "click": np.full(60, NAN, "float32")}
    expected = _calibrate(_model(), _dataset(inputs, labels))
    for extra, tasks in ((more, ["watch"]), (unlabelled, ["click", "watch"])):
        data = [
            {key: np.concatenate([of[key], rest[key]]) for key in of}
            for of, rest in ((inputs, more_inputs), (labels, extra))
        ]
        found = _calibrate(_model(), _dataset(*data))
        for task in tasks:
            assert found[task] == pytest.approx(expected[task])


def test_sample_weights_count_like_repeated_rows():
    inputs, labels = _data()
    weights = np.ones(512, "float32")
    weights[:100] = 3
    times = weights.astype(int)
    repeated = [
        {key: np.repeat(value, times) for key, value in of.items()}
        for of in (inputs, labels)
    ]
    expected = _calibrate(_model(), _dataset(*repeated))
    found = _calibrate(_model(), _dataset(inputs, labels, weights))
    for task, numbers in expected.items():
        repeats = {"rows": found[task]["rows"]}
        assert found[task] == pytest.approx({**numbers, **repeats})


def test_what_is_learnt_does_not_depend_on_it():
    inputs, labels = _data()
    found = []
    for model in (_model(), _model()):
        if found:
            _calibrate(model, _dataset(inputs, labels))
            assert float(model.calibrations["watch"].scale) > 2
        with tf.GradientTape() as tape:
            outputs = model({"x": tf.constant(inputs["x"])}, training=True)
            loss = model.compute_loss(inputs, labels, outputs)
        variables = [weight.value for weight in model.trainable_weights]
        found.append([loss, *tape.gradient(loss, variables)])
        # A step by hand, as of `train_on_batch`, keeps the calibration.
        model.train_on_batch(inputs, labels)
        found[-1] += model.trainable_weights
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_fit_starts_from_uncalibrated_predictions():
    inputs, labels = _data()
    options = {"validation_data": (inputs, labels), "batch_size": 512, "verbose": 0}
    histories = []
    for model in (_model(), _model()):
        if histories:
            _calibrate(model, _dataset(inputs, labels))
        fitted = model.fit(inputs, labels, shuffle=False, **options)
        histories.append({key: value[0] for key, value in fitted.history.items()})
    assert histories[0] == pytest.approx(histories[1])
    assert float(model.calibrations["watch"].scale) == 1


def test_it_is_fitted_anew():
    model = _model()
    inputs, labels = _data()
    _calibrate(model, _dataset(*_data(seed=5)))
    again = _calibrate(model, _dataset(inputs, labels))
    first = _calibrate(_model(), _dataset(inputs, labels))
    for task, numbers in first.items():
        assert again[task] == pytest.approx(numbers)


def test_a_chain_is_calibrated_behind_its_product():
    tasks = [tfmtl.Task("click"), tfmtl.Task("like", calibration="platt")]
    model = _model(tasks, "esmm")
    inputs, labels = _data()
    before = _outputs(model, inputs)
    _calibrate(model, _dataset(inputs, labels))
    after, line = _outputs(model, inputs), model.calibrations["like"]
    np.testing.assert_array_equal(before["click"], after["click"])
    np.testing.assert_allclose(after["like"], line(before["like"]), rtol=1e-5)
    assert after["like"].mean() == pytest.approx(labels["like"].mean(), rel=1e-4)


def test_it_is_saved_and_served(calibrated, tmp_path):
    model, inputs = calibrated
    expected = _outputs(model, inputs)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    _same(expected, _outputs(again, inputs), rtol=1e-6)
    _same(expected, model.predict(inputs, verbose=0), rtol=1e-4)
    tfmtl.export(model, tmp_path / "served", fused_score={"watch": 1.0})
    served = tf.saved_model.load(str(tmp_path / "served"))
    _same(expected, served.signatures["serving_default"](**inputs), rtol=1e-4)
    ranked = served.signatures["rank"](**inputs)
    np.testing.assert_allclose(ranked["score"], expected["watch"], rtol=1e-4)
    card = model_card.read(tmp_path / "served")
    assert [task["calibration"] for task in card["tasks"]] == [
        task.calibration for task in model.tasks
    ]


def test_xla_changes_nothing(calibrated):
    model, inputs = calibrated
    compiled = tf.function(lambda x: model({"x": x}), jit_compile=True)
    found = compiled(tf.constant(inputs["x"]))
    _same(_outputs(model, inputs), found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_it_is_float32_under_mixed_precision(method):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = _model(_tasks(method))
    finally:
        keras.config.set_dtype_policy("float32")
    inputs, labels = _data()
    report = _calibrate(model, _dataset(inputs, labels))
    assert report["click"]["after"] == pytest.approx(1, abs=0.02)
    assert {weight.dtype for weight in model.calibrations["click"].weights} == {
        "float32"
    }
    assert model(inputs)["click"].dtype == "float32"


@pytest.mark.parametrize(
    ("rows", "changes", "reason"),
    [
        (512, {"click": np.arange(512) < 9}, "10 positives and 10 neg.* got 9 and 503"),
        (512, {"click": np.arange(512) > 8}, "10 positives and 10 neg.* got 503 and 9"),
        (0, {}, "it needs 10 positives and 10 negatives, and got 0 and 0"),
    ],
)
def test_too_few_rows_change_nothing(rows, changes, reason):
    inputs, labels = _data(rows)
    labels |= {key: np.float32(value) for key, value in changes.items()}
    model = _model()
    before = _outputs(model, _data()[0])
    found = _calibrate(model, _dataset(inputs, labels))["click"]
    assert found["rows"] == rows and re.search(reason, found["reason"])
    assert found["after"] == pytest.approx(found["before"], nan_ok=True)
    after = _outputs(model, _data()[0])
    np.testing.assert_allclose(before["click"], after["click"], rtol=1e-5)


@pytest.mark.parametrize("kind", calibration.OF_KIND)
@pytest.mark.parametrize("least", [10, 100])
def test_as_many_rows_as_are_needed_are_enough(kind, least):
    """Of either label, where there are two."""
    for label in {0, 1} if kind == "binary" else {1}:
        for few in (least, least - 1):
            labels = np.append(np.full(few, label), np.full(999, 1 - label))
            rows = Rows()
            rows.add(np.full(len(labels), 0.5), labels, np.ones(len(labels)))
            assert bool(rows.lacking(kind, least)) == (few < least)


def test_what_is_not_finite_is_told():
    inputs, labels = _data()
    labels["watch"][labels["click"] == 1] = np.inf
    found = _calibrate(_model(), _dataset(inputs, labels))
    assert found["watch"]["reason"] == "not all predictions and labels are finite"
    assert "reason" not in found["click"]


def test_without_labels_nothing_is_calibrated():
    for data in ([_data()[0]], _data()[0]):
        with pytest.raises(ValueError, match="needs labels: .* Received: features al"):
            _model().calibrate(data)


def test_a_table_with_its_labels_is_calibrated_as_a_dataset_is():
    inputs, labels = _data()
    expected = _calibrate(_model(), _dataset(inputs, labels))
    for data in ({**inputs, **labels}, (inputs, labels)):
        for task, found in _model().calibrate(data).items():
            assert found["rows"] == expected[task]["rows"]
            assert found["after"] == pytest.approx(expected[task]["after"])
            assert found["before"] == pytest.approx(expected[task]["before"])


def test_many_rows_are_pooled(monkeypatch):
    inputs, labels = _data(4000)
    whole = _calibrate(_model(_tasks("isotonic")), _dataset(inputs, labels))
    monkeypatch.setattr("tfmtl.calibration.rows._KEPT", 500)
    monkeypatch.setattr("tfmtl.calibration.rows._POOLED", 200)
    kept, pooled = [], Rows.pooled
    monkeypatch.setattr(Rows, "pooled", lambda r: kept.append(r._kept) or pooled(r))
    found = _calibrate(_model(_tasks("isotonic")), _dataset(inputs, labels))
    assert 500 < max(kept) <= 700 and len(kept) > 5
    for task, numbers in whole.items():
        assert found[task]["rows"] == numbers["rows"]
        assert found[task]["before"] == pytest.approx(numbers["before"])
        assert found[task]["after"] == pytest.approx(numbers["after"], rel=5e-3)


def test_a_warm_start_does_not_inherit_it(calibrated):
    old, _ = calibrated
    new, fresh = _model(old.tasks, seed=3), _model(old.tasks)
    assert not warm_start(new, old)["left"]
    for task, layer in new.calibrations.items():
        identity = fresh.calibrations[task].get_weights()
        for a, b in zip(layer.get_weights(), identity, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_mean_of_watch_times_whose_noise_differs():
    """log_mse learns the geometric mean: exp(-sigma^2 / 2) too low, sigma 0.6 to 1.4.

    The variance term would need one sigma; the ratio of totals needs none.
    """

    def draw(rows, seed):
        rng = np.random.default_rng(seed)
        x = rng.uniform(-1, 1, rows)
        noise = (1 + 0.4 * x) * rng.normal(size=rows)
        seconds = np.exp(3 + x + noise)
        return {"x": x.astype("float32")}, {"watch": seconds.astype("float32")}

    model = _model([tfmtl.Task("watch", kind="regression", loss="log_mse")])
    model.start_at({"watch": 20.0})
    model.compile(keras.optimizers.Adam(0.01))  # and not eagerly
    model.fit(*draw(20_000, 0), batch_size=512, epochs=3, verbose=0)
    inputs, labels = draw(200_000, 1)
    total = labels["watch"].sum()
    before = model.predict(inputs, batch_size=9999, verbose=0)["watch"][:, 0]
    _calibrate(model, _dataset(*draw(20_000, 2), batch=5000))
    after = model.predict(inputs, batch_size=9999, verbose=0)["watch"][:, 0]
    assert 0.5 < before.sum() / total < 0.65
    assert 0.97 < after.sum() / total < 1.03
    assert exact.spearman(before, after) == pytest.approx(1, abs=1e-9)


def test_a_model_of_a_time_without_calibrations_loads(tmp_path):
    """Its file says nothing of them, and has no weights for them."""
    model, inputs = _model(_tasks("none", "none")), _data()[0]
    model.save(tmp_path / "new.keras")
    with (
        zipfile.ZipFile(tmp_path / "new.keras") as new,
        zipfile.ZipFile(tmp_path / "old.keras", "w") as old,
    ):
        for name in new.namelist():
            text = new.read(name)
            if name == "config.json":
                config = json.loads(text)
                for task in config["config"]["tasks"]:
                    del task["config"]["calibration"], task["config"]["calibration_by"]
                text = json.dumps(config)
            old.writestr(name, text)
    again = keras.models.load_model(tmp_path / "old.keras")
    assert not again.calibrations
    _same(_outputs(model, inputs), _outputs(again, inputs))


# By domain.


def _domains(rows=1200, seed=0):
    """Three tabs, of which the second watches thrice as long, and the last is rare."""
    inputs, labels = _data(rows, seed)
    tab = np.where(np.arange(rows) % 2, 1, 2).astype("int64")
    tab[:20] = 3
    labels["watch"] *= np.float32([0, 1, 3, 1])[tab]
    return inputs | {"tab": tab}, labels


def _model_by_tab(method="scale", **changes):
    keras.utils.set_random_seed(0)
    task = tfmtl.Task(
        "watch", kind="regression", loss="log_mse", calibration=method,
        calibration_by="tab", **changes,
    )  # fmt: skip
    features = [tfmtl.Numeric("x"), tfmtl.Categorical("tab", vocabulary_size=5)]
    model = tfmtl.models.get("shared_bottom")(features, [task], units=(8,))
    for weight in model.trainable_weights:
        weight.assign(0.3 * keras.ops.abs(weight))
    return model


@pytest.mark.parametrize("method", ["scale", "isotonic"])
def test_each_domain_with_rows_enough_has_its_own(method):
    inputs, labels = _domains(3000)
    model = _model_by_tab(method)
    before = _outputs(model, inputs)["watch"][:, 0]
    found = _calibrate(model, _dataset(inputs, labels))["watch"]
    assert found["by"] == "tab" and found["apart"] == [1, 2]
    p = _outputs(model, inputs)["watch"][:, 0].astype(float)
    for tab in (1, 2):
        rows = inputs["tab"] == tab
        ratio = p[rows].sum() / labels["watch"][rows].sum()
        assert ratio == pytest.approx(1, abs=1e-4 if method == "scale" else 0.02)
    total = p.sum() / labels["watch"].sum(dtype=float)
    assert found["after"] == pytest.approx(total, rel=1e-4)
    assert found["before"] == pytest.approx(before.sum() / labels["watch"].sum(), 1e-4)


def test_the_factor_of_the_others_is_that_of_all_rows():
    inputs, labels = _domains()
    by_tab, alone = _model_by_tab(), _model_by_tab()
    _calibrate(by_tab, _dataset(inputs, labels))
    _calibrate(alone, _dataset(inputs | {"tab": np.full(1200, 3)}, labels))
    scale, of_all = (m.calibrations["watch"].scale.numpy() for m in (by_tab, alone))
    assert scale[0] == scale[3] == scale[4]
    assert of_all[3] == of_all[0]  # all rows are of one domain
    inputs["tab"] = np.ones(1200, "int64")
    assert float(scale[2]) > 2 * float(scale[1]) > 0


def test_calibrations_by_domain_are_saved_and_served(tmp_path):
    inputs, labels = _domains()
    model = _model_by_tab("isotonic")
    _calibrate(model, _dataset(inputs, labels))
    expected = _outputs(model, inputs)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    _same(expected, _outputs(again, inputs), rtol=1e-6)
    tfmtl.export(model, tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    given = {name: tf.constant(value) for name, value in inputs.items()}
    _same(expected, served.signatures["serving_default"](**given), rtol=1e-4)
    model.reset_calibrations()
    _same(_outputs(_model_by_tab("isotonic"), inputs), _outputs(model, inputs))


def test_what_calibrations_cannot_be_by():
    def make(by, **options):
        features = [tfmtl.Numeric("x"), tfmtl.Categorical("user", num_buckets=5000)]
        task = tfmtl.Task("click", calibration_by=by, **options)
        tfmtl.models.get("shared_bottom")(features, [task])

    with pytest.raises(ValueError, match="calibration_by of task 'click' needs a cal"):
        make("user")
    with pytest.raises(ValueError, match="at most 1000 ids. Received: .*'user' with"):
        make("user", calibration="platt")
    with pytest.raises(
        ValueError, match="_by of task 'click' must be the name of .* 'usr'"
    ):
        make("usr", calibration="platt")
