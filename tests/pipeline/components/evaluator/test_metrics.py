import numpy as np
import pytest

from pipeline.components.evaluator import job, metrics
from tfmtl.metrics import exact


def of_model(kind, label, score, weight=None, group=None):
    found = metrics.measure(kind, label, {"model": score}, weight, group)["model"]
    return {name: value for name, value in found.items() if name != "intervals"}


def test_binary_metrics_by_hand():
    label = np.float32([1, 0, 1, 0])
    score = np.float32([0.8, 0.4, 0.4, 0.2])
    found = of_model("binary", label, score)
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
    found = of_model("regression", label, score)
    assert found == of_model("count", label, score)
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
    found = of_model(kind, label, score, weight, group)
    expected = of_model(kind, label[many], score[many], None, group[many])
    assert found == pytest.approx(expected, rel=1e-9)
    assert found != pytest.approx(of_model(kind, label, score, None, group))


def test_grouped_auc_by_hand():
    label = np.float32([1, 0, 1, 0, 0, 1, 1])
    score = np.float32([0.9, 0.1, 0.2, 0.8, 0.7, 0.1, 0.9])
    # User 0 is in order, user 1 is not, user 2 has one class, -1 is nobody.
    group = np.array([0, 0, 1, 1, 1, -1, 2])
    found = of_model("binary", label, score, group=group)
    assert found["gauc"] == pytest.approx(2 / 5)
    weight = np.float32([3, 1, 1, 1, 2, 9, 9])
    found = of_model("binary", label, score, weight, group)
    assert found["gauc"] == pytest.approx(4 / 8)
    assert "gauc" not in of_model("binary", label, score)
    bad = of_model("binary", label, score + 1, group=group)
    assert bad["gauc"] is None and bad["invalid"] == 7
    alone = of_model("binary", label, score, group=np.arange(7))
    assert alone["gauc"] is None


MORE = ("pr_auc", "uauc", "ndcg@3", "mrr", "hit_rate@1", "gxauc")


def test_further_metrics_their_intervals_and_gains():
    """What a task of another kind has, it has not; nor what needs groups without."""
    label, score, group = rows(np.random.default_rng(0), 2000)
    group[:50] = -1  # of nobody
    scores = {"model": score, "baseline": np.roll(score, 1)}
    found = metrics.measure("binary", label, scores, None, group, job.PAIRS, MORE)
    known = group >= 0
    of_groups = label[known], score[known], group[known]
    expected = {
        "pr_auc": exact.pr_auc(label, score),
        "uauc": exact.uauc(*of_groups),
        "ndcg@3": exact.ndcg(*of_groups, k=3),
        "mrr": exact.mrr(*of_groups),
        "hit_rate@1": exact.hit_rate(*of_groups, k=1),
    }
    assert "gxauc" not in found["model"]
    for name, value in expected.items():
        assert found["model"][name] == pytest.approx(value, abs=1e-12)
        low, high = found["model"]["intervals"][name]
        assert low < value < high
        gain = found["gain"]["baseline"][name]
        assert gain["value"] == value - found["baseline"][name] > 0
        assert gain["low"] < gain["value"] < gain["high"]
    alone = metrics.measure("binary", label, scores, more=MORE)["model"]
    assert "pr_auc" in alone and not alone.keys() & {"uauc", "mrr", "ndcg@3"}
    seconds = metrics.measure("count", label, scores, None, group, {}, MORE)["model"]
    assert seconds["gxauc"] == exact.grouped_xauc(*of_groups)
    assert "ndcg@3" in seconds and "mrr" not in seconds


def test_one_class_has_no_auc_but_a_loss():
    found = of_model("binary", np.zeros(3), np.full(3, 0.5))
    assert found["auc"] is None
    assert found["normalized_entropy"] is None
    assert found["calibration"] is None
    assert found["log_loss"] == pytest.approx(np.log(2))


def test_constant_scores_have_no_rank_correlation():
    found = of_model("regression", np.arange(3.0), np.ones(3))
    assert found["spearman"] is None
    assert found["mae"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "kind, bad", [("binary", np.nan), ("binary", 1.5), ("regression", np.inf)]
)
def test_invalid_predictions_leave_no_metric(kind, bad):
    label, score = np.array([0.0, 1.0, 1.0]), np.array([0.1, bad, 0.3])
    found = of_model(kind, label, score)
    assert found.pop("invalid") == 1
    assert found and set(found.values()) == {None}
    assert found.keys() | {"invalid"} == of_model(kind, label, label).keys()


def rows(random, count, groups=100, positives=0.3):
    group = random.integers(0, groups, count)
    seen = random.normal(size=count)
    taste = random.normal(0, 0.5, groups)[group]
    threshold = np.quantile(seen + taste, 1 - positives)
    label = (seen + taste + random.logistic(0, 0.3, count) > threshold) * 1.0
    return label, 1 / (1 + np.exp(-seen + threshold)), group


