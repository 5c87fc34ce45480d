"""Tasks of several classes: the loss by hand, outputs of the model and of an export."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import Task, losses
from tfmtl.metrics import exact
from tfmtl.metrics.exact import influence

SOFTMAX = {"name": "softmax", "classes": 3}


def test_the_loss_and_its_gradient_by_hand():
    # p is 1/6, 2/6, 3/6
    z = tf.Variable(np.log(np.float32([[1, 2, 3], [1, 2, 3]])))
    task = Task("rating", kind="classes", loss=SOFTMAX)
    label, weight = np.float32([2, 0]), np.float32([1, 3])
    with tf.GradientTape() as tape:
        found = task.activate(z)
        rows = label, found[:, 0], weight
        loss = task.loss_value(*rows, logits=found[:, 1:])
    np.testing.assert_allclose(found[:, 0], [8 / 6, 8 / 6], rtol=1e-6)
    assert float(loss) == pytest.approx((math.log(2) + 3 * math.log(6)) / 4)
    # w_i / W (p_k - 1[k = y])
    expected = [[1 / 24, 2 / 24, -3 / 24], [-15 / 24, 6 / 24, 9 / 24]]
    np.testing.assert_allclose(tape.gradient(loss, z), expected, atol=1e-6)


def test_label_smoothing_shares_the_label_out():
    z = np.log(np.float32([[1, 2, 3]]))
    loss = losses.get(SOFTMAX | {"label_smoothing": 0.3}, "classes")
    value = 0.8 * math.log(2) + 0.1 * math.log(3) + 0.1 * math.log(6)
    assert float(loss.of_rows(np.float32([2]), None, z)[0]) == pytest.approx(value)


@pytest.mark.parametrize("mean", [0.01, 1.0, 1.7, 3.99])
def test_an_untrained_model_predicts_the_mean_class(mean):
    loss = losses.Softmax(classes=5)
    z = np.float32([loss.logits_at(mean)])
    assert float(loss.activate(z)[0, 0]) == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize("classes", [1, 2.0, 2000])
def test_the_number_of_classes_is_checked(classes):
    with pytest.raises(ValueError, match="classes of the loss 'softmax' must be"):
        losses.get({"name": "softmax", "classes": classes}, "classes")


def test_outputs_must_differ():
    with pytest.raises(ValueError, match="Outputs of tasks and classes.*rating_1"):
        tfmtl.models.get("shared_bottom")(
            [tfmtl.Numeric("x")],
            [Task("rating", kind="classes", loss=SOFTMAX), Task("rating_1")],
        )


@pytest.fixture(scope="module")
def trained():
    """A model of a click and of the three classes that an item's id tells."""
    tasks = [
        Task("click"),
        Task(
            "rating",
            kind="classes",
            loss=SOFTMAX,
            metrics=("accuracy", "cross_entropy", "accuracy/item"),
            space="click",
        ),
    ]
    features = [tfmtl.Categorical("item", vocabulary_size=7, embedding_dim=8)]
    model = tfmtl.models.get("shared_bottom")(features, tasks, units=(8,))
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    x = {"item": np.arange(600) % 6 + 1}
    y = {"click": np.float32(x["item"] > 1), "rating": np.float32(x["item"] % 3)}
    history = model.fit(x, y, epochs=2, validation_data=(x, y), verbose=0)
    return model, x, y, history.history


def test_the_classes_are_learnt_and_measured(trained):
    model, x, y, history = trained
    predicted = model.predict(x, verbose=0)
    assert list(predicted) == ["click", "rating", "rating_0", "rating_1", "rating_2"]
    p = np.concatenate([predicted[f"rating_{k}"] for k in range(3)], axis=1)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(p @ [0, 1, 2], predicted["rating"][:, 0], atol=1e-6)
    inside = y["click"] == 1
    label = y["rating"][inside]
    logs = {name: values[-1] for name, values in history.items()}
    assert logs["val_rating_accuracy"] == exact.accuracy(label, p[inside]) > 0.9
    expected = exact.log_loss(label, p[inside])
    assert logs["val_rating_cross_entropy"] == pytest.approx(expected, rel=1e-3)
    assert logs["val_rating_loss"] == pytest.approx(expected, rel=1e-3)
    assert math.isnan(logs["val_rating_accuracy/item=1"])  # outside of the space
    assert model.predict({"item": np.zeros(0, int)})["rating_2"].shape == (0, 1)


