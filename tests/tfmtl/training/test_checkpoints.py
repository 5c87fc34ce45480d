"""Checkpoints: what survives, what is best, when it stops."""

import json
import random
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import training_run

import tfmtl
from tfmtl.training import Checkpoints, better
from tfmtl.training import checkpoints as checkpoints_module


def _model(**options):
    model = tfmtl.models.get("shared_bottom")(
        [tfmtl.Numeric("x")], [tfmtl.Task("click", tower=())], units=(4,), **options
    )
    model.compile()
    return model


def _data():
    x = np.linspace(-1, 1, 64).astype("float32")
    return {"x": x}, {"click": (x > 0).astype("float32")}


def _fit(model, checkpoints, epochs):
    model.fit(
        *_data(),
        initial_epoch=checkpoints.resume(model),
        epochs=epochs,
        shuffle=False,
        callbacks=[checkpoints],
        verbose=0,
    )


def test_a_stopped_fit_goes_on_as_if_nothing_had_happened(tmp_path):
    keras.utils.set_random_seed(0)
    whole = _model()
    start = whole.get_weights()
    _fit(whole, Checkpoints(tmp_path / "whole", "loss"), 5)
    first = _model()
    first.set_weights(start)
    _fit(first, Checkpoints(tmp_path / "parts", "loss"), 2)
    second = _model()  # another process: other weights, a new optimizer
    checkpoints = Checkpoints(tmp_path / "parts", "loss")
    _fit(second, checkpoints, 5)
    assert len(checkpoints.history) == 5
    for a, b in zip(whole.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow  # two processes; within one below
def test_a_killed_fit_ends_where_an_undisturbed_one_does(tmp_path):
    """With dropout and noise, shuffled data, and epochs that end within a pass."""
    training_run.write_records(tmp_path)
    undisturbed, whole = training_run.train(tmp_path, "whole", 1)
    step = random.randrange(training_run.STEPS + 1, 3 * training_run.STEPS)
    command = [sys.executable, training_run.__file__, str(tmp_path), "kill", str(step)]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    saved = Checkpoints(tmp_path / "killed", "loss")
    epochs, steps = divmod(step - 1, training_run.STEPS)
    assert (len(saved.history), saved.step) == (epochs, (steps + 1) // 2 * 2), step
    # In another process: other weights, another state of the random generators.
    resumed, parts = training_run.train(tmp_path, "killed", 2)
    for a, b in zip(whole.history, parts.history, strict=True):
        assert a == pytest.approx(b, abs=1e-6)
    for a, b in zip(undisturbed.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    data = training_run.records(tmp_path)
    expected = undisturbed.predict(data, verbose=0)
    for task, values in resumed.predict(data, verbose=0).items():
        np.testing.assert_allclose(values, expected[task], atol=1e-6)


def test_a_training_goes_on_within_its_first_epoch(tmp_path, monkeypatch):
    """And saves after minutes, here whenever the clock has gone on by two."""
    clock = iter(range(0, 10_000, 60))  # it is asked at each step and each save
    monkeypatch.setattr(checkpoints_module, "monotonic", lambda: next(clock))
    (x, y), stop = _data(), KeyboardInterrupt("stop")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 5:
                raise stop

    def fit(folder, *callbacks, seed=1):
        keras.utils.set_random_seed(seed)
        model = _model(dropout=0.3)
        checkpoints = Checkpoints(folder, "loss", minutes=2.0)
        first = checkpoints.resume(model)
        model.fit(
            data.repeat().skip(checkpoints.step),
            initial_epoch=first,
            epochs=2,
            steps_per_epoch=8,
            callbacks=[checkpoints, *callbacks],
            verbose=0,
        )
        return model.get_weights(), checkpoints.history

    whole, history = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", Stop())
    left = Checkpoints(tmp_path / "parts", "loss")
    assert left.step > 0 and not left.history
    names = {path.name for path in (tmp_path / "parts").iterdir()}
    within = f"epoch-1-step-{left.step}"
    assert names == {"history.json", f"{within}.weights.h5", f"{within}.metrics.npz"}
    # In another process: other weights, another state of the random generators.
    parts, again = fit(tmp_path / "parts", seed=2)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for a, b in zip(history, again, strict=True):
        assert a == pytest.approx(b, abs=1e-6, nan_ok=True)
    names = {path.name for path in (tmp_path / "parts").iterdir()}
    assert not any("step" in name for name in names)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "third", Stop())
    model = _model(dropout=0.3)
    checkpoints = Checkpoints(tmp_path / "third", "loss")
    checkpoints.resume(model)
    message = rf"needs `steps_per_epoch`, .* behind the {checkpoints.step} batches"
    checkpoints.set_model(model)
    checkpoints.set_params({"steps": None})
    with pytest.raises(ValueError, match=message):
        checkpoints.on_train_begin()


def _play(tmp_path, values, **options):
    """Lets the callback see epochs with these values; returns it and its model."""
    model = _model()
    checkpoints = Checkpoints(tmp_path, **options)
    checkpoints.set_model(model)
    model.stop_training = False
    seen = []
    for epoch, value in enumerate(values):
        for weight in model.trainable_weights:
            weight.assign(np.full(weight.shape, epoch + 1))
        checkpoints.on_epoch_end(epoch, {checkpoints.monitor: value})
        seen.append(model.stop_training)
    return model, checkpoints, seen


def test_best_epoch_patience_and_files(tmp_path):
    values = [3.0, 1.0, float("nan"), 2.0]
    model, checkpoints, stopped = _play(tmp_path, values, patience=2)
    assert checkpoints.best_epoch == 2
    assert stopped == [False, False, False, True]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["epoch-2.weights.h5", "epoch-4.weights.h5", "history.json"]
    checkpoints.restore_best(model)
    assert all((weight.numpy() == 2).all() for weight in model.trainable_weights)
    again = Checkpoints(tmp_path, patience=2)
    assert again.finished and again.best_epoch == 2
    assert again.resume(model) == 4
    assert all((weight.numpy() == 4).all() for weight in model.trainable_weights)


def test_a_metric_that_is_never_defined_keeps_the_last_epoch(tmp_path):
    """The AUC of a split with one class only tells nothing: no reason to stop."""
    nan = float("nan")
    options = {"monitor": "val_click_auc", "patience": 1}
    _, checkpoints, stopped = _play(tmp_path / "never", [nan, nan, nan], **options)
    assert checkpoints.best_epoch == 3 and not any(stopped)
    _, checkpoints, _ = _play(tmp_path / "late", [nan, 0.6, 0.5], **options)
    assert checkpoints.best_epoch == 2


def test_an_auc_is_maximised(tmp_path):
    _, checkpoints, _ = _play(tmp_path, [0.6, 0.8, 0.7], monitor="val_click_auc")
    assert checkpoints.best_epoch == 2


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [
        ("val_loss", "min"),
        ("val_click_logloss", "min"),
        ("watch_mae", "min"),
        ("val_watch_rmse", "min"),
        ("val_click_ne", "min"),
        ("val_click_auc", "max"),
        ("val_click_gauc", "max"),
        ("val_watch_xauc", "max"),
        ("val_auc_loss", "min"),  # the task is called auc
        ("val_click_auc_tab_3", "max"),
        ("val_click_calibration", "one"),
        ("calibration_error", "min"),
    ],
)
def test_the_name_says_what_is_better(monitor, mode):
    assert better(monitor) == mode


def test_the_mode_says_it_else(tmp_path):
    with pytest.raises(ValueError, match="Give mode='min', 'max' or 'one'"):
        Checkpoints(tmp_path, "val_happiness")
    with pytest.raises(ValueError, match="Did you mean 'max'"):
        Checkpoints(tmp_path, "val_happiness", mode="maxi")
    values = [0.5, 1.5, 0.9, 1.2]
    best = {"min": 1, "max": 2, "one": 3}
    for mode, epoch in best.items():
        options = {"monitor": "val_happiness", "mode": mode}
        assert _play(tmp_path / mode, values, **options)[1].best_epoch == epoch


def test_a_file_half_written_is_not_taken(tmp_path):
    _, _, _ = _play(tmp_path, [1.0])
    (tmp_path / "new.weights.h5").write_bytes(b"half")
    (tmp_path / "history.new").write_text("[{")
    model = _model()
    assert Checkpoints(tmp_path).resume(model) == 1
    saved = json.loads((tmp_path / "history.json").read_text())
    assert saved["epochs"] == [{"val_loss": 1.0}]


def test_unknown_monitor(tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'loss'"):
        _fit(_model(), Checkpoints(tmp_path, monitor="val_loss"), 1)
    _play(tmp_path / "before", [1.0])
    with pytest.raises(ValueError, match="'loss' is not among .* Did you mean 'val_lo"):
        Checkpoints(tmp_path / "before", monitor="loss")
    with pytest.raises(ValueError, match="patience must be a positive integer"):
        Checkpoints(tmp_path, patience=0)