def test_intervals_and_gains():
    random = np.random.default_rng(0)
    label, score, group = rows(random, 5000)
    noise = 1 / (1 + np.exp(-random.normal(size=5000)))
    scores = {"model": score, "baseline": 0.5 * score + 0.5 * noise, "other": noise}
    found = metrics.measure("binary", label, scores, None, group, job.PAIRS)
    assert found["too_few"] is None
    for source in scores:
        assert found[source]["intervals"].keys() == metrics.SCALES["binary"].keys()
        for name, (low, high) in found[source]["intervals"].items():
            assert low < found[source][name] < high
    assert found["gain"].keys() == {"baseline"}
    gain = found["gain"]["baseline"]
    auc = gain["auc"]
    assert auc["value"] == found["model"]["auc"] - found["baseline"]["auc"]
    assert 0 < auc["low"] < auc["value"] < auc["high"] and auc["p"] < 1e-6
    loss = gain["log_loss"]["value"]
    assert loss == found["baseline"]["log_loss"] - found["model"]["log_loss"]
    # Errors that both make cancel: the gain is known better than either.
    alone = np.subtract(*found["model"]["intervals"]["auc"])
    assert auc["low"] - auc["high"] > alone
    # Rows that stand alone would be sure of more.
    apart = metrics.measure("binary", label, scores, None, None, job.PAIRS)
    ends = apart["model"]["intervals"]["log_loss"]
    low, high = found["model"]["intervals"]["log_loss"]
    assert high - low > 1.2 * (ends[1] - ends[0])


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_many_rows_of_a_group_are_as_sure_as_one(kind):
    """Each row three times, in a group of its own."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 80).astype(float)
    scores = {name: random.uniform(0.1, 0.9, 80) for name in ("model", "baseline")}

    def measured(rows):
        of_rows = {name: score[rows] for name, score in scores.items()}
        found = metrics.measure(kind, label[rows], of_rows, None, rows, job.PAIRS)
        return found["model"]["intervals"], found["gain"]["baseline"]

    (ends, gains), (ends_of_many, gains_of_many) = (
        measured(rows) for rows in (np.arange(80), np.repeat(np.arange(80), 3))
    )
    assert len(ends) == len(gains) == len(metrics.SCALES[kind]) - (kind == "binary")
    for metric, gain in gains.items():
        assert ends_of_many[metric] == pytest.approx(ends[metric])
        assert gains_of_many[metric] == pytest.approx(gain)


@pytest.mark.parametrize(
    "kind, label, group, few",
    [
        ("binary", [1] * 9 + [0] * 500, None, "9 of the 10 positives needed"),
        ("binary", [0] * 9 + [1] * 500, None, "9 of the 10 negatives needed"),
        ("binary", [0] * 10 + [1] * 10, None, None),
        ("regression", range(19), None, "19 of the 20 rows needed"),
        ("count", range(20), None, None),
        ("count", range(20), [0] * 12 + [*range(8)], "8 of the 10 groups needed"),
        ("count", range(20), [0] * 12 + [-1] * 8, "9 of the 10 groups needed"),
        ("count", range(20), [0] * 11 + [-1] * 9, None),
    ],
)
def test_too_few_to_say_anything(kind, label, group, few):
    label = np.array(label, float)
    score = np.linspace(0.1, 0.9, len(label))
    group = None if group is None else np.array(group)
    scores = {"model": score, "baseline": score**2}
    found = metrics.measure(kind, label, scores, None, group, job.PAIRS)
    assert found["too_few"] == few
    assert ("gain" in found) == ("intervals" in found["model"]) == (few is None)
    assert found["model"]["mean"] == pytest.approx(0.5)


def test_an_equal_model_gains_nothing():
    label, score, _ = rows(np.random.default_rng(1), 500)
    scores = {"model": score, "baseline": score.copy()}
    gains = metrics.measure("binary", label, scores, pairs=job.PAIRS)["gain"]
    for gain in gains["baseline"].values():
        assert (gain["value"], gain["low"], gain["high"], gain["p"]) == (0, 0, 0, 1)


def test_the_order_of_the_groups_codes_is_all_one():
    label, score, group = rows(np.random.default_rng(2), 800)
    one, other = (
        metrics.measure("binary", label, {"model": score}, None, codes)["model"]
        for codes in (group, 1000 - group)
    )
    assert one["intervals"]["auc"] == pytest.approx(other["intervals"]["auc"], rel=1e-9)


def test_drops_where_a_prediction_tells_nothing():
    random = np.random.default_rng(0)
    label, score = random.normal(size=(2, 100))
    constant, broken = np.zeros(100), np.where(np.arange(100) == 3, np.nan, score)
    nothing = {"drop": None, "low": None, "high": None}
    found = metrics.drops(
        "regression", label, label + score, {"a": score, "b": constant, "c": broken}
    )
    assert found["a"]["low"] < found["a"]["drop"] < found["a"]["high"]
    assert found["b"] == found["c"] == nothing
    assert metrics.drops("regression", label, constant, {"a": score}) == {"a": nothing}
