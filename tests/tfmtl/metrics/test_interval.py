"""Influences against derivatives, intervals against the truth they should hold."""

import numpy as np
import pytest
from representatives import fast

from tfmtl.metrics import exact
from tfmtl.metrics.exact import influence
from tfmtl.metrics.exact.interval import (
    holm,
    interval,
    standard_error,
    student_quantile,
    student_two_sided,
)

SCALES = {
    "auc": "logit",
    "grouped_auc": "logit",
    "log_loss": "log",
    "normalized_entropy": "log",
    "calibration": "log",
    "spearman": "atanh",
    "xauc": "logit",
    "mae": "log",
    "rmse": "log",
}
BINARY = ("auc", "pr_auc", "grouped_auc", "log_loss", "normalized_entropy")


def rows_of(metric, rng, rows, users):
    """(user, label, prediction) with users who differ, as do their predictions."""
    user = rng.integers(0, users, rows)
    taste = rng.normal(0, 0.7, users)[user]
    seen = rng.normal(0, 1, rows)
    logit = seen + 0.5 * taste - 1
    if metric in (*BINARY, "calibration"):
        label = rng.random(rows) < 1 / (1 + np.exp(1 - seen - taste))
        return user, label * 1.0, 1 / (1 + np.exp(-logit))
    label = seen + taste + rng.normal(0, 1, rows)
    return user, label, 0.8 * seen + 0.3 * taste


@pytest.mark.parametrize("metric", [*SCALES, "pr_auc"])
@pytest.mark.parametrize("weighted", [False, True])
def test_an_influence_is_the_derivative_by_the_rows_weight(metric, weighted):
    rng = np.random.default_rng(3)
    user, label, score = rows_of(metric, rng, 60, 8)
    score = np.round(score, 1)  # ties
    if metric in ("spearman", "xauc"):
        label = np.round(label)
    weight = rng.uniform(0.5, 2, 60) if weighted else np.ones(60)
    groups = (user,) if metric == "grouped_auc" else ()

    def value(w):
        return getattr(exact, metric)(label, score, *groups, weight=w)

    found = getattr(influence, metric)(label, score, *groups, weight=weight)
    step = 1e-5 * np.eye(60)
    slopes = [(value(weight + s) - value(weight - s)) / 2e-5 for s in step]
    wanted = weight * slopes
    if metric == "grouped_auc":  # by groups, which are what is drawn
        found, wanted = (np.bincount(user, x) for x in (found, wanted))
        of_group = [
            (value(weight * (1 + 1e-5 * at)) - value(weight * (1 - 1e-5 * at))) / 2e-5
            for at in (user == np.arange(8)[:, None])
        ]
        wanted = np.array(of_group)
    np.testing.assert_allclose(found, wanted, atol=1e-8)
    assert abs(found.sum()) < 1e-12


@pytest.mark.parametrize("metric", ["uauc", "ndcg", "mrr", "hit_rate", "grouped_xauc"])
def test_influence_on_a_mean_of_groups_is_what_a_group_adds(metric):
    rng = np.random.default_rng(3)
    user, label, score = rows_of("auc", rng, 90, 9)
    label[user == 4] = 0  # is in no metric
    found = np.bincount(user, getattr(influence, metric)(label, score, user))
    whole = getattr(exact, metric)(label, score, user)
    count = np.bincount(user) if metric == "grouped_xauc" else np.ones(9)
    count = count * (np.arange(9) != 4)
    for u in range(9):
        at = user == u
        if u == 4:
            assert found[u] == 0
            continue
        value = getattr(exact, metric)(label[at], score[at], user[at])
        added = count[u] * (value - whole) / count.sum()
        assert found[u] == pytest.approx(added, abs=1e-12)


