"""Exact metrics against loops over rows and pairs."""

import numpy as np
import pytest

from tfmtl.metrics import exact


def naive_auc(label, score, weight):
    won = total = 0.0
    for i in np.flatnonzero(label == 1):
        for j in np.flatnonzero(label == 0):
            pair = weight[i] * weight[j]
            total += pair
            won += pair * ((score[i] > score[j]) + 0.5 * (score[i] == score[j]))
    return won / total if total else np.nan


def naive_xauc(label, score, weight):
    won = total = 0.0
    for i in range(len(label)):
        for j in range(i):
            if label[i] != label[j]:
                pair = weight[i] * weight[j]
                total += pair
                sign = np.sign(label[i] - label[j]) * np.sign(score[i] - score[j])
                won += pair * (sign + 1) / 2
    return won / total if total else np.nan


def naive_gauc(label, score, group, weight):
    won = total = 0.0
    for g in np.unique(group):
        at = group == g
        value = naive_auc(label[at], score[at], weight[at])
        if not np.isnan(value):
            won += weight[at].sum() * value
            total += weight[at].sum()
    return won / total if total else np.nan


@pytest.fixture
def rows():
    random = np.random.default_rng(3)
    score = random.integers(1, 20, 300) / 20  # with many ties
    label = (random.random(300) < score).astype(np.float32)
    weight = random.integers(0, 4, 300) / 2
    return label, score.astype(np.float32), weight


@pytest.mark.parametrize("weighted", [False, True])
def test_auc_counts_pairs_and_half_of_ties(rows, weighted):
    label, score, weight = rows
    given, used = (weight, weight) if weighted else (None, np.ones(300))
    expected = naive_auc(label, score, used)
    assert exact.auc(label, score, given) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_gauc_is_the_mean_of_the_users_weighted_by_impressions(rows, weighted):
    label, score, weight = rows
    user = np.random.default_rng(4).geometric(0.05, 300)  # many with one class
    given, used = (weight, weight) if weighted else (None, np.ones(300))
    expected = naive_gauc(label, score, user, used)
    found = exact.grouped_auc(label, score, user, given)
    assert found == pytest.approx(expected, abs=1e-12)
    assert found != pytest.approx(exact.auc(label, score, given), abs=1e-3)
    one_group = exact.grouped_auc(label, score, np.zeros(300), given)
    assert one_group == pytest.approx(exact.auc(label, score, given), abs=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("labels", [2, 3, 8, 300])
def test_xauc_counts_pairs_of_different_labels(rows, weighted, labels):
    _, score, weight = rows
    random = np.random.default_rng(labels)
    label = random.integers(0, labels, 300) + np.round(8 * score)
    given, used = (weight, weight) if weighted else (None, np.ones(300))
    expected = naive_xauc(label, score, used)
    assert exact.xauc(label, score, given) == pytest.approx(expected, abs=1e-12)


def test_xauc_of_two_labels_is_the_auc(rows):
    label, score, weight = rows
    auc = exact.auc(label, score, weight)
    assert exact.xauc(label, score, weight) == pytest.approx(auc, abs=1e-12)
    assert exact.xauc(label, label) == 1 and exact.xauc(label, -label) == 0


def test_xauc_of_many_rows_is_fast():
    """A million pairs of pairs: only O(n log n) ends in a test's time."""
    label = np.arange(200_000.0)
    assert exact.xauc(label, label % 100_000) == pytest.approx(
        (2 * 100_000 * 99_999 / 2 + 100_000 * (100_000 - 1) / 2 + 100_000 / 2)
        / (200_000 * 199_999 / 2),
        abs=1e-9,
    )


def test_what_is_not_defined_is_nan(rows):
    ones, scores = np.ones(3), np.array([0.1, 0.2, 0.3])
    nothing, none = np.zeros(3), np.array([])
    for value in (
        exact.auc(ones, scores),
        exact.auc(none, none),
        exact.pr_auc(none, none),
        exact.pr_auc([], []),
        exact.auc(np.array([0, 1, 1]), scores, np.array([0, 1, 1])),
        exact.grouped_auc(np.array([0, 1, 1]), scores, np.array([1, 2, 2])),
        exact.grouped_auc(none, none, none),
        exact.xauc(ones, scores),
        exact.xauc(none, none),
        exact.normalized_entropy(ones, scores),
        exact.calibration(nothing, scores),
        exact.log_loss(ones, scores, nothing),
        exact.mae(none, none),
        exact.rmse(none, none),
        exact.spearman(ones, scores),
        exact.expected_calibration_error(none, none),
    ):
        assert np.isnan(value)


def test_losses_by_hand():
    label, score = np.float32([1, 0, 1, 0]), np.float32([0.8, 0.4, 0.4, 0.2])
    loss = -np.log([0.8, 0.6, 0.4, 0.8])
    assert exact.log_loss(label, score) == pytest.approx(loss.mean(), rel=1e-6)
    weight = np.array([1, 0, 3, 2])
    weighted = (loss * weight).sum() / 6
    assert exact.log_loss(label, score, weight) == pytest.approx(weighted, rel=1e-6)
    entropy = -(4 / 6 * np.log(4 / 6) + 2 / 6 * np.log(2 / 6))
    found = exact.normalized_entropy(label, score, weight)
    assert found == pytest.approx(weighted / entropy, rel=1e-6)
    assert exact.calibration(label, score) == pytest.approx(0.9)
    assert exact.calibration(label, score, weight) == pytest.approx(2.4 / 4)
    y, p = np.array([1.0, 2, 3, 10]), np.array([2.0, 1, 3, 4])
    assert exact.mae(y, p) == 2 and exact.mae(y, p, weight) == (1 + 12) / 6
    assert exact.rmse(y, p) == pytest.approx(np.sqrt(38 / 4))
    assert exact.rmse(y, p, weight) == pytest.approx(np.sqrt(73 / 6))
    assert exact.spearman(y, p) == pytest.approx(0.8)  # one swap of neighbours
    counts, means = np.array([0, 2]), np.array([0.5, 1])
    deviance = (2 * 0.5 + 2 * (2 * np.log(2) - 1)) / 2
    assert exact.poisson_deviance(counts, means) == pytest.approx(deviance)


def test_rows_of_no_weight_may_hold_anything():
    label, score = np.array([1, 0, np.nan]), np.array([0.6, 0.3, np.nan])
    weight = np.array([1, 1, 0])
    for metric in (exact.log_loss, exact.calibration, exact.mae, exact.rmse):
        expected = metric(label[:2], score[:2])
        assert metric(label, score, weight) == pytest.approx(expected), metric


def test_ranks_share_ties():
    values = np.array([3.0, 1.0, 3.0, 2.0, 3.0])
    assert exact.ranks(values).tolist() == [4, 1, 4, 2, 4]


def test_ranks_and_curves_weigh_a_row_like_that_many_rows():
    random = np.random.default_rng(4)
    a, b = random.integers(0, 9, (2, 60)).astype(float)
    weight = random.integers(0, 4, 60)
    many = np.repeat(np.arange(60), weight)
    expected = exact.ranks(a[many])
    once = np.unique(many, return_index=True)[1]
    np.testing.assert_allclose(exact.ranks(a, weight)[weight > 0], expected[once])
    expected = exact.spearman(a[many], b[many])
    assert exact.spearman(a, b, weight) == pytest.approx(expected, abs=1e-12)
    assert abs(expected - exact.spearman(a, b)) > 1e-3
    assert np.isnan(exact.spearman(a, b, np.zeros(60)))
    label = (a > 4).astype(float)
    weighted = exact.roc(label, b, 1000, weight)
    np.testing.assert_allclose(weighted, exact.roc(label[many], b[many], 1000))


def test_precision_and_recall_are_those_of_every_threshold(rows):
    label, score = rows[0] > 0.5, rows[1]
    curve = exact.roc(label, score, points=10_000)
    found = exact.precision_recall(curve, label.mean())
    expected = [
        [np.sum(label & chosen) / np.sum(label), np.mean(label[chosen])]
        for chosen in (score >= at for at in np.unique(score)[::-1])
    ]
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert exact.precision_recall([], 0.5) == []


def test_area_under_the_roc_curve_is_the_auc(rows):
    label, score, _ = rows
    x, y = np.array(exact.roc(label, score, points=10_000)).T
    assert [x[0], y[0], x[-1], y[-1]] == [0, 0, 1, 1]
    area = np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)
    assert area == pytest.approx(exact.auc(label, score), abs=1e-4)
    thin = np.array(exact.roc(label, score, points=5))
    assert len(thin) <= 6 and thin[0].tolist() == [0, 0] and thin[-1].tolist() == [1, 1]


