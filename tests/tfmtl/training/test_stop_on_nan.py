"""What is not finite stops the training, with the task and the step."""

import keras
import numpy as np
import pytest
from keras import ops

import tfmtl
from tfmtl.training import Checkpoints, StopOnNaN

TASKS = [tfmtl.Task("click"), tfmtl.Task("seconds", kind="regression")]


def _model(**options):
    model = tfmtl.models.get("shared_bottom")([tfmtl.Numeric("x")], TASKS, units=(4,))
    model.compile("sgd", **options)
    return model


def _data(rows=40):
    x = np.linspace(-1, 1, rows).astype("float32")
    return {"x": x}, {"click": (x > 0).astype("float32"), "seconds": x + 1}


def _fit(model, x, y, *callbacks, epochs=1):
    model.fit(
        x,
        y,
        batch_size=4,
        epochs=epochs,
        shuffle=False,
        callbacks=[StopOnNaN(), *callbacks],
        verbose=0,
    )


def test_finite_numbers_pass():
    x, y = _data()
    _fit(_model(), x, y, epochs=2)


def test_the_loss_of_one_task():
    x, y = _data()
    y["seconds"][26] = np.inf  # in the seventh batch
    with pytest.raises(FloatingPointError) as error:
        _fit(_model(), x, y)
    expected = "The loss of task 'seconds' is inf at step 7 of epoch 1, that of click"
    assert str(error.value).startswith(expected)


def test_several_steps_at_once():
    x, y = _data()
    y["seconds"][26] = np.inf
    with pytest.raises(FloatingPointError, match="is nan at steps 5 to 8 of epoch 1"):
        _fit(_model(steps_per_execution=4), x, y)


class Sign(keras.layers.Layer):
    """NaN at 0, of which a ReLU may make 0."""

    def build(self, input_shape):
        self.dense = keras.layers.Dense(4, activation="relu", name="dense")
        self.dense.build(input_shape)

    def call(self, x):
        return dict.fromkeys(["click", "seconds"], self.dense(x / ops.abs(x)))


@pytest.mark.parametrize("jit", [False, True])
def test_what_a_relu_swallows(jit):
    """The weights break, and the losses need not tell."""
    x, y = _data()
    x["x"][9] = 0.0
    model = tfmtl.MultiTaskModel([tfmtl.Numeric("x")], TASKS, Sign(name="sign"))
    model.compile("sgd", jit_compile=jit)
    with pytest.raises(FloatingPointError) as error:
        _fit(model, x, y)
    assert "task" in str(error.value)
    assert "at step 3 of epoch 1" in str(error.value)
    assert "Look at the features" in str(error.value)


def test_tables_by_score_hold_a_scalar_among_their_weights():
    model = tfmtl.models.get("shared_bottom")(
        [tfmtl.Categorical("x", capacity=4)], [tfmtl.Task("click")]
    )
    model.compile("sgd")
    ids = np.arange(8)
    _fit(model, {"x": ids}, {"click": (ids > 3).astype("float32")})


def test_a_few_of_many_weights_are_named():
    x, y = _data()
    model = tfmtl.models.get("ple")([tfmtl.Numeric("x")], TASKS)
    model.compile(keras.optimizers.SGD(float("inf")))
    with pytest.raises(FloatingPointError, match="[0-9]+ more. Look at") as error:
        _fit(model, x, y)
    assert str(error.value).count("/kernel") <= 5


class Root(keras.layers.Layer):
    """Finite itself, but its gradient is infinite at 0."""

    def build(self, input_shape):
        self.click = keras.layers.Dense(2, name="click")
        self.click.build(input_shape)
        self.seconds = keras.layers.Dense(2, use_bias=False, name="seconds")
        self.seconds.build(input_shape)

    def call(self, x):
        return {"click": self.click(x), "seconds": ops.sqrt(ops.abs(self.seconds(x)))}


def test_the_gradient_of_one_task():
    x, y = _data()
    x["x"][26] = 0.0
    model = tfmtl.MultiTaskModel([tfmtl.Numeric("x")], TASKS, Root(name="root"))
    model.compile("sgd")
    with pytest.raises(FloatingPointError) as error:
        _fit(model, x, y)
    expected = "Weights of task 'seconds' are not finite at step 7 of epoch 1"
    assert str(error.value).startswith(expected)
    assert "/root/seconds/kernel." in str(error.value)


def test_a_loss_that_a_layer_adds():
    class Adds(keras.layers.Layer):
        def call(self, x):
            self.add_loss(ops.sum(x) * float("inf"))
            return {"click": x, "seconds": x}

    x, y = _data()
    model = tfmtl.MultiTaskModel([tfmtl.Numeric("x")], TASKS, Adds(name="adds"))
    model.compile("sgd")
    with pytest.raises(FloatingPointError, match="The loss is not finite at step 1"):
        _fit(model, x, y)


def test_a_table_and_the_last_good_checkpoint(tmp_path):
    """A row that no step looks up; the epoch before stays."""

    class Break(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                table.assign(np.full((9, 16), [[0.0]] * 8 + [[np.nan]]))

    x, y = _data()
    x["item"] = np.ones(40, "int32")
    model = tfmtl.models.get("shared_bottom")(
        [tfmtl.Categorical("item", vocabulary_size=9)], TASKS, units=(4,)
    )
    model.compile("sgd")
    table = model.embedding.tables["table_16"]
    checkpoints = Checkpoints(tmp_path, "loss")
    with pytest.raises(
        FloatingPointError, match="after step 10 of epoch 2, .*table_16"
    ):
        _fit(model, x, y, Break(), checkpoints, epochs=3)
    assert len(checkpoints.history) == 1
    assert Checkpoints(tmp_path, "loss").resume(model) == 1
    assert np.isfinite(table.numpy()).all()