def test_an_export_serves_mean_and_classes(trained, tmp_path):
    model, x, _, _ = trained
    predicted = model.predict(x, verbose=0)
    tfmtl.export(model, tmp_path / "1", fused_score={"rating_2": 2.0})
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    items = tf.constant(x["item"][:6])
    served = loaded.signatures["rank"](item=items)
    for name, values in predicted.items():
        np.testing.assert_allclose(served[name], values[:6], atol=1e-6)
    np.testing.assert_allclose(
        served["score"], predicted["rating_2"][:6] ** 2, atol=1e-6
    )
    example = tf.train.Example()
    example.features.feature["item"].int64_list.value.append(2)
    found = loaded.signatures["classify"](inputs=[example.SerializeToString()])
    names = [name.decode() for name in found["classes"].numpy()[0]]
    assert names == ["click", "rating_0", "rating_1", "rating_2"]
    expected = [predicted[name][1, 0] for name in names]
    np.testing.assert_allclose(found["scores"][0], expected, atol=1e-6)
    card = tfmtl.model_card.read(tmp_path / "1")["tasks"][1]
    assert (card["range"], card["classes"]) == ([0.0, 2.0], 3)


@pytest.mark.parametrize("by", [1, 0.5])
@pytest.mark.parametrize("as_dataset", [False, True])
def test_a_label_that_is_no_class_is_refused(trained, by, as_dataset):
    model, x, y, _ = trained
    given = x, y | {"rating": y["rating"] + by}
    if as_dataset:  # by the step
        given = (tf.data.Dataset.from_tensor_slices(given).batch(32),)
    with pytest.raises(Exception, match="must be a class from 0 to 2"):
        model.evaluate(*given, verbose=0)


def test_exact_metrics_and_what_moves_them():
    label = np.array([0, 1, 2, 2, 1])
    p = np.array([[3, 1, 1], [1, 3, 1], [1, 3, 1], [1, 1, 3], [3, 1, 1]]) / 5
    weight = np.array([1, 2, 1, 1, 0.5])
    assert exact.accuracy(label, p, weight) == pytest.approx(4 / 5.5)
    loss = (4 * math.log(5 / 3) + 1.5 * math.log(5)) / 5.5
    assert exact.log_loss(label, p, weight) == pytest.approx(loss)
    shares = np.array([1, 2.5, 2]) / 5.5
    entropy = -(shares * np.log(shares)).sum()
    assert exact.normalized_entropy(label, p, weight) == pytest.approx(loss / entropy)
    for name in ("accuracy", "log_loss", "normalized_entropy"):
        metric, moved = getattr(exact, name), getattr(influence, name)
        found = moved(label, p, weight)
        assert found.sum() == pytest.approx(0, abs=1e-12)
        for i in range(
            len(label)
        ):  # the derivative by a row's weight, times the weight
            more = weight.copy()
            more[i] *= 1 + 1e-6
            change = (metric(label, p, more) - metric(label, p, weight)) / 1e-6
            assert found[i] == pytest.approx(change, abs=1e-5)


def test_two_classes_are_a_binary_task():
    rng = np.random.default_rng(0)
    label, p = rng.integers(0, 2, 50), rng.random(50)
    of_classes = np.stack([1 - p, p], axis=1)
    for name in ("log_loss", "normalized_entropy"):
        for module in (exact, influence):
            metric = getattr(module, name)
            np.testing.assert_allclose(metric(label, of_classes), metric(label, p))
