"""Checkpoints: what survives, what is best, when it stops."""

import json

import keras
import numpy as np
import pytest

import tfmtl
from tfmtl.training import Checkpoints


def _model():
    model = tfmtl.models.get("shared_bottom")(
        features=[tfmtl.Numeric("x")], tasks=[tfmtl.Task("click")], units=(4,)
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


def test_an_auc_is_maximised(tmp_path):
    _, checkpoints, _ = _play(tmp_path, [0.6, 0.8, 0.7], monitor="val_click_auc")
    assert checkpoints.best_epoch == 2


def test_a_file_half_written_is_not_taken(tmp_path):
    _, _, _ = _play(tmp_path, [1.0])
    (tmp_path / "new.weights.h5").write_bytes(b"half")
    (tmp_path / "history.new").write_text("[{")
    model = _model()
    assert Checkpoints(tmp_path).resume(model) == 1
    assert json.loads((tmp_path / "history.json").read_text()) == [{"val_loss": 1.0}]


def test_unknown_monitor(tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'loss'"):
        _fit(_model(), Checkpoints(tmp_path, monitor="los"), 1)
    with pytest.raises(ValueError, match="patience must be a positive integer"):
        Checkpoints(tmp_path, patience=0)
