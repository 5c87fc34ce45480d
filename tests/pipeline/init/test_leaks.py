"""Columns that tell a label do not become features."""

import re

import numpy as np
import pyarrow as pa
from small_logs import ROWS, columns, drafted, features, reasons, tasks

from pipeline.init.leaks import tells
from pipeline.init.profiles import profiles
from tfmtl.metrics.exact.ranking import auc

RNG = np.random.default_rng(3)
CLICK = columns()["click"]


def test_a_column_that_is_filled_only_where_the_label_is_1():
    found = drafted(cart=np.where(CLICK, RNG.integers(0, 9, ROWS), None).tolist())
    assert reasons(found)["cart"] == "filled only where click is 1"


def test_a_number_that_is_0_wherever_the_label_is_0():
    found = drafted(basket_size=CLICK * RNG.integers(0, 9, ROWS))
    assert reasons(found)["basket_size"] == "0 or missing wherever click is 0"


def test_a_column_that_ranks_the_label_alone():
    wrong = RNG.random(ROWS) < 0.004
    codes = np.where(CLICK ^ wrong, RNG.integers(0, 5, ROWS), 5 + RNG.integers(0, 5))
    found = drafted(state=[f"s{code}" for code in codes], noise=RNG.random(ROWS))
    assert "alone it ranks click with an AUC of 0.99" in reasons(found)["state"]
    assert {"noise", "price"} <= features(found).keys()


def test_a_column_that_tells_a_number_alone():
    watched = RNG.exponential(30, ROWS)
    found = drafted(
        watch_seconds=watched,
        scaled=watched / 60,
        near=watched * RNG.uniform(0.5, 2, ROWS),
    )
    assert "watch_seconds" in tasks(found)
    expected = r"alone it explains 99\.\d+% of the order of watch_seconds"
    assert re.fullmatch(expected, reasons(found)["scaled"])
    assert {"near", "price"} <= features(found).keys()


def test_the_price_of_an_item_may_tell_the_revenue():
    log = columns()
    item = RNG.integers(0, 40, ROWS)
    price = RNG.exponential(5, 40)[item]
    shop = {"item_id": item, "price": price, "revenue": price * log["click"]}
    assert "price" in features(drafted(**shop))
    one_each = {**shop, "item_id": np.arange(ROWS) % 7}
    assert "explains" in reasons(drafted(**one_each))["price"]


def test_ids_that_come_once_tell_nothing():
    found = drafted(item_id=[f"i{i // 2}" for i in range(ROWS)])
    assert "item_id" in features(found)


def test_a_leak_of_a_later_stage_is_looked_for_in_its_space():
    order = CLICK * (RNG.random(ROWS) < 0.3)
    # Of all rows a click tells much of an order, of those with a click nothing.
    found = drafted(purchase=order, depth=CLICK * 3 + RNG.integers(0, 3, ROWS))
    assert "click" in reasons(found)["depth"]


def test_the_auc_of_a_column_is_that_of_its_rates():
    few = RNG.integers(0, 4, ROWS)
    label = (RNG.random(ROWS) < 0.2 + 0.15 * few).astype(float)
    profile = profiles(pa.table({"few": few}))["few"]
    learnt, measured = slice(0, None, 2), slice(1, None, 2)
    rates = np.array([label[learnt][few[learnt] == i].mean() for i in range(4)])
    expected = auc(label[measured], rates[few[measured]])
    found = tells(profile, label, np.ones(ROWS, bool))
    np.testing.assert_allclose(found, expected)


def test_a_value_seen_once_tells_less_than_one_seen_often():
    learnt = [("once", 1), *[("often", 1)] * 8, ("often", 0), *[("rest", 0)] * 9]
    learnt.append(("rest", 1))
    measured = [("once", 0)] * 4 + [("often", 1)] * 8 + [("rest", 0)] * 8
    rows = [row for pair in zip(learnt, measured, strict=True) for row in pair]
    values, label = zip(*rows, strict=True)
    profile = profiles(pa.table({"value": values}))["value"]
    assert tells(profile, np.array(label, float), np.ones(len(label), bool)) == 1