def test_the_auc_has_delongs_variance():
    """The variance of placements over each class, by hand."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 300)
    score = np.round(rng.normal(label, 1), 1)
    above = score[label == 1][:, None] - score[label == 0]
    placed = (above > 0) + 0.5 * (above == 0)
    by_positive, by_negative = placed.mean(1), placed.mean(0)
    delong = by_positive.var() / len(by_positive) + by_negative.var() / len(by_negative)
    error, rows = standard_error(influence.auc(label, score))
    assert error**2 == pytest.approx(delong * 300 / 299)
    assert rows == 300


@pytest.mark.parametrize(
    ("metric", "per_user"),
    fast(
        [(m, n) for m in SCALES for n in (10, 1) if (m, n) != ("grouped_auc", 1)],
        [("auc", 10), ("auc", 1), ("grouped_auc", 10), ("mae", 10), ("rmse", 10)]
        + [("log_loss", 10), ("normalized_entropy", 10), ("spearman", 10)],
    ),
)
def test_95_of_100_intervals_hold_the_truth(metric, per_user):
    """400 draws of 1500 rows; those of a user belong together, or all stand alone."""
    rng = np.random.default_rng(11)

    def draw(rows):
        user, label, score = rows_of(metric, rng, rows, rows // per_user)
        groups = (user,) if metric == "grouped_auc" else ()
        return user, label, score, groups

    def value(label, score, groups):
        return getattr(exact, metric)(label, score, *groups)

    truth = np.mean([value(*draw(200_000)[1:]) for _ in range(6)])
    held = 0
    for _ in range(400):
        user, label, score, groups = draw(1500)
        found = interval(
            value(label, score, groups),
            getattr(influence, metric)(label, score, *groups),
            user if per_user > 1 else None,
            SCALES[metric],
        )
        held += found.low <= truth <= found.high
    assert 0.93 <= held / 400 <= 0.97


def test_rows_of_users_are_worth_less_than_as_many_alone():
    user = np.repeat(np.arange(50), 20)
    label = np.repeat(np.random.default_rng(0).normal(size=50), 20)
    c = influence.mae(label, np.zeros(1000))
    alone, together = standard_error(c)[0], standard_error(c, user)[0]
    assert together > 4 * alone  # sqrt(20), by the design
    # Rows of no user stand alone; every other number, 0 too, is a user.
    assert standard_error(c, np.full(1000, -1)) == standard_error(c)
    assert standard_error(c, user + 1) == standard_error(c, user)


def test_equal_models_are_seldom_called_different():
    """Two models whose scores differ by noise of the same kind: 5 of 100 at 0.05."""
    rng = np.random.default_rng(5)
    called = 0
    for _ in range(200):
        user, label, score = rows_of("auc", rng, 1000, 100)
        scores = [score + rng.normal(0, 0.1, 1000) for _ in range(2)]
        values = [exact.auc(label, s) for s in scores]
        moved = [influence.auc(label, s) for s in scores]
        found = interval(values[0] - values[1], moved[0] - moved[1], user, null=0)
        called += found.p < 0.05
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
    assert called <= 18  # binomial(200, 0.05): above in 1 of 100


def test_a_worse_model_is_called_worse():
    rng = np.random.default_rng(5)
    user, label, score = rows_of("auc", rng, 5000, 500)
    worse = score + rng.normal(0, 0.3, 5000)
    drop = exact.auc(label, worse) - exact.auc(label, score)
    moved = influence.auc(label, worse) - influence.auc(label, score)
    assert interval(drop, moved, user, null=0).high < 0


def test_an_end_of_the_range_has_no_interval():
    label, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    found = interval(1.0, influence.auc(label, score), scale="logit")
    assert np.isnan(found.low) and np.isnan(found.high)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (9, 2.262), (30, 2.042), (1000, 1.962)],
)
def test_student(freedom, quantile):
    """Quantiles of the tables."""
    assert student_quantile(0.975, freedom) == pytest.approx(quantile, rel=0.001)
    assert student_two_sided(quantile, freedom) == pytest.approx(0.05, abs=0.0005)


def test_holm():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(p).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]


def test_a_ratio_to_what_may_be_0_has_no_interval():
    label = np.array([1000.0, -1000.0, 1e-9])
    prediction = np.array([1.0, 5.0, 2.0])
    c = influence.calibration(label, prediction)
    found = interval(exact.calibration(label, prediction), c, scale="log", null=1.0)
    assert np.isnan(found.low) and np.isnan(found.high) and found.p is None
