"""Averages and accumulated gradients: Keras's numbers, and tables without them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import optimizers
from tfmtl.optimizers.dense_part import SLOTS, averages
from tfmtl.training import Checkpoints

RNG = np.random.default_rng(0)
GRADIENTS = RNG.normal(size=(7, 4, 2)).astype("float32")
OPTIONS = {
    "average": {"use_ema": True, "ema_momentum": 0.8},
    "overwritten": {"use_ema": True, "ema_overwrite_frequency": 3},
    "accumulated": {"gradient_accumulation_steps": 3},
    "both": {"use_ema": True, "gradient_accumulation_steps": 2},
    "norm": {"gradient_accumulation_steps": 2, "global_clipnorm": 0.5},
}


def _variables():
    with keras.name_scope("embedding"):
        table = keras.Variable(np.ones((9, 2), "float32"), name="table_2")
    return table, keras.Variable(np.ones((4, 2), "float32"), name="kernel")


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["lazy_adam", "sparse_adagrad", "rowwise_adagrad"])
def test_the_dense_part_is_that_of_keras_and_tables_do_without(name, options):
    options = {"learning_rate": 0.1, **OPTIONS[options]}
    kerases = "adam" if name == "lazy_adam" else "adagrad"
    _, expected = _variables()
    reference = optimizers.get(kerases, **options)
    table, kernel = _variables()
    ours = optimizers.get(name, **options)
    ours.build([table, kernel])
    alone, _ = _variables()
    clip = {k: v for k, v in options.items() if "clip" in k or k == "learning_rate"}
    plain = optimizers.get(name, **clip)
    for step, gradient in enumerate(GRADIENTS):
        rows = tf.IndexedSlices(gradient[:2], [step % 3, 5], (9, 2))
        ours.apply([rows, tf.constant(gradient)])
        plain.apply([rows], [alone])
        reference.apply([tf.constant(gradient)], [expected])
        np.testing.assert_allclose(kernel, expected, rtol=1e-5)
        np.testing.assert_allclose(table, alone, rtol=1e-5)
    for (variable, average), (_, wanted) in zip(
        averages(ours), averages(reference), strict=True
    ):
        assert variable is kernel
        np.testing.assert_allclose(average, wanted, rtol=1e-5)
    waiting = [v for v in ours.variables if v.path.endswith(SLOTS)]
    assert {tuple(v.shape) for v in waiting} == {(4, 2)}
    ours.finalize_variable_values([table, kernel])
    reference.finalize_variable_values([expected])
    np.testing.assert_allclose(kernel, expected, rtol=1e-5)
    np.testing.assert_array_equal(table, alone)


def test_a_table_with_a_dense_gradient_waits_for_nothing():
    steps = [tf.constant(np.ones((9, 2), "float32") * g) for g in (1, 2, 3)]
    tables = []
    for options in ({}, {"gradient_accumulation_steps": 2}):
        table, _ = _variables()
        optimizer = optimizers.LazyAdam(0.1, **options)
        for step in steps:
            optimizer.apply([step], [table])
        tables.append(table.numpy())
    np.testing.assert_array_equal(*tables)


class _Watch(keras.callbacks.Callback):
    """Notes a weight: in training, in validation, and behind it."""

    def __init__(self):
        super().__init__()
        self.before, self.validated, self.after = [], {}, []

    def _kernel(self):
        return self.model.towers["click"].logit.kernel.numpy()

    def on_train_batch_end(self, batch, logs=None):
        self.last = self._kernel()

    def on_test_batch_end(self, batch, logs=None):
        self.validated[len(self.after)] = self._kernel()

    def on_epoch_end(self, epoch, logs=None):
        self.before.append(self.last)
        self.after.append(self._kernel())


def test_fit_validates_averages_and_leaves_those_of_the_best_epoch(tmp_path):
    model = tfmtl.models.get("shared_bottom")(
        [tfmtl.Categorical("user", vocabulary_size=20), tfmtl.Numeric("x")],
        [tfmtl.Task("click")],
        units=(4,),
    )
    model.compile(optimizers.LazyAdam(0.1, use_ema=True), run_eagerly=True)
    x = {"user": np.arange(16), "x": RNG.normal(size=16).astype("float32")}
    y = {"click": (np.arange(16) % 2).astype("float32")}
    # The first epoch is the best: validation has the opposite labels.
    valid = (x, {"click": 1 - y["click"]})
    watch, checkpoints = _Watch(), Checkpoints(tmp_path)
    model.fit(
        x,
        y,
        batch_size=8,
        epochs=3,
        validation_data=valid,
        callbacks=[watch, checkpoints],
        verbose=0,
    )
    np.testing.assert_array_equal(watch.before, watch.after)
    validated = [*watch.validated.values()]
    assert np.abs(np.subtract(validated, watch.after)).max(axis=(1, 2)).all()
    kernel = model.towers["click"].logit.kernel
    np.testing.assert_array_equal(kernel, validated[-1])
    assert checkpoints.best_epoch == 1
    checkpoints.restore_best(model)
    np.testing.assert_array_equal(kernel, validated[0])
    loss = model.evaluate(*valid, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(checkpoints.history[0]["val_loss"], rel=1e-6)
    checkpoints.resume(model)  # the training goes on with its own weights
    np.testing.assert_array_equal(kernel, watch.after[-1])
