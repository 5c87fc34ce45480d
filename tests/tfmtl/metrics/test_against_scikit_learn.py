"""Exact metrics against scikit-learn's and SciPy's, and a loop over users: 50k rows."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as theirs

from tfmtl.metrics import exact

ROWS = 50_000


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    user = random.integers(0, 4000, ROWS)
    logit = random.normal(-2, 1.5, ROWS) + random.normal(0, 0.5, 4000)[user]
    label = (random.random(ROWS) < 1 / (1 + np.exp(-logit))) * 1.0
    score = np.round(1 / (1 + np.exp(-logit - random.normal(0, 0.5, ROWS))), 3)
    score = np.clip(score, 0.001, 0.999)  # with many ties
    return user, label, score, random.exponential(1, ROWS)


def pairs_in_order(label, score, weight):
    one, zero = label == 1, label == 0
    pairs = weight[one][:, None] * weight[zero]
    above = score[one][:, None] - score[zero]
    return (pairs * ((above > 0) + 0.5 * (above == 0))).sum() / pairs.sum()


@pytest.mark.parametrize("weighted", [False, True])
def test_of_classes(rows, weighted):
    user, label, score, weight = rows
    weight = weight if weighted else None
    auc = theirs.roc_auc_score(label, score, sample_weight=weight)
    assert exact.auc(label, score, weight) == pytest.approx(auc, abs=1e-9)
    loss = theirs.log_loss(label, score, sample_weight=weight)
    assert exact.log_loss(label, score, weight) == pytest.approx(loss, abs=1e-9)
    won = total = 0.0
    for u in np.unique(user):
        at = user == u
        if 0 < label[at].sum() < at.sum():
            of_rows = weight[at] if weighted else np.ones(at.sum())
            area = pairs_in_order(label[at], score[at], of_rows)
            won, total = won + of_rows.sum() * area, total + of_rows.sum()
    gauc = exact.grouped_auc(label, score, user, weight)
    assert gauc == pytest.approx(won / total, abs=1e-9)


def test_of_values(rows):
    _, _, score, _ = rows
    label = np.round(np.random.default_rng(1).exponential(10 * score), 1)
    rho = stats.spearmanr(label, score).statistic
    assert exact.spearman(label, score) == pytest.approx(rho, abs=1e-9)
    mae = theirs.mean_absolute_error(label, score)
    assert exact.mae(label, score) == pytest.approx(mae, abs=1e-9)
    rmse = theirs.root_mean_squared_error(label, score)
    assert exact.rmse(label, score) == pytest.approx(rmse, abs=1e-9)
    deviance = theirs.mean_poisson_deviance(label, score)
    assert exact.poisson_deviance(label, score) == pytest.approx(deviance, abs=1e-9)
    tau = stats.kendalltau(label, score, variant="c")  # of pairs, ties and all
    assert (tau.statistic > 0) == (exact.xauc(label, score) > 0.5)


@pytest.mark.parametrize("weighted", [False, True])
def test_of_precision(rows, weighted):
    _, label, score, weight = rows
    weight = weight if weighted else None
    expected = theirs.average_precision_score(label, score, sample_weight=weight)
    assert exact.pr_auc(label, score, weight) == pytest.approx(expected, abs=1e-9)


def test_within_groups(rows):
    """Groups of some 20 rows, a third of them left out; and some without a positive."""
    user, label, score, weight = (x[:4000] for x in rows)
    user = user % 211
    score = np.round(score, 2)
    kept = np.arange(4000) % 3 > 0
    counts = np.where(kept, 1.0, 0.0)
    seconds = np.round(label * 30 + 20 * score + weight)
    found = {name: [] for name in ("uauc", "ndcg", "mrr", "hit_rate", "seconds_ndcg")}
    won = total = 0.0
    for u in np.unique(user):
        y, s, t = (x[kept & (user == u)] for x in (label, score, seconds))
        different = np.not_equal.outer(t, t)
        if different.any():
            order = np.sign(np.subtract.outer(t, t) * np.subtract.outer(s, s))
            share = ((order + 1) / 2)[different].mean()
            won, total = won + len(y) * share, total + len(y)
        if len(y) > 1 and t.any():
            found["seconds_ndcg"].append(theirs.ndcg_score([t], [s], k=3))
        if not y.any():
            continue
        places = sorted(zip(-s, y, strict=True))  # a positive behind its equals
        first = [positive for _, positive in places].index(1)
        found["mrr"].append(1 / (first + 1))
        found["hit_rate"].append(first < 3)
        found["ndcg"].append(theirs.ndcg_score([y], [s], k=5) if len(y) > 1 else 1)
        if not y.all():
            found["uauc"].append(pairs_in_order(y, s, np.ones(len(y))))
    assert 0 < len(found["uauc"]) < len(np.unique(user))
    places = {"ndcg": {"k": 5}, "hit_rate": {"k": 3}}
    for name in ("uauc", "ndcg", "mrr", "hit_rate"):
        of = getattr(exact, name)(label, score, user, counts, **places.get(name, {}))
        assert of == pytest.approx(np.mean(found[name]), abs=1e-9), name
    ndcg = exact.ndcg(seconds, score, user, counts, k=3)
    assert ndcg == pytest.approx(np.mean(found["seconds_ndcg"]), abs=1e-9)
    gxauc = exact.grouped_xauc(seconds, score, user, counts)
    assert gxauc == pytest.approx(won / total, abs=1e-9)
    # A pair weighs the product; with one group it is the XAUC itself.
    one = np.zeros(4000)
    of_one = exact.grouped_xauc(seconds, score, one, weight)
    assert of_one == pytest.approx(exact.xauc(seconds, score, weight), abs=1e-12)


def test_within_groups_of_nothing():
    label, score, group = np.zeros(3), np.arange(3), np.arange(3)
    for name in ("uauc", "ndcg", "mrr", "hit_rate", "grouped_xauc"):
        metric = getattr(exact, name)
        assert np.isnan(metric(label, score, group)), name
        assert np.isnan(metric(label[:0], score[:0], group[:0])), name
        assert np.isnan(metric(label + 1, score, group, np.zeros(3))), name
