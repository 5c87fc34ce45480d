"""Labels, their funnel and their sample spaces."""

import numpy as np
import pytest
from small_logs import ROWS, columns, drafted, features, reasons, tasks, where

from pipeline.errors import PipelineError
from pipeline.init import names
from pipeline.init.draft import Asked
from tfmtl import _label_names

RNG = np.random.default_rng(2)
CLICK = columns()["click"]
SOME = RNG.random(ROWS) < 0.2
RATING = RNG.integers(1, 6, ROWS)


def _label(found, task):
    return next(label for label in found.labels if label.task == task)


def test_actions_are_labels_and_other_flags_are_features():
    found = drafted(is_vip=SOME.astype(int), like=SOME[::-1].astype(int))
    assert tasks(found) == {"click": None, "like": None}
    assert "is_vip" in features(found)


def test_a_label_under_another_name_is_neither_learnt_again_nor_a_feature():
    found = drafted(is_click=CLICK, click_label=CLICK.astype(float), like=1 - CLICK)
    assert tasks(found) == {"click": None, "like": None}
    assert not {"is_click", "click_label"} & features(found).keys()


def test_minus_1_is_no():
    order = CLICK * SOME
    found = drafted(click=2 * CLICK - 1, buy=2 * order - 1)
    assert tasks(found) == {"click_is_1": None, "buy_is_1": "click_is_1"}
    assert _label(found, "click_is_1").expression == "click == 1"


def test_what_a_label_without_a_name_needs_is_no_feature():
    shown = (RNG.random(ROWS) < 0.5).astype(int)
    found = drafted(click=None, is_vip=SOME.astype(int), a=shown, b=CLICK * shown)
    assert tasks(found) == {"b": None} and "is_vip" in features(found)
    assert reasons(found)["a"].startswith("b is never 1 without it")


def test_chinese_names_are_understood():
    order = CLICK * SOME
    user = RNG.integers(0, 90, ROWS)
    zh = {"用户ID": user, "点击": CLICK, "购买": order, "时间": np.arange(ROWS)}
    found = drafted(user_id=None, click=None, timestamp=None, **zh)
    assert tasks(found) == {"label_1": None, "label_2": "label_1"}
    assert found.user == "用户ID" and found.data["split"]["column"] == "时间"
    assert not {"点击", "购买"} & features(found).keys()
    found = drafted(click=None, label_1=SOME * RATING, **zh)  # whose name is taken
    assert tasks(found) == {"label_1_": None, "label_2": "label_1_"}


def test_what_happened_before_is_no_label():
    found = drafted(clicked_last_week=SOME.astype(int))
    assert tasks(found) == {"click": None}


def test_a_later_stage_is_learnt_from_the_rows_of_an_earlier():
    order = CLICK * SOME
    found = drafted(purchase=order, paid=order * (RNG.random(ROWS) < 0.5))
    assert tasks(found) == {"click": None, "purchase": "click", "paid": "purchase"}


def test_a_stage_that_happens_without_the_earlier_one_is_learnt_from_all_rows():
    assert tasks(drafted(purchase=SOME.astype(int)))["purchase"] is None


def test_likes_after_clicks_are_learnt_from_all_rows_and_say_so():
    found = drafted(like=CLICK * SOME)
    assert tasks(found)["like"] is None
    assert "`space: click`" in " ".join(_label(found, "like").notes)


def test_a_label_that_is_known_where_a_flag_is_1_is_learnt_there():
    found = drafted(
        played=CLICK,
        long_view=where(CLICK, SOME.astype(int)),
        click=SOME.astype(int),
    )
    assert tasks(found) == {"click": None, "long_view": "played"}
    assert "played" not in features(found)


def test_the_task_is_the_space_where_the_flag_is_its_label():
    found = drafted(purchase=where(CLICK, SOME.astype(int)))
    assert tasks(found) == {"click": None, "purchase": "click"}


def test_what_an_action_was_worth_is_learnt_from_its_rows():
    buy = CLICK * SOME
    found = drafted(purchase=buy, spend=buy * RNG.exponential(20, ROWS))
    assert tasks(found)["spend"] == "purchase"
    assert _label(found, "spend").kind == "regression"


def test_time_that_was_spent_is_a_label_and_the_length_of_an_item_is_not():
    item = RNG.integers(0, 40, ROWS)
    found = drafted(
        item_id=item,
        watch_ms=RNG.integers(1, 90_000, ROWS),
        play_duration=item * 1000.0 + 500,  # one for each item
    )
    assert tasks(found) == {"click": None, "watch_ms": None}
    assert "play_duration" in features(found)


def test_a_time_of_which_most_are_0_is_neither_a_label_nor_a_feature():
    stayed = np.where(SOME, RNG.integers(1, 90_000, ROWS), 0)
    found = drafted(comment_stay_time=stayed, watching_times=RATING)
    assert tasks(found) == {"click": None}
    assert "only later" in reasons(found)["comment_stay_time"]
    assert "task by --label watching_times" in reasons(found)["watching_times"]


