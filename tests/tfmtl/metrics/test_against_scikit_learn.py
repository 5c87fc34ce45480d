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
