"""The metrics of `fit` against the exact ones of the same rows."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from representatives import fast

from tfmtl import metrics
from tfmtl.metrics import exact
from tfmtl.metrics.grouped import GroupedMetric
from tfmtl.metrics.row_sample import RowSample

ROWS, DOMAINS = 600, 3


def _grouped(function, **options):
    return lambda label, score, weight, group: function(
        label, score, group, weight, **options
    )


def _unweighted(function):
    return lambda label, score, weight, _: function(label, score, weight)


# Metric, whether labels are 0 or 1, the exact one, the error allowed.
CASES = {
    "auc": (metrics.AUC, True, _unweighted(exact.auc), 1e-3),
    "pr_auc": (metrics.PRAUC, True, _unweighted(exact.pr_auc), 5e-3),
    "gauc": (metrics.GroupedAUC, True, _grouped(exact.grouped_auc), 1e-6),
    "uauc": (metrics.UserAUC, True, _grouped(exact.uauc), 1e-6),
    "mrr": (metrics.MRR, True, _grouped(exact.mrr), 1e-6),
    "ndcg": (
        functools.partial(metrics.NDCG, 3),
        True,
        _grouped(exact.ndcg, k=3),
        1e-6,
    ),
    "hit_rate": (
        functools.partial(metrics.HitRate, 2),
        True,
        _grouped(exact.hit_rate, k=2),
        1e-6,
    ),
    "gxauc": (metrics.GroupedXAUC, False, _grouped(exact.grouped_xauc), 1e-6),
    "logloss": (metrics.LogLoss, True, _unweighted(exact.log_loss), 1e-5),
    "ne": (
        metrics.NormalizedEntropy,
        True,
        _unweighted(exact.normalized_entropy),
        1e-5,
    ),
    "calibration": (metrics.Calibration, True, _unweighted(exact.calibration), 1e-5),
    "mae": (metrics.MeanAbsoluteError, False, _unweighted(exact.mae), 1e-4),
    "rmse": (metrics.RootMeanSquaredError, False, _unweighted(exact.rmse), 1e-4),
    "deviance": (
        metrics.PoissonDeviance,
        False,
        _unweighted(exact.poisson_deviance),
        1e-3,
    ),
    "xauc": (metrics.XAUC, False, _unweighted(exact.xauc), 1e-6),
}
every_metric = pytest.mark.parametrize("name", CASES)


def _rows(binary, rows=ROWS):
    random = np.random.default_rng(5)
    group = random.geometric(0.05, rows)
    domain = random.integers(0, DOMAINS, rows)
    z = random.normal(size=rows)
    if binary:
        label = random.random(rows) < 1 / (1 + np.exp(-z))
        score = 1 / (1 + np.exp(-z - random.normal(size=rows)))
    else:
        label = random.integers(0, 40, rows)
        score = np.maximum(label + 10 * z, 0)
    weight = random.integers(0, 3, rows) / 2
    f = [x.astype("float32") for x in (label, score, weight)]
    return *f, group, domain


def _update(metric, rows, batch=100, by_domain=False):
    for at in np.array_split(np.arange(len(rows[0])), len(rows[0]) // batch):
        label, score, weight, group, domain = (x[at] for x in rows)
        more = {"group": group} if isinstance(metric, GroupedMetric) else {}
        more |= {"domain": domain} if by_domain else {}
        # Shapes as from a model.
        metric.update_state(label, score[:, None], weight, **more)


@every_metric
def test_is_the_exact_metric_whatever_the_batches(name):
    make, binary, reference, error = CASES[name]
    rows = _rows(binary)
    expected = reference(*rows[:4])
    for batch in (90, 600):
        metric = make()
        _update(metric, rows, batch)
        assert float(metric.result()) == pytest.approx(expected, abs=error)
    metric.reset_state()
    assert np.isnan(metric.result())
    _update(metric, rows)
    assert float(metric.result()) == pytest.approx(expected, abs=error)


@every_metric
def test_by_domain_and_rows_of_no_weight(name):
    make, binary, reference, error = CASES[name]
    rows = _rows(binary)
    metric = make(name=f"t_{name}", domains=DOMAINS + 1)
    _update(metric, rows, by_domain=True)
    nothing = [np.full(100, np.nan, "float32")] * 2 + [np.zeros(100, "float32")]
    ids = np.arange(100) % DOMAINS
    _update(metric, (*nothing, ids, ids), by_domain=True)
    found = {key: float(value) for key, value in metric.result().items()}
    assert list(found) == [f"t_{name}={i}" for i in range(DOMAINS + 1)]
    for domain in range(DOMAINS):
        at = rows[4] == domain
        expected = reference(*(x[at] for x in rows[:4]))
        assert found[f"t_{name}={domain}"] == pytest.approx(expected, abs=error)
    assert np.isnan(found[f"t_{name}={DOMAINS}"])  # not seen


# XLA takes seconds for the rows of users, which these share with gauc.
_BY_USER = ("uauc", "mrr", "ndcg", "hit_rate", "gxauc")
_COMPILED = [(name, name != "xauc") for name in CASES] + [("auc", False)]


@pytest.mark.parametrize(
    ("name", "jit"), fast(_COMPILED, [c for c in _COMPILED if c[0] not in _BY_USER])
)
def test_compiled_and_in_low_precision(name, jit):
    make, binary, reference, error = CASES[name]
    label, score, weight, group, _ = _rows(binary)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        metric = make()
    finally:
        keras.config.set_dtype_policy("float32")
    more = {"group": group} if isinstance(metric, GroupedMetric) else {}
    assert all(v.dtype in ("float32", "int64", "int32") for v in metric.variables)

    @tf.function(jit_compile=jit)
    def step(*columns):
        metric.update_state(*columns, **more)

    step(tf.constant(label), tf.constant(score), tf.constant(weight))
    expected = reference(label, score, weight, group)
    assert float(metric.result()) == pytest.approx(expected, abs=error)
    step(tf.constant(label), tf.cast(score, "bfloat16"), tf.constant(weight))
    assert np.isfinite(metric.result())


@every_metric
def test_config_round_trip(name):
    metric = CASES[name][0](name="t", domains=2)
    if isinstance(metric, RowSample):
        metric = CASES[name][0](name="t", domains=2, capacity=99)
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    assert [v.shape for v in again.variables] == [v.shape for v in metric.variables]


def test_gauc_of_more_rows_than_fit_is_that_of_whole_users():
    random = np.random.default_rng(0)
    rows, users = 20_000, 2_000
    # Small ids have more rows, as in a vocabulary.
    group = np.floor(users * random.random(rows) ** 1.2).astype(int)
    skill = random.normal(1, 1, users)[group]
    z = random.normal(size=rows)
    label = (random.random(rows) < 1 / (1 + np.exp(-skill * z))).astype("float32")
    weight = np.ones(rows, "float32")
    score = (exact.ranks(z) / rows).astype("float32")  # no two alike
    metric = metrics.GroupedAUC(capacity=6_000)
    _update(metric, (label, score, weight, group, group), batch=500)
    filled = int(metric.filled)
    assert 2_000 < filled <= 6_000
    kept = np.asarray(metric.kept)[:filled]
    keys = np.asarray(metric.keys)[:filled]
    # All rows of the users in the sample, and of no others.
    sizes = np.unique(keys, return_counts=True)[1]
    in_sample = np.isin(score, kept[:, 1])
    assert sorted(sizes) == sorted(np.unique(group[in_sample], return_counts=True)[1])
    chosen = np.isin(group, group[in_sample])
    np.testing.assert_array_equal(chosen, in_sample)
    expected = exact.grouped_auc(label[chosen], score[chosen], group[chosen])
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    # Some 0.25 / sqrt(500) = 0.011 of standard error.
    whole = exact.grouped_auc(label, score, group)
    assert abs(float(metric.result()) - whole) < 0.035


def test_rows_that_just_fit_are_all_kept():
    metric = metrics.GroupedAUC(capacity=50)
    metric.update_state(np.arange(50) % 2, np.ones(50), group=np.arange(50))
    assert int(metric.filled) == 50 and int(metric.zero_bits) == 0
    metric.update_state(np.ones(1), np.ones(1), group=[50])
    assert int(metric.filled) < 50 and int(metric.zero_bits) > 0


def test_xauc_of_more_rows_than_fit():
    label, score, weight, group, _ = _rows(False, 20_000)
    metric = metrics.XAUC(capacity=4_000)
    _update(metric, (label, score, weight, group, group), batch=1_000)
    assert 1_500 < int(metric.filled) <= 4_000
    expected = exact.xauc(label, score, weight)
    assert float(metric.result()) == pytest.approx(expected, abs=0.02)


def test_a_user_with_more_rows_than_fit_makes_room_for_the_others():
    metric = metrics.GroupedAUC(capacity=50)
    label, users = np.arange(400) % 2, np.arange(400) // 4
    users[:200] = 7_000  # a batch larger than the sample, too
    metric.update_state(label, label / 2, group=users)
    kept = np.asarray(metric.keys)[: int(metric.filled)]
    keys, rows = np.unique(kept, return_counts=True)
    assert 5 < len(keys) <= 12 and set(rows) == {4}
    assert float(metric.result()) == 1


def test_domain_must_be_given_if_and_only_if_the_metric_is_by_domain():
    with pytest.raises(ValueError, match="must be given `domain` if, and only if"):
        metrics.AUC(domains=2).update_state([1], [0.5])
    with pytest.raises(ValueError, match="must be given `domain` if, and only if"):
        metrics.AUC().update_state([1], [0.5], domain=[1])
    with pytest.raises(ValueError, match="domains must be a positive integer"):
        metrics.LogLoss(domains=0)