def test_a_rating_becomes_a_label_by_a_threshold():
    found = drafted(rating=RATING, click=None)
    label = _label(found, "rating_4_up")
    assert label.expression == "rating >= 4"
    np.testing.assert_array_equal(label.values, RATING >= 4)
    assert "rating" not in features(found)


def test_yes_and_no_are_compared():
    found = drafted(buy=np.where(SOME, "yes", "no"))
    label = _label(found, "buy_is_yes")
    assert label.expression == 'buy == "yes"'
    np.testing.assert_array_equal(label.values, SOME)


def test_predictions_of_labels_are_no_features():
    found = drafted(p_click=RNG.random(ROWS), pred_watch_ms=RNG.random(ROWS))
    assert "prediction of click" in reasons(found)["p_click"]


def test_an_action_that_nobody_did_is_left_out():
    found = drafted(share=np.zeros(ROWS, int))
    assert tasks(found) == {"click": None}
    assert "0 in all rows" in reasons(found)["share"]


@pytest.mark.parametrize("codes", [(1, 2), (0, 9)])
def test_an_action_in_other_numbers_than_0_and_1_is_no_feature(codes):
    found = drafted(purchase=CLICK * SOME, click=np.where(CLICK == 1, *codes[::-1]))
    assert tasks(found) == {"purchase": None}
    assert "known only later" in reasons(found)["click"]


def test_no_task_is_called_as_what_tasks_share():
    assert tasks(drafted(shared=SOME.astype(int))) == {"click": None, "shared_": None}


def test_without_a_telling_name_the_last_column_is_the_label():
    found = drafted(click=None, outcome_x=np.where(SOME, "50+", "50-"))
    assert tasks(found) == {"outcome_x_is_50": None}
    assert "the last column" in _label(found, "outcome_x_is_50").notes[0]


def test_without_any_candidate_a_label_is_asked_for():
    with pytest.raises(PipelineError, match="no column looks like a label.*--label"):
        drafted(click=None, other=RNG.random(ROWS))


def test_asked_labels_are_the_only_ones():
    found = drafted(Asked(labels=["is_vip"]), is_vip=SOME.astype(int))
    assert tasks(found) == {"is_vip": None}
    assert "only later" in reasons(found)["click"]


def test_what_each_user_has_in_all_rows_is_no_action():
    subscribed = np.array(["no", "yes"])[np.arange(ROWS) % 40 % 2]
    user = [f"u{i % 40}" for i in range(ROWS)]
    found = drafted(user=user, subscribed=subscribed)
    assert tasks(found) == {"click": None}
    assert "subscribed" in features(found)
    found = drafted(user=user, click=subscribed == "yes")  # the only one
    assert tasks(found) == {"click": None}


def test_labels_without_a_latin_letter_are_numbered():
    rare = {"\u8d2d\u4e70": CLICK * SOME, "\u70b9\u8d5e": SOME}
    found = drafted(Asked(labels=[*rare]), **rare)
    assert [(label.task, label.source) for label in found.labels] == [
        (f"label_{i}", name) for i, name in enumerate(rare, 1)
    ]


def test_a_label_is_no_time_of_a_row():
    with pytest.raises(PipelineError, match="--time: 'click' is a label"):
        drafted(Asked(time="click"))


@pytest.mark.parametrize("name", ["clik", "user_id_of_nobody"])
def test_a_label_that_is_not_there_is_refused_with_what_is(name):
    with pytest.raises(PipelineError, match="--label: there is no column.*Columns:"):
        drafted(Asked(labels=[name]))


def test_texts_cannot_be_a_label():
    with pytest.raises(PipelineError, match="'item_id' has 40 values of kind text"):
        drafted(Asked(labels=["item_id"]))


def test_a_play_that_a_label_needs_is_no_feature():
    play = SOME.astype(int)
    found = drafted(play=play, like=play * (RNG.random(ROWS) < 0.5))
    assert "like needs it" in reasons(found)["play"]
    assert "play" in features(drafted(play=play))  # nothing comes after it


def test_a_time_that_is_spent_after_clicks_only_is_learnt_from_them():
    found = drafted(dwell=CLICK * RNG.exponential(9, ROWS))
    assert tasks(found) == {"click": None, "dwell": "click"}


def test_a_time_that_is_mostly_0_says_how_it_becomes_a_task():
    found = drafted(dwell=SOME * RNG.exponential(9, ROWS))
    assert "--label dwell" in reasons(found)["dwell"]


def test_a_label_of_one_value_is_named():
    with pytest.raises(PipelineError, match="0 in all rows that were read: click"):
        drafted(click=[0] * ROWS)
    with pytest.raises(PipelineError, match="Column 'click' is '1' in all rows"):
        drafted(Asked(["click"]), click=[1] * ROWS)


def test_the_library_tells_funnels_by_the_same_words():
    assert _label_names.FUNNEL == names._FUNNEL
    assert _label_names.EXPOSURES == names._EXPOSURES
    assert _label_names.PAST == names._PAST
    assert _label_names.REACTIONS == names._REACTIONS
    assert _label_names.DWELL == names._DWELL
    assert _label_names.DURATION == names._DURATION
    assert _label_names.ITEMS == names._ITEM
