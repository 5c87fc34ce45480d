"""What is not finite stops the training, with the task and the step."""

import keras
import numpy as np
import pytest

import tfmtl
from tfmtl.training import Checkpoints, StopOnNaN

TASKS = [tfmtl.Task("click"), tfmtl.Task("seconds", kind="regression")]


def _model(tasks=TASKS, **options):
    model = tfmtl.models.get("shared_bottom")(
        [tfmtl.Numeric("x")], tasks, units=(4,), activation="tanh"
    )
    model.compile("sgd", **options)
    return model


def _data(rows=40):
    x = np.linspace(-1, 1, rows).astype("float32")
    return {"x": x}, {"click": (x > 0).astype("float32"), "seconds": x + 1}


def _fit(model, x, y, *callbacks, epochs=1, weights=None):
    model.fit(
        x,
        y,
        batch_size=4,
        epochs=epochs,
        sample_weight=weights,
        shuffle=False,
        callbacks=[StopOnNaN(), *callbacks],
        verbose=0,
    )


def test_finite_numbers_pass():
    x, y = _data()
    _fit(_model(), x, y, epochs=2)


@pytest.mark.parametrize("jit", [False, True])
def test_the_loss_of_one_task(jit):
    x, y = _data()
    y["seconds"][26] = np.inf  # in the seventh batch
    with pytest.raises(FloatingPointError) as error:
        _fit(_model(jit_compile=jit), x, y)
    expected = "The loss of task 'seconds' is inf at step 7 of epoch 1, that of click"
    assert str(error.value).startswith(expected)


def test_several_steps_at_once():
    x, y = _data()
    y["seconds"][26] = np.inf
    with pytest.raises(FloatingPointError, match="is inf at steps 5 to 8 of epoch 1"):
        _fit(_model(steps_per_execution=4), x, y)


def test_all_losses():
    x, y = _data()
    x["x"][9] = np.nan
    with pytest.raises(FloatingPointError) as error:
        _fit(_model(), x, y)
    assert "tasks 'click', 'seconds' is nan at step 3 of epoch 1" in str(error.value)
    assert "Look at the features" in str(error.value)


def test_the_gradient_of_one_task():
    """The loss still fits into a float, its gradient times the weight does not."""
    x, y = _data()
    weights = {name: np.ones(40, "float32") for name in y}
    tasks = [TASKS[0], tfmtl.Task("seconds", kind="regression", weight=1e38)]
    y["seconds"][12:16] = 1e15  # squared: 1e30
    with pytest.raises(FloatingPointError) as error:
        _fit(_model(tasks), x, y, weights=weights)
    assert "The loss is not finite at step 4" in str(error.value)  # weight x loss
    y["seconds"][12:16] = 30.0  # squared 900, too little to overflow
    model = _model(tasks)
    model.optimizer.learning_rate = 1e10
    with pytest.raises(FloatingPointError) as error:
        _fit(model, x, y, weights=weights)
    assert "The gradient of task 'seconds' is not finite at step 1" in str(error.value)


def test_a_weight_and_the_last_good_checkpoint(tmp_path):
    """A weight that no loss sees; the epoch before stays."""

    class Break(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.extra.assign([np.nan])

    x, y = _data()
    model = _model()
    model.extra = model.add_weight(shape=(1,), name="extra", trainable=False)
    checkpoints = Checkpoints(tmp_path, "loss")
    with pytest.raises(FloatingPointError, match="after step 10 of epoch 2: .*extra"):
        _fit(model, x, y, Break(), checkpoints, epochs=3)
    assert len(checkpoints.history) == 1
    assert Checkpoints(tmp_path, "loss").resume(model) == 1
    assert np.isfinite(model.extra.numpy()).all()