def test_calibration_bins_hold_every_row_once():
    score = np.linspace(0, 1, 25)
    label = (score > 0.5).astype(float)
    bins = exact.calibration_bins(label, score, bins=4)
    assert [rows for _, _, rows in bins] == [7, 6, 6, 6]
    assert bins[0][:2] == [score[:7].mean(), 0.0]
    assert bins[-1][:2] == [score[-6:].mean(), 1.0]
    gaps = [abs(p - y) * n for p, y, n in bins]
    error = exact.expected_calibration_error(label, score, bins=4)
    assert error == pytest.approx(sum(gaps) / 25)
    weight = np.where(score < 0.5, 0, 1 + score)  # halves of what is left
    (p, y, n), (_, _, m) = exact.calibration_bins(label, score, 2, weight)
    assert (y, n, m) == (pytest.approx(1 - 1.5 / weight[12:19].sum()), 7, 6)
    assert p == pytest.approx(np.average(score[12:19], weights=weight[12:19]))


def test_mtl_gain_is_positive_where_learning_together_is_better():
    alone = {"a_auc": 0.7, "val_a_auc/tab=1": 0.6, "w_mae": 5.0, "w_loss": 2.0}
    alone |= {"a_calibration": 0.9, "only_here_auc": 1.0}
    together = {"a_auc": 0.75, "val_a_auc/tab=1": 0.58, "w_mae": 4.0, "w_loss": 2.5}
    together |= {"a_calibration": 1.3, "only_there_auc": 1.0}
    assert exact.mtl_gain(together, alone) == pytest.approx(
        {
            "a_auc": 0.05,
            "val_a_auc/tab=1": -0.02,
            "w_mae": 1.0,
            "w_loss": -0.5,
            "a_calibration": -0.2,
        }
    )
    with pytest.raises(ValueError, match="must have metrics of the same names"):
        exact.mtl_gain({"a_auc": 1}, {"b_auc": 1})
    with pytest.raises(ValueError, match="Received: 'a_speed'"):
        exact.mtl_gain({"a_speed": 1}, {"a_speed": 1})
