"""The split, the domain, and logs of events."""

import numpy as np
import pytest
from small_logs import ROWS, drafted, features, reasons, tasks

from pipeline.errors import PipelineError
from pipeline.init.draft import Asked

RNG = np.random.default_rng(4)
TAB = RNG.integers(0, 3, ROWS)
BY_TAB = (RNG.random(ROWS) < np.array([0.1, 0.3, 0.6])[TAB]).astype(int)


def _split(found):
    return found.data["split"]["by"], found.data["split"].get("column")


def test_rows_are_split_by_the_finest_time():
    found = drafted(date=20261101 + np.arange(ROWS) // 200)
    assert _split(found) == ("time", "timestamp")


def test_without_a_time_all_rows_of_a_user_stay_together():
    found = drafted(timestamp=None)
    assert _split(found) == ("hash", "user_id")
    assert found.user == "user_id"


def test_a_time_by_which_a_split_would_be_empty_is_not_taken():
    times = np.where(np.arange(ROWS) < 10, 1_700_000_000, 1_700_000_001)
    assert _split(drafted(timestamp=times)) == ("hash", "user_id")


def test_without_time_and_user_rows_are_drawn():
    found = drafted(timestamp=None, user_id=None)
    assert _split(found) == ("random", None)


def test_rows_of_a_request_stay_together():
    found = drafted(timestamp=None, user_id=None, request_id=np.arange(ROWS) // 4)
    assert _split(found) == ("hash", "request_id")


def test_the_domain_has_a_telling_name_and_different_rates():
    found = drafted(tab=TAB, click=BY_TAB)
    assert found.domain == "tab"
    assert "click is" in found.notes["domain"]


def test_rates_that_differ_by_chance_make_no_domain():
    tabs = {"tab": RNG.integers(0, 20, ROWS)}
    assert drafted(**tabs).domain is None


def test_rates_that_differ_a_little_make_no_domain():
    """By no chance, but 9 in 10 are not far from 8 in 10."""
    row = np.arange(ROWS)
    click = (row // 2 % 10 < 8 + row % 2).astype(int)
    assert drafted(tab=row % 2, click=click).domain is None


@pytest.mark.parametrize("change", [{"tab": TAB}, {"level": TAB, "click": BY_TAB}])
def test_one_of_both_is_not_enough(change):
    assert drafted(**change).domain is None


def test_flags_override():
    found = drafted(
        Asked(domain="level", time="when", user="member"),
        level=TAB,
        when=np.arange(ROWS)[::-1],
        member=RNG.integers(0, 9, ROWS),
    )
    assert found.domain == "level" and found.user == "member"
    assert _split(found) == ("time", "when")


def test_a_domain_becomes_a_category_or_is_refused():
    count = RNG.integers(0, 3, ROWS)
    assert features(drafted(count=count))["count"]["kind"] == "numeric"
    found = drafted(Asked(domain="count"), count=count)
    assert features(found)["count"]["kind"] == "categorical"
    with pytest.raises(PipelineError, match="--domain: column 'click' is no category"):
        drafted(Asked(domain="click"))


@pytest.mark.parametrize("flag", ["domain", "time", "user"])
def test_columns_that_are_not_there_are_refused(flag):
    with pytest.raises(PipelineError, match=f"--{flag}: there is no column 'itemid'"):
        drafted(Asked(**{flag: "itemid"}))


def _events():
    """Views, some of which are followed by a like after 5 minutes."""
    shown = RNG.random(ROWS) < 0.5
    user, item = np.arange(ROWS) // 2 % 50, np.arange(ROWS) // 2 % 40
    is_view = np.arange(ROWS) % 2 == 0
    kind = np.where(is_view, "VIEW", np.where(shown, "LIKE", "VIEW"))
    time = 1_700_000_000 + np.arange(ROWS) // 2 * 1000 + np.where(is_view, 0, 300)
    return kind, dict(eventType=kind, user_id=user, item_id=item, timestamp=time)


def test_a_log_of_events_is_joined_with_itself():
    kind, log = _events()
    found = drafted(click=None, **log)
    (action,) = found.data["actions"]
    assert found.data["where"] == 'eventType == "VIEW"'
    assert action == {
        "name": "like",
        "logs": ["x.parquet"],
        "where": 'eventType == "LIKE"',
        "key": ["user_id", "item_id"],
        "time": "timestamp",
        "window": "10m",
    }
    assert tasks(found) == {"like": None}
    (label,) = found.labels
    assert len(label.values) == np.sum(kind == "VIEW")
    assert label.values.sum() == np.sum(kind == "LIKE")
    assert "tells the label" in reasons(found)["eventType"]


def test_a_type_of_items_is_no_log_of_events():
    _, log = _events()
    kinds = np.where(log["eventType"] == "VIEW", "video", "article")
    del log["eventType"]
    found = drafted(**log, type=kinds)
    assert tasks(found) == {"click": None}
    assert "actions" not in found.data and "type" in features(found)


def test_events_too_rare_to_be_learnt_make_no_log_of_events():
    kind, log = _events()
    log["eventType"] = np.where(np.arange(ROWS) < 3, "LIKE", "VIEW")
    found = drafted(**log)
    assert "actions" not in found.data and tasks(found) == {"click": None}


def test_milliseconds_are_told_by_their_size():
    _, log = _events()
    found = drafted(click=None, **{**log, "timestamp": log["timestamp"] * 1000})
    assert found.data["time_unit"] == "ms"
    assert found.data["actions"][0]["window"] == "10m"


def test_why_rows_are_drawn_is_said():
    days = [f"{1 + i % 28}/11/2026" for i in range(ROWS)]
    users = [u if i % 9 else None for i, u in enumerate(RNG.integers(0, 90, ROWS))]
    found = drafted(timestamp=days, user_id=users)
    assert _split(found) == ("random", None)
    note = found.notes["split"]
    assert "timestamp is no ISO 8601 time, such as '1/11/2026'" in note
    assert "user_id is missing in 11.2% of the rows" in note
    by_user = drafted(timestamp=days)
    assert _split(by_user) == ("hash", "user_id")
    assert "timestamp is no ISO 8601 time" in by_user.notes["split"]


def test_a_time_with_gaps_is_named_as_why_rows_are_drawn():
    times = [i if i % 9 else None for i in range(ROWS)]
    found = drafted(timestamp=times, user_id=None)
    assert "timestamp is missing in 11.2% of the rows" in found.notes["split"]
