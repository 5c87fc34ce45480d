import numpy as np
import pytest

from pipeline import metrics


def naive_auc(label, score):
    pairs = [
        (score[i] > score[j]) + 0.5 * (score[i] == score[j])
        for i in np.flatnonzero(label == 1)
        for j in np.flatnonzero(label == 0)
    ]
    return sum(pairs) / len(pairs)


@pytest.fixture
def rows():
    random = np.random.default_rng(3)
    score = random.integers(1, 20, 300) / 20  # with many ties
    return (random.random(300) < score).astype(np.float32), score.astype(np.float32)


def test_auc_counts_pairs_and_half_of_ties(rows):
    assert metrics.auc(*rows) == pytest.approx(naive_auc(*rows), abs=1e-12)


def test_ranks_share_ties():
    values = np.array([3.0, 1.0, 3.0, 2.0, 3.0])
    assert metrics.ranks(values).tolist() == [4, 1, 4, 2, 4]


def test_binary_metrics_by_hand():
    label = np.float32([1, 0, 1, 0])
    score = np.float32([0.8, 0.4, 0.4, 0.2])
    found = metrics.measure("binary", label, score)
    loss = -np.mean(np.log([0.8, 0.6, 0.4, 0.8]))
    assert found == pytest.approx(
        {
            "invalid": 0,
            "mean": 0.45,
            "auc": 3.5 / 4,
            "log_loss": loss,
            "normalized_entropy": loss / np.log(2),
            "calibration": 0.9,
        },
        rel=1e-6,
    )


def test_regression_metrics_by_hand():
    label = np.float32([1, 2, 3, 10])
    score = np.float32([2, 1, 3, 4])  # ranks 2 1 3 4: one swap of neighbours
    found = metrics.measure("regression", label, score)
    assert found == pytest.approx(
        {
            "invalid": 0,
            "mean": 2.5,
            "spearman": 0.8,
            "mae": 2.0,
            "rmse": np.sqrt(38 / 4),
            "calibration": 10 / 16,
        },
        rel=1e-6,
    )


def test_one_class_has_no_auc_but_a_loss():
    found = metrics.measure("binary", np.zeros(3), np.full(3, 0.5))
    assert found["auc"] is None
    assert found["normalized_entropy"] is None
    assert found["calibration"] is None
    assert found["log_loss"] == pytest.approx(np.log(2))


def test_constant_scores_have_no_rank_correlation():
    found = metrics.measure("regression", np.arange(3.0), np.ones(3))
    assert found["spearman"] is None
    assert found["mae"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "kind, bad", [("binary", np.nan), ("binary", 1.5), ("regression", np.inf)]
)
def test_invalid_predictions_leave_no_metric(kind, bad):
    label, score = np.array([0.0, 1.0, 1.0]), np.array([0.1, bad, 0.3])
    found = metrics.measure(kind, label, score)
    assert found.pop("invalid") == 1
    assert found and set(found.values()) == {None}
    assert found.keys() | {"invalid"} == metrics.measure(kind, label, label).keys()


def test_area_under_the_roc_curve_is_the_auc(rows):
    x, y = np.array(metrics.roc(*rows, points=10_000)).T
    assert [x[0], y[0], x[-1], y[-1]] == [0, 0, 1, 1]
    area = np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)
    assert area == pytest.approx(metrics.auc(*rows), abs=1e-4)
    thin = np.array(metrics.roc(*rows, points=5))
    assert len(thin) <= 6 and thin[0].tolist() == [0, 0] and thin[-1].tolist() == [1, 1]


def test_calibration_bins_hold_every_row_once():
    score = np.linspace(0, 1, 25)
    bins = metrics.calibration_bins((score > 0.5).astype(float), score, bins=4)
    assert [rows for _, _, rows in bins] == [7, 6, 6, 6]
    assert bins[0][:2] == [score[:7].mean(), 0.0]
    assert bins[-1][:2] == [score[-6:].mean(), 1.0]
