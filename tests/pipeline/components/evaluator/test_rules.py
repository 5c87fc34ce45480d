"""What blesses a model and what refuses it, on simulated scores."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_config

from pipeline.components.evaluator import job, metrics, others, rules
from pipeline.config import sections
from tfmtl import model_card

TASKS = ("click", "like", "seconds")


def config_of(split=None, **evaluate):
    return make_config(
        data={"split": split or {"by": "hash", "column": "tab"}},
        features=["tab"],
        domain="tab",
        tasks=["click", "like", {"name": "seconds", "kind": "regression"}],
        evaluate=evaluate,
    )


def scored(random, rows, positives, skill, other=None, task="click", slice_="all"):
    """A record of a task whose model has some skill, and a baseline another."""
    kind = "regression" if task == "seconds" else "binary"
    truth = random.normal(size=rows)
    noise = random.normal(size=rows)
    label = truth + noise
    if kind == "binary":
        label = (label > np.quantile(label, 1 - positives / rows)) * 1.0

    def predict(skill):
        z = skill * truth + np.sqrt(1 - skill**2) * random.normal(size=rows)
        if kind == "regression":
            return z
        rate = positives / rows
        # As sure as the skill allows (without one, too sure), and right on average.
        sure = max(skill, 0.3)
        return np.clip(rate * np.exp(sure * z - sure**2 / 2), 1e-4, 0.99)

    scores = {"model": predict(skill)}
    if other is not None:
        scores["baseline"] = predict(other)
    found = metrics.measure(kind, label, scores, pairs=job.PAIRS)
    column, value = ("all", "all") if slice_ == "all" else ("tab", slice_)
    return {"task": task, "slice": column, "value": value, "rows": rows} | found


def refusals(config, records, seen=""):
    gates = rules.judge(config, records, seen)
    return [gate["reason"] for gate in gates if not gate["passed"]]


def undecided(config, records):
    gates = rules.judge(config, records, "")
    return [gate["reason"] for gate in gates if gate["undecided"]]


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_a_good_model_without_a_baseline_is_blessed(random):
    records = [scored(random, 20_000, 3000, 0.5, task=task) for task in TASKS]
    assert refusals(config_of(), records) == []
    gates = rules.judge(config_of(), records, "")
    assert {gate["rule"] for gate in gates} == {"better_than_mean", "plausible"}


@pytest.mark.parametrize("task", TASKS)
def test_a_model_of_shuffled_labels_is_refused(random, task):
    records = [scored(random, 5000, 800, 0.0, task=task) for _ in range(40)]
    found = [refusals(config_of(), [record]) for record in records]
    # By chance alone one in 40 ranks better than chance.
    assert sum(map(bool, found)) >= 37
    assert all(
        reason.startswith(f"{task}: ") for reasons in found for reason in reasons
    )
    assert sum("nothing was learnt" in str(reasons) for reasons in found) >= 37


def test_an_interval_that_says_nothing_refuses_nothing(random):
    """12 positives and no skill: the next 12 may tell; 3000 have told."""
    records = [scored(random, 3000, 12, 0.0) for _ in range(30)]
    found = [refusals(config_of(), [record]) for record in records]
    assert sum(map(bool, found)) <= 6
    assert (
        sum("may be chance" in str(undecided(config_of(), [r])) for r in records) > 20
    )


def test_a_constant_is_refused_though_it_is_calibrated():
    label = np.arange(1000) % 4 == 0
    found = metrics.measure("binary", label * 1.0, {"model": np.full(1000, 0.25)})
    record = {"task": "click", "slice": "all", "value": "all", "rows": 1000} | found
    auc, entropy = refusals(config_of(), [record])
    assert "auc 0.5000" in auc and "normalized_entropy 1.0000" in entropy


def test_an_entropy_above_1_without_an_interval_is_refused(random):
    record = scored(random, 20_000, 3000, 0.5)
    record["model"]["normalized_entropy"] = 1.1
    del record["model"]["intervals"]["normalized_entropy"]
    (reason,) = refusals(config_of(), [record])
    assert "normalized_entropy 1.1000 is not below 1" in reason


def test_the_loss_of_one_task_is_not_made_good_by_another(random):
    records = [
        scored(random, 100_000, 50_000, 0.6, 0.5, "click"),
        scored(random, 100_000, 20_000, 0.4, 0.5, "like"),
        scored(random, 100_000, 0, 0.5, 0.5, "seconds"),
    ]
    (reason,) = refusals(config_of(), records)
    assert reason.startswith("like: auc has lost 0.0") and "p = " in reason
    assert refusals(config_of(exempt=["like"]), records) == []
    assert refusals(config_of(max_drop=0.2), records) == []
    assert refusals(config_of(max_drop={"click": 0.0}), records) == []
    assert refusals(config_of(default_rules=["plausible"]), records) == []


def test_noise_of_a_rare_task_does_not_block(random):
    """190 positives: the same drop in truth as of a task that has 50,000."""
    rare = [
        refusals(config_of(), [scored(random, 20_000, 190, 0.48, 0.5)])
        for _ in range(40)
    ]
    assert sum(map(bool, rare)) <= 6
    frequent = [
        refusals(config_of(), [scored(random, 200_000, 50_000, 0.48, 0.5)])
        for _ in range(5)
    ]
    assert all(frequent)


@pytest.mark.parametrize(("errors", "refused"), [(1.6, False), (1.7, True)])
def test_a_loss_is_tested_on_one_side(errors, refused):
    """Beyond 1.645 standard errors lie 5 % on one side, 10 % on both."""
    gain = {"value": -0.01, "error": 0.01 / errors, "groups": 10**6}
    gain |= {"low": -0.02, "high": 0.01}
    record = {"task": "click", "slice": "all", "value": "all", "too_few": None}
    record |= {"model": {"auc": 0.7, "invalid": 0}, "baseline": {}}
    record["gain"] = {"baseline": {"auc": gain}}
    config = config_of(default_rules=["no_loss"])
    assert bool(refusals(config, [record])) == refused


def test_equal_models_block_at_most_5_of_100(random):
    blocked = 0
    for _ in range(100):
        records = [scored(random, 3000, 400, 0.5, 0.5, task) for task in TASKS]
        blocked += bool(refusals(config_of(), records))
    assert blocked <= 5


def test_a_column_that_tells_the_label(random):
    label = random.integers(0, 2, 1000) * 1.0
    found = metrics.measure("binary", label, {"model": 0.1 + 0.8 * label})
    record = {"task": "like", "slice": "all", "value": "all", "rows": 1000} | found
    (reason,) = refusals(config_of(), [record])
    assert "like: auc 1.0000 is too good to be true" in reason
    assert refusals(config_of(exempt=["like"]), [record]) == []


def test_too_few_rows_decide_nothing_and_say_so(random):
    record = scored(random, 1000, 9, 0.5, 0.9)
    config = config_of(rules=[{"metric": "auc", "at_least": 0.99}])
    assert refusals(config, [record]) == []
    assert "click: undecided, 9 of the 10 positives needed" in undecided(
        config, [record]
    )
    assert refusals(config_of(minimum={"click": 0.99}), [record])


@pytest.mark.parametrize(
    ("rule", "refused"),
    [
        ({"at_least": 0.99}, True),
        ({"at_least": "inside"}, False),
        ({"at_least": "inside", "evidence": "for"}, True),
        ({"at_least": "inside", "evidence": "value"}, True),
        ({"at_most": 0.6}, True),
        ({"at_least": 0.5, "at_most": 0.9, "evidence": "for"}, False),
        ({"at_least": 0.99, "tasks": ["like"]}, False),
        ({"at_least": 0.99, "slices": {"tab": ["2"]}}, False),
        ({"at_least": 0.99, "slices": {"tab": ["1", 3]}}, True),
        ({"at_least": 0.99, "slices": {"tab": [1]}}, True),
        ({"at_least": 0.99, "slices": {"tab": None}}, True),
        ({"gain_at_least": 0.0}, False),
        ({"gain_at_least": 0.3}, True),
        ({"gain_at_least": 0.0, "evidence": "for"}, False),
    ],
)
def test_rules_of_ones_own(random, rule, refused):
    overall = scored(random, 5000, 700, 0.7, 0.4)
    records = [overall, scored(random, 2000, 300, 0.7, 0.4, slice_="1")]
    low, high = overall["model"]["intervals"]["auc"]
    inside = overall["model"]["auc"] + 0.5 * (high - overall["model"]["auc"])
    rule = {"metric": "auc"} | {
        k: inside if v == "inside" else v for k, v in rule.items()
    }
    config = config_of(default_rules=[], rules=[rule])
    found = refusals(config, records)
    assert bool(found) == refused
    if refused:
        assert "auc" in found[0] and found[0].startswith("click")
        assert ("in tab=1" in found[0]) == bool(rule.get("slices"))


def test_a_loss_among_few_groups_is_judged_by_students_distribution():
    gain = {"value": -2.0, "error": 1.0, "groups": 3}  # two degrees of freedom
    expected = 0.5 - 1 / math.sqrt(2.0**2 + 2)
    assert rules._p_of_loss(gain, 0.0) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("evidence", ["value", "against", "for"])
def test_a_bound_is_met_by_the_number_itself(evidence):
    record = {
        "task": "click",
        "slice": "all",
        "value": "all",
        "rows": 99,
        "too_few": None,
        "model": {"auc": 0.7, "invalid": 0, "intervals": {"auc": [0.7, 0.7]}},
    }
    for bounds, passed in (
        ({"at_least": 0.7}, True),
        ({"at_least": math.nextafter(0.7, 1)}, False),
        ({"at_most": 0.7}, True),
        ({"at_most": math.nextafter(0.7, 0)}, False),
    ):
        rule = {"metric": "auc", "evidence": evidence} | bounds
        found = refusals(config_of(default_rules=[], rules=[rule]), [record])
        assert (not found) is passed


def test_a_rule_of_rows_that_are_not_there_says_so(random):
    record = scored(random, 5000, 700, 0.7, slice_="1")
    rule = {"metric": "auc", "tasks": ["click"], "slices": {"tab": ["1", "nosuch"]}}
    config = config_of(default_rules=[], rules=[rule | {"at_least": 0.5}])
    why = "click in tab=nosuch: undecided, no test row is in its space"
    assert why in undecided(config, [record])
    assert refusals(config, [record]) == []
    rule |= {"at_least": 0.5, "evidence": "value"}
    found = refusals(config_of(default_rules=[], rules=[rule]), [record])
    assert found == ["click in tab=nosuch: no test row is in its space"]


def test_a_minimum_is_not_met_without_rows():
    config = config_of(default_rules=[], minimum={"click": 0.6})
    assert refusals(config, []) == ["click: no test row is in its space"]


def test_a_gain_that_is_not_defined_is_not_for_want_of_a_baseline(random):
    record = scored(random, 5000, 9, 0.7, 0.5)
    rule = {"metric": "auc", "gain_at_least": 0.0, "evidence": "value"}
    config = config_of(default_rules=[], rules=[rule | {"tasks": ["click"]}])
    why = "click: undecided, 9 of the 10 positives needed"
    assert why in undecided(config, [record])


def test_the_config_knows_the_metrics_of_each_kind():
    for kind, names in sections.METRICS.items():
        assert {*names} == {*metrics.SCALES[kind]}


def test_bounds_of_calibration(random):
    record = scored(random, 50_000, 9000, 0.5)
    assert 0.9 < record["model"]["calibration"] < 1.1
    bounds = {"metric": "calibration", "at_least": 0.9, "at_most": 1.1}
    config = config_of(rules=[bounds])
    assert refusals(config, [record]) == []
    record["model"] |= {"calibration": 0.6}
    record["model"]["intervals"]["calibration"] = [0.58, 0.62]
    (reason,) = refusals(config, [record])
    assert "calibration 0.6000 (0.5800 to 0.6200) must be 0.9 to 1.1" in reason


def test_without_a_baseline_a_gain_is_undecided(random):
    config = config_of(rules=[{"metric": "auc", "gain_at_least": 0.01}])
    record = scored(random, 5000, 700, 0.7)
    assert refusals(config, [record]) == []
    assert "click: undecided, there is no baseline" in undecided(config, [record])


def test_predictions_that_are_no_probabilities_are_refused_whatever_the_rules(random):
    record = scored(random, 5000, 700, 0.7)
    record["model"]["invalid"] = 3
    config = config_of(default_rules=[], exempt=["click"])
    (reason,) = refusals(config, [record])
    assert reason == "click: 3 of 5000 predictions are not probabilities"


def make_card(folder, split, **splits):
    folder.mkdir()
    data = {
        "split": split,
        "splits": {
            k: dict(zip(("from", "to"), v, strict=True)) for k, v in splits.items()
        },
    }
    model_card.write(folder, {"data": data})
    return folder


TIME = {"by": "time", "column": "at", "train": 0.8, "valid": 0.1}
HASH = {"by": "hash", "column": "user", "train": 0.8, "valid": 0.1}


@pytest.mark.parametrize(
    ("split", "theirs", "newest", "seen"),
    [
        (TIME, TIME, 99, ""),
        (TIME, TIME, 100, "up to at = 100, and the test rows start at 100"),
        (TIME, TIME, 150, "up to at = 150"),
        (TIME, TIME | {"column": "day"}, 99, None),
        (TIME, HASH, 99, None),
        (HASH, HASH, 0, ""),
        (HASH, HASH | {"train": 0.7}, 0, ""),
        (HASH, HASH | {"train": 0.85}, 0, "95% of the values of 'user', this run from"),
        (HASH, HASH | {"column": "item"}, 0, None),
        (HASH, {"by": "hash", "column": "user"}, 0, None),  # an older card
    ],
)
def test_a_baseline_that_has_seen_the_test_rows(tmp_path, split, theirs, newest, seen):
    other = make_card(
        tmp_path / "other", theirs, train=(0, 50), valid=(50, newest), test=(300, 400)
    )
    config = config_of(split)
    found = others.has_seen_test(config, 100.0, other)
    if not seen:
        assert found == seen
        assert refusals(config, [], found) == []
        return
    assert seen in found
    (reason,) = refusals(config, [], found)
    assert seen in reason and "evaluate.default_rules" in reason
    config = config_of(split, default_rules=["no_loss"])
    assert refusals(config, [], found) == []


def test_models_without_a_card_cannot_be_told(tmp_path):
    assert others.has_seen_test(config_of(TIME), 100.0, tmp_path) is None
    other = make_card(tmp_path / "other", TIME, train=(0, 50), valid=(50, 99))
    assert others.has_seen_test(config_of(TIME), None, other) is None


@pytest.mark.parametrize(
    ("times", "first"),
    [
        ([2**31 + 7, None, 2**31 + 1], 2**31 + 1),  # float32 would not tell them apart
        ([7.5, 3.5], 3.5),
        ([None, None], None),
        (["2024-05-07", "2024-05-06 01:00"], 1714953600 + 3600),
        (["17", "x", "9.5"], 9.5),
    ],
)
def test_the_first_time_of_the_test_rows(tmp_path, times, first):
    for name, part in (("a", times[:1]), ("b", times[1:])):
        column = pa.array(part, pa.array(times).type)
        pq.write_table(pa.table({"at": column}), tmp_path / f"{name}.parquet")
    assert others.first_test_time(config_of(TIME), tmp_path) == first
    assert others.first_test_time(config_of(HASH), tmp_path) is None
