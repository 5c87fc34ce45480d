"""Fused scores: what lists earn, weights that are found, constraints, intervals."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import fusion
from tfmtl.fusion import InfeasibleError, Lists, search


def _simulated(lists=400, size=20, seed=0):
    """Scores of two tasks that are at odds, and labels by their probabilities."""
    random = np.random.default_rng(seed)
    rows = lists * size
    quality = random.normal(size=(2, rows)) + [[0.5], [0]]
    quality[1] -= 0.8 * quality[0]
    p = 0.3 / (1 + np.exp(-quality))
    scores = {"click": p[0], "like": p[1]}
    earned = {name: (random.random(rows) < s) * 1.0 for name, s in scores.items()}
    return scores, earned, np.arange(rows) // size


@pytest.fixture(scope="module")
def lists():
    return Lists(*_simulated())


@pytest.mark.parametrize("form", ["product", "sum"])
@pytest.mark.parametrize("discounted", [True, False])
def test_lists_earn_what_a_loop_over_lists_adds_up(form, discounted):
    scores, earned, group = _simulated(30, 7)
    order = np.random.default_rng(1).permutation(len(group))  # lists lie anywhere
    scores = {name: s[order] for name, s in scores.items()}
    earned = {name: y[order] for name, y in earned.items()}
    earned["like"][::5] = np.nan  # is not known
    group = np.array([f"user {g}" for g in group[order]])
    weights = {"click": 0.7, "like": -0.3}

    total = 0.0
    for user in set(group):
        rows = np.flatnonzero(group == user)
        if form == "product":
            fused = [
                scores["click"][i] ** 0.7 * scores["like"][i] ** -0.3 for i in rows
            ]
        else:
            fused = [0.7 * scores["click"][i] - 0.3 * scores["like"][i] for i in rows]
        ranked = [i for _, i in sorted(zip(fused, rows, strict=True), reverse=True)]
        for place, i in enumerate(ranked[:3], 1):
            discount = 1 / math.log2(1 + place) if discounted else 1.0
            total += discount * np.nan_to_num(earned["like"][i])

    made = Lists(scores, earned, group, form=form, top=3, discounted=discounted)
    assert made.earned_by(weights)["like"] == pytest.approx(total)


def test_rows_of_equal_score_are_not_in_the_order_of_the_log():
    label = np.tile([1.0, 0.0, 0.0, 0.0], 300)  # as a good ranker has logged it
    group = np.arange(1200) // 4
    made = Lists({"click": np.full(1200, 0.5)}, {"click": label}, group, top=1)
    assert made.earned_by({"click": 1.0})["click"] == pytest.approx(75, abs=25)


def test_a_score_of_zero_comes_last():
    scores = {"click": np.array([0.0, 0.1]), "like": np.array([0.9, 0.1])}
    made = Lists(scores, {"click": np.array([0.0, 1.0])}, np.zeros(2), top=1)
    assert made.earned_by({"click": 0.1, "like": 1.0})["click"] == 1


def test_what_differs_between_lists_alone_is_no_spread():
    within = np.array([0.1, 0.2, 0.4])
    scores = {"click": np.repeat([0.1, 0.4], 3), "like": np.tile(within, 2)}
    earned, group = {"click": np.ones(6)}, np.arange(6) // 3
    for form, term in (("sum", within), ("product", np.log(within))):
        made = Lists(scores, earned, group, form=form)
        np.testing.assert_allclose(made.spread, [0, np.std(term)], atol=1e-12)


def test_points_miss_a_share_of_a_bound_and_weigh_1_in_all(lists):
    bounds = {"at_least": {"click": 0.9}, "at_most": {"like": 0.95}}
    found = search(lists, {"click": 1.0}, tries=40, **bounds)
    for point in found.points:
        click, like = point.ratios["click"], point.ratios["like"]
        missed = max(0, 1 - click / 0.9, like / 0.95 - 1)
        assert point.shortfall == pytest.approx(missed)
    assert found.points[0].shortfall > 0 == found.chosen.shortfall
    for point in found.points[1:]:
        assert sum(map(abs, point.weights.values())) == pytest.approx(1, abs=2e-3)
        assert point.weights.get("click", 0) >= 0 >= point.weights.get("like", 0)


@pytest.mark.parametrize("form", ["product", "sum"])
def test_the_best_weights_are_found_whatever_the_scales_of_the_tasks(form):
    random = np.random.default_rng(2)
    p, q = random.uniform(0.01, 1, (2, 6000))
    if form == "product":  # what is earned is p q, and the scores are p and q^2
        scores, value, best = {"p": p, "q": q**2}, p * q, 2.0
    else:  # 100 p + q
        scores, value, best = {"p": 100 * p, "q": q}, p + q, 0.01
    # Of three tasks one has nothing to say.
    scores["noise"] = random.uniform(0.01, 1, 6000)
    made = Lists(scores, {"value": value}, np.arange(6000) // 20, form=form)
    found = search(made, {"value": 1.0}).chosen
    ideal = Lists({"v": value}, {"value": value}, np.arange(6000) // 20)
    reached = made.earned_by(found.weights)["value"]
    assert reached >= 0.999 * ideal.earned_by({"v": 1.0})["value"]
    assert found.weights["p"] / found.weights["q"] == pytest.approx(best, rel=0.15)
    assert sum(found.weights.values()) == pytest.approx(1, abs=0.01)


def test_the_scale_of_a_task_changes_nothing_that_is_tried():
    scores, earned, group = _simulated(100)
    of_like = scores["like"]
    goals = []
    for scale in (1, 1e-4):
        scores["like"] = scale * of_like
        found = search(
            Lists(scores, earned, group, form="sum"),
            {"click": 1.0},
            current={"click": 1.0, "like": 1 / scale},
            tries=20,
        )
        goals.append([point.goal for point in found.points])
    assert goals[0] == pytest.approx(goals[1], rel=0.01)  # weights have three digits


def test_constraints_are_kept_and_cost_some_of_the_goal(lists):
    free = search(lists, {"click": 1.0}, tries=200).chosen
    kept = search(lists, {"click": 1.0}, at_least={"like": 1.0}, tries=200).chosen
    assert free.ratios["like"] < 0.95  # else the constraint would be for nothing
    assert kept.ratios["like"] >= 1
    assert 1 <= kept.goal < free.goal
    assert lists.earned_by(kept.weights)["click"] == pytest.approx(
        kept.ratios["click"] * lists.earned_by({"click": 1.0, "like": 1.0})["click"]
    )


def test_less_of_what_is_bad_is_found_by_a_weight_below_zero(lists):
    found = search(lists, {"click": 1.0}, at_most={"like": 0.8}, tries=200)
    assert found.chosen.ratios["like"] <= 0.8
    assert found.chosen.weights.get("like", 0) <= 0
    worst = search(lists, {"like": -1.0}, tries=200).chosen
    assert worst.weights.get("like", 0) < 0


def test_constraints_that_cannot_be_met_name_the_nearest_point(lists):
    with pytest.raises(InfeasibleError, match=r"none meets like >= 3 .*reach like 1\."):
        search(lists, {"click": 1.0}, at_least={"like": 3.0}, tries=100)
    with pytest.raises(InfeasibleError) as error:
        search(lists, {"click": 1.0}, at_least={"like": 3.0}, tries=100)
    nearest = error.value.nearest
    free = search(lists, {"like": 1.0}, tries=100).chosen
    assert nearest.ratios["like"] == pytest.approx(free.ratios["like"], rel=0.01)


def test_no_tried_point_is_better_than_one_of_the_front(lists):
    found = search(lists, {"click": 1.0}, at_least={"like": 0.9}, tries=150)
    assert len(found.points) == 150
    for point in found.front:
        for other in found.points:
            assert not (
                other.ratios["click"] > point.ratios["click"]
                and other.ratios["like"] > point.ratios["like"]
            )
    assert found.chosen.ratios in [point.ratios for point in found.front]


def test_the_same_seed_finds_the_same(lists):
    found = [search(lists, {"click": 1.0}, tries=80, seed=s) for s in (3, 3, 4)]
    assert found[0] == found[1]
    assert found[0].points != found[2].points


def test_intervals_of_gains_hold_the_truth_with_correlated_rows():
    weights, current = {"click": 1.0}, {"like": 1.0}

    def world(lists, seed):
        """Six lists of a user have in common which kind of row pays."""
        scores, earned, group = _simulated(lists, 8, seed)
        user = group // 6
        tastes = np.random.default_rng(seed + 10_000).gamma(1.0, size=(2, len(user)))
        kind = (scores["click"] > scores["like"]).astype(int)
        earned = {"click": earned["click"] * tastes[kind, user]}
        return Lists(scores, earned, group, cluster=user, top=3)

    truth = world(100_000, 999).gains(weights, current)["click"].value
    hits = 0
    for seed in range(200):  # 176 of them, were lists taken for independent
        gain = world(600, seed).gains(weights, current)["click"]
        hits += gain.low <= truth <= gain.high
    assert 184 <= hits <= 197


@pytest.mark.parametrize(("rows", "enough"), [(9, False), (10, True)])
def test_of_too_few_rows_nothing_is_said(rows, enough):
    scores, earned, group = _simulated()
    earned["like"] = np.zeros(len(group))
    earned["like"][: 20 * rows : 20] = 1.0  # one a list
    gain = Lists(scores, earned, group, top=20).gains({"click": 1.0}, {"like": 1.0})
    assert gain["like"].rows == rows and math.isfinite(gain["like"].low) == enough
    assert math.isfinite(gain["click"].low)


def test_equal_weights_gain_nothing_for_certain(lists):
    gain = lists.gains({"click": 0.5, "like": 0.5}, {"click": 1.0, "like": 1.0})
    assert (gain["like"].low, gain["like"].value, gain["like"].high) == (1, 1, 1)


def test_the_exported_score_ranks_as_the_search_said(tmp_path):
    keras.utils.set_random_seed(3)
    model = tfmtl.models.get("mmoe")(
        features=[tfmtl.Categorical("item", vocabulary_size=50, embedding_dim=4)],
        tasks=[tfmtl.Task("click"), tfmtl.Task("like")],
        expert_units=(8,),
    )
    for weight in model.trainable_weights:  # far from 0.5 everywhere
        weight.assign(3 * weight)
    inputs = {"item": np.arange(1, 51)}
    scores = {n: np.asarray(s)[:, 0] for n, s in model(inputs).items()}
    label = np.random.default_rng(0).random(50)
    made = Lists(scores, {"value": label}, np.zeros(50), top=50)
    found = search(made, {"value": 1.0}, tries=50).chosen

    tfmtl.export(model, tmp_path / "model", fused_score=found.weights)
    loaded = tf.saved_model.load(tmp_path / "model")
    rank = loaded.signatures["rank"]
    score = rank(**{k: tf.constant(v) for k, v in inputs.items()})["score"].numpy()
    discount = np.empty(50)
    discount[np.argsort(-score[:, 0])] = 1 / np.log2(2 + np.arange(50))
    earned = made.earned_by(found.weights)["value"]
    assert discount @ label == pytest.approx(earned, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"goal": {"clik": 1.0}}, "'clik'"),
        ({"goal": {"click": 0.0}}, "weight that is not 0"),
        ({"at_least": {"like": 0.0}}, "above 0. Received: like, 0.0"),
        ({"current": {"clik": 1.0}}, "'clik'"),
        ({"tries": 0}, "tries must be a positive integer"),
    ],
)
def test_what_cannot_be_searched_is_refused(lists, change, message):
    with pytest.raises(ValueError, match=message):
        search(lists, **{"goal": {"click": 1.0}, **change})


def test_scores_must_be_finite_and_a_row_each():
    label, group = {"click": np.ones(2)}, np.zeros(2)
    with pytest.raises(ValueError, match="finite"):
        Lists({"click": np.array([0.5, np.nan])}, label, group)
    with pytest.raises(ValueError, match=r"\(2,\). Received: click, \(3,\)"):
        Lists({"click": np.ones(3)}, label, group)


def test_scores_that_are_all_the_same_cannot_rank():
    rows = np.ones(20)
    same = Lists({"click": rows / 2}, {"click": rows}, np.arange(20) // 4)
    with pytest.raises(ValueError, match="differ within lists"):
        search(same, {"click": 1.0})


def test_the_front_of_equal_points_is_one_of_them():
    assert fusion.pareto_front(np.ones((3, 2))).tolist() == [0]
