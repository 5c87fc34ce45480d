import numpy as np
import pytest

from pipeline.components.evaluator import metrics


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
    assert found == metrics.measure("count", label, score)
    assert found == pytest.approx(
        {
            "invalid": 0,
            "mean": 2.5,
            "spearman": 0.8,
            "xauc": 5 / 6,
            "mae": 2.0,
            "rmse": np.sqrt(38 / 4),
            "calibration": 10 / 16,
        },
        rel=1e-6,
    )


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_a_row_weighs_like_that_many_rows(kind):
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 40).astype(float)
    score = random.integers(0, 9, 40) / 8
    weight = random.integers(1, 4, 40)
    many = np.repeat(np.arange(40), weight)
    group = np.arange(40) % 5 - 1
    found = metrics.measure(kind, label, score, weight, group)
    expected = metrics.measure(kind, label[many], score[many], None, group[many])
    assert found == pytest.approx(expected, rel=1e-9)
    assert found != pytest.approx(metrics.measure(kind, label, score, None, group))


def test_grouped_auc_by_hand():
    label = np.float32([1, 0, 1, 0, 0, 1, 1])
    score = np.float32([0.9, 0.1, 0.2, 0.8, 0.7, 0.1, 0.9])
    # User 0 is in order, user 1 is not, user 2 has one class, -1 is nobody.
    group = np.array([0, 0, 1, 1, 1, -1, 2])
    found = metrics.measure("binary", label, score, group=group)
    assert found["gauc"] == pytest.approx(2 / 5)
    weight = np.float32([3, 1, 1, 1, 2, 9, 9])
    found = metrics.measure("binary", label, score, weight, group)
    assert found["gauc"] == pytest.approx(4 / 8)
    assert "gauc" not in metrics.measure("binary", label, score)
    bad = metrics.measure("binary", label, score + 1, group=group)
    assert bad["gauc"] is None and bad["invalid"] == 7
    alone = metrics.measure("binary", label, score, group=np.arange(7))
    assert alone["gauc"] is None


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
