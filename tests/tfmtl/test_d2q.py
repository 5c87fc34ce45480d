"""D2Q: quantiles of watch time among videos of one length, and back to seconds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import Task, losses

# Of three groups: missing durations, short videos with ties at 0, long ones.
LEVELS = [[0, 1, 2, 3, 4], [0, 0, 0, 6, 10], [0, 20, 40, 80, 100]]


def _loss(levels=LEVELS):
    return losses.D2Q(group="length", levels=levels)


@pytest.mark.parametrize(
    ("seconds", "group", "quantile"),
    [
        (40, 2, 0.5),
        (50, 2, 0.5 + 0.25 / 4),  # a quarter of the way from 40 to 80
        (0, 2, 0.0),
        (100, 2, 1.0),
        (250, 2, 1.0),
        (-3, 2, 0.0),
        (0, 1, 0.25),  # the middle of 0, 1/4 and 1/2
        (3, 1, 0.5 + 0.5 / 4),
        (8, 1, 0.75 + 0.5 / 4),
        (1.5, 0, 0.375),
        (1.5, 7, 0.375),  # no such group: that of missing durations
    ],
)
def test_a_label_is_its_quantile_in_its_group(seconds, group, quantile):
    found = _loss().quantile(np.float32([seconds]), np.array([group]))
    assert float(found[0]) == pytest.approx(quantile, abs=1e-6)


@pytest.mark.parametrize(
    ("quantile", "group", "seconds"),
    [(0.5, 2, 40), (0.5625, 2, 50), (0, 2, 0), (1, 2, 100), (0.3, 1, 0), (0.6, 1, 2.4)],
)
def test_a_quantile_becomes_seconds_again(quantile, group, seconds):
    found = _loss().label_at(np.float32([quantile]), np.array([group]))
    assert float(found[0]) == pytest.approx(seconds, rel=1e-5)


def test_the_loss_and_its_gradient_by_hand():
    task = Task("watch", kind="regression", loss=_loss())
    z = tf.Variable([[0.0], [0.0], [0.0]])
    groups = tf.constant([2, 1, 2])
    label, weight = np.float32([50, 8, 1e6]), np.float32([1, 3, 0])
    with tf.GradientTape() as tape:
        found = task.in_label_unit(task.activate(z), groups)
        rows = label, found[:, 0], weight
        loss = task.loss_value(*rows, {"length": groups}, found[:, 1:])
    np.testing.assert_allclose(found[:, 0], [40, 0, 40])
    np.testing.assert_allclose(found[:, 1], 0.5)
    # (1 (0.5625 - 0.5)^2 + 3 (0.875 - 0.5)^2) / 4
    assert float(loss) == pytest.approx((0.0625**2 + 3 * 0.375**2) / 4)
    # w / W 2 (q - y) q (1 - q)
    expected = [[-2 * 0.0625 / 4 / 4], [-2 * 0.375 / 4 * 3 / 4], [0]]
    np.testing.assert_allclose(tape.gradient(loss, z), expected, atol=1e-7)


def test_levels_are_the_quantiles_of_each_group():
    rng = np.random.default_rng(0)
    values, groups = rng.exponential(9, 500), rng.integers(1, 3, 500)
    values[0] = np.nan
    found = losses.quantile_levels(values, groups, size=3, intervals=4)
    for group in (1, 2):
        of_group = values[1:][groups[1:] == group]
        expected = np.quantile(of_group, [0, 0.25, 0.5, 0.75, 1])
        np.testing.assert_allclose(found[group], expected)
    np.testing.assert_allclose(found[0, 2], np.nanmedian(values))


@pytest.mark.parametrize("levels", [[[0, 1], [2, 1]], [0, 1], [[1], [2]]])
def test_levels_must_rise(levels):
    with pytest.raises(ValueError, match="levels of the loss 'd2q' must be rows"):
        _loss(levels)


def test_levels_and_groups_must_fit():
    features = [tfmtl.Categorical("length", vocabulary_size=5, embedding_dim=2)]
    task = Task("watch", kind="regression", loss=_loss())
    with pytest.raises(ValueError, match="a row for each of the 5 ids of 'length'"):
        tfmtl.models.get("shared_bottom")(features, [task])


def test_a_model_learns_the_share_that_is_watched_and_serves_seconds(tmp_path):
    rng = np.random.default_rng(1)
    x = {"length": rng.integers(1, 3, 1000), "item": rng.integers(1, 4, 1000)}
    longest = np.where(x["length"] == 1, 10, 100)
    # An item is watched to about 1/4, 2/4 or 3/4, however long it is.
    share = x["item"] / 4 + rng.uniform(-0.05, 0.05, 1000)
    y = {"watch": np.float32(longest * share)}
    levels = losses.quantile_levels(y["watch"], x["length"], size=3)
    features = [
        tfmtl.Categorical("length", vocabulary_size=3, embedding_dim=4),
        tfmtl.Categorical("item", vocabulary_size=4, embedding_dim=4),
    ]
    task = Task("watch", kind="regression", loss=_loss(levels))
    model = tfmtl.models.get("shared_bottom")(features, [task], units=(8,))
    model.compile(optimizer=keras.optimizers.Adam(0.03))
    history = model.fit(x, y, epochs=3, verbose=0, validation_data=(x, y)).history
    predicted = model.predict(x, verbose=0)["watch"][:, 0]
    error = np.abs(predicted - y["watch"]) / longest
    assert error.mean() < 0.06
    assert history["val_watch_mae"][-1] == pytest.approx(
        np.abs(predicted - y["watch"]).mean(), rel=1e-4
    )
    tfmtl.export(model, tmp_path / "1")
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    found = served(**{name: tf.constant(ids[:5]) for name, ids in x.items()})
    np.testing.assert_allclose(found["watch"][:, 0], predicted[:5], rtol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0)["watch"][:, 0], predicted)
