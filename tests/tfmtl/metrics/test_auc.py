"""The AUC metric against counting pairs."""

import keras
import numpy as np
import pytest

from tfmtl.metrics import AUC


def _pairs(label, score, weight):
    won = total = 0.0
    for i in np.flatnonzero(label == 1):
        for j in np.flatnonzero(label == 0):
            pair = weight[i] * weight[j]
            total += pair
            won += pair * ((score[i] > score[j]) + 0.5 * (score[i] == score[j]))
    return won / total


@pytest.mark.parametrize("rate", [0.5, 0.02])
def test_is_the_share_of_pairs_in_order(rate):
    rng = np.random.default_rng(0)
    label = (rng.random(600) < rate).astype("float32")
    logit = rng.normal(size=600) + label + np.log(rate)
    score = (1 / (1 + np.exp(-logit))).astype("float32")
    score[:50] = score[50:100]  # ties
    weight = rng.integers(0, 3, 600).astype("float32")
    metric = AUC()
    for part in np.split(np.arange(600), 6):
        metric.update_state(label[part], score[part][:, None], weight[part])
    assert (
        abs(float(metric.result()) - _pairs(label, score, weight)) < 1e-3
    )  # pairs in one bin


def test_rare_scores_are_told_apart():
    """All probabilities below 0.005: keras's AUC sees one bin."""
    rng = np.random.default_rng(1)
    score = rng.uniform(1e-4, 4e-3, 8_000).astype("float32")
    label = (rng.random(8_000) < score).astype("float32")
    ours, keras_ = AUC(), keras.metrics.AUC()
    ours.update_state(label, score)
    keras_.update_state(label, score)
    assert abs(float(ours.result()) - _pairs(label, score, np.ones(8_000))) < 1e-3
    assert float(keras_.result()) == pytest.approx(0.5)


def test_one_class_is_nan_and_not_zero():
    metric = AUC()
    assert np.isnan(float(metric.result()))
    metric.update_state([1, 1], [0.2, 0.7])
    assert np.isnan(float(metric.result()))
    metric.update_state([0, 0], [0.1, 0.3], [0, 0])  # of no weight
    assert np.isnan(float(metric.result()))
    metric.update_state([0], [0.3])
    assert float(metric.result()) == 0.5
    metric.reset_state()
    assert np.isnan(float(metric.result()))


def test_scores_at_the_ends():
    metric = AUC()
    metric.update_state([0, 0, 1, 1], [0.0, 0.5, 0.5, 1.0])
    assert float(metric.result()) == pytest.approx(0.875)
