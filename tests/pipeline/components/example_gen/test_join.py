"""Joins and histories: against loops over rows, and on a real event log."""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import make_config
from engines import ENGINES, engine
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import SHARED

from pipeline.artifacts import examples
from pipeline.artifacts.layout import SPLITS
from pipeline.beam import spill
from pipeline.components.example_gen import join, matching, partitions
from pipeline.components.example_gen import packed as packing
from pipeline.components.example_gen.component import example_gen
from pipeline.errors import PipelineError
from pipeline.logs import formats

DESKDROP = SHARED / "data/deskdrop/users_interactions.csv.zip"


def _config(data, features=(), tasks=("click",), rate=0.0, user="user"):
    split = {"by": "hash", "column": "user", "train": 0.5, "valid": 0.25}
    data = {"split": split, "max_dead_letter_rate": rate, **data}
    return make_config(data, [user, *features], tasks)


def _run(config, folder):
    folder.mkdir()
    summary = example_gen(config, {}, {"examples": folder})
    rows = [
        row
        for name in SPLITS
        for batch in examples.read_batches(folder / f"Split-{name}")
        for row in batch.to_pylist()
    ]
    _adds_up(summary)
    assert len(rows) == summary["rows"]
    return summary, rows


def _adds_up(summary):
    lost = [summary[name] for name in ("dead", "filtered", "incomplete")]
    assert summary["rows_in"] == summary["rows"] + sum(lost)
    for counts in summary["actions"].values():
        parts = [count for name, count in counts.items() if name != "rows_in"]
        assert counts["rows_in"] == sum(parts)


def _write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [str(path)]


def _write_csv(path, rows):
    lines = [",".join(rows[0])]
    lines += [
        ",".join("" if v is None else str(v) for v in row.values()) for row in rows
    ]
    path.write_text("\n".join(lines) + "\n")
    return [str(path)]


def _logs(seed=0, impressions=300, actions=500, users=6, items=4, times=60):
    """Few keys and times, so that ties, duplicates and strangers are many."""
    rng = np.random.default_rng(seed)

    def rows(count, **more):
        return [
            {
                "user": f"u{rng.integers(users)}",
                "item": int(rng.integers(items)),
                "time": int(rng.integers(times)) + 1_000_000,
                **{name: make(i) for name, make in more.items()},
            }
            for i in range(count)
        ]

    shown = rows(impressions, row=lambda i: i)
    clicks = rows(
        actions,
        seconds=lambda i: None if rng.random() < 0.2 else int(rng.integers(5)),
        kind=lambda i: "long" if rng.random() < 0.5 else "short",
    )
    return shown, clicks


def _naive(shown, clicks, window, where=lambda click: True):
    """{row: clicks of it, the earliest first} and what became of each click."""
    found = {row["row"]: [] for row in shown}
    counts = dict.fromkeys(("matched", "unmatched", "duplicates", "filtered"), 0)
    seen = set()
    for order, click in enumerate(clicks):
        if not where(click):
            counts["filtered"] += 1
            continue
        identity = tuple(
            v for k, v in sorted(click.items()) if k in ("user", "item", "time")
        ) + (click["seconds"],)
        if identity in seen:
            counts["duplicates"] += 1
            continue
        seen.add(identity)
        owner = None
        for row in shown:
            if (row["user"], row["item"]) != (click["user"], click["item"]):
                continue
            if row["time"] > click["time"]:
                continue
            if owner is None or row["time"] >= owner["time"]:
                owner = row
        if owner is None or click["time"] - owner["time"] > window:
            counts["unmatched"] += 1
        else:
            counts["matched"] += 1
            found[owner["row"]].append((click["time"], order, click["seconds"]))
    return {row: sorted(of) for row, of in found.items()}, counts


@pytest.mark.parametrize("partition_bytes", [1 << 10, 1 << 30])
@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_join_equals_a_loop(tmp_path, monkeypatch, partition_bytes, format):
    monkeypatch.setattr(join, "_PARTITION_BYTES", partition_bytes)
    shown, clicks = _logs()
    if format == "jsonl":
        logs = _write(tmp_path / "shown.jsonl", shown)
    else:
        logs = _write_csv(tmp_path / "shown.csv", shown)
    _write(tmp_path / "clicks-0.jsonl", clicks[:200])
    _write(tmp_path / "clicks-1.jsonl", clicks[200:])
    action = {
        "name": "click",
        "logs": f"{tmp_path}/clicks-*.jsonl",
        "key": {"user": "user", "item": "item"},
        "time": "time",
        "window": 7,
        "where": 'kind == "long"',
        "values": {
            "total": {"column": "seconds", "take": "sum"},
            "least": {"column": "seconds", "take": "min"},
            "most": {"column": "seconds", "take": "max"},
            "first": {"column": "seconds", "take": "first"},
            "last": "seconds",
        },
        "incomplete": "keep",
    }
    labels = {"long": "total > 3", "any": "click == 1 and coalesce(total, 0) >= 0"}
    data = {"logs": logs, "time": "time", "actions": [action], "labels": labels}
    summary, rows = _run(_config(data), tmp_path / "out")

    found, counts = _naive(shown, clicks, 7, lambda click: click["kind"] == "long")
    assert min(counts.values()) > 5  # the test sees every case
    got = summary["actions"]["click"]
    assert {name: got[name] for name in counts} == counts
    assert got["rows_in"] == 500 and got["dead"] == got["kept"] == 0
    assert sorted(int(row["row"]) for row in rows) == list(range(300))
    for row in rows:
        of = found[int(row["row"])]
        seconds = [value for _, _, value in of if value is not None]
        assert row["click"] == float(bool(of))
        assert row["total"] == (sum(seconds) if seconds else None)
        assert row["least"] == (min(seconds) if seconds else None)
        assert row["most"] == (max(seconds) if seconds else None)
        assert row["first"] == (seconds[0] if seconds else None)
        assert row["last"] == (seconds[-1] if seconds else None)
        assert row["long"] == (float(sum(seconds) > 3) if seconds else None)
        assert row["any"] == float(bool(of))


def _hashes(folder):
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def _joined(folder):
    """A config that joins three files of impressions with clicks, and lists these."""
    shown, clicks = _logs(2)
    for i in range(3):
        _write(folder / f"shown-{i}.jsonl", shown[i * 100 : (i + 1) * 100])
    key = {"key": "user", "time": "time"}
    logs = _write(folder / "clicks.jsonl", clicks)
    clicked = {"actions": "click", "column": "item", "key": "user"}
    data = {
        "logs": f"{folder}/shown-*.jsonl",
        "time": "time",
        "actions": [{"name": "click", "logs": logs, "window": 7, **key}],
        "history": [{"name": "clicked", **clicked}],
    }
    sequence = {"name": "clicked", "kind": "sequence", "of": "item"}
    return _config(data, features=["item", sequence])


def test_rows_wait_on_disk_or_in_the_shuffle_and_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(join, "_PARTITION_BYTES", 1 << 12)
    monkeypatch.setattr(join, "CHUNK_ROWS", 16)
    monkeypatch.setattr(formats, "CHUNK_ROWS", 32)
    monkeypatch.setattr(partitions, "_DIVIDED", 1 << 10)
    config, pack, found = _joined(tmp_path), packing.pack, []

    def watched(batch, keep):
        found.append(pack(batch, keep))
        return found[-1]

    monkeypatch.setattr(partitions, "pack", watched)
    summary, rows = _run(config, tmp_path / "spilled")
    assert all(isinstance(some.rows, spill.Place) for some in found)
    assert len(found) > 4 * 6  # users: a partition has several pieces
    monkeypatch.setattr(spill, "folder", lambda workers: None)
    assert _run(config, tmp_path / "shuffled") == (summary, rows)
    assert all(isinstance(some.rows, bytes) for some in found[len(found) // 2 :])
    assert _hashes(tmp_path / "spilled") == _hashes(tmp_path / "shuffled")


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_joins_what_the_local_runner_does(tmp_path, monkeypatch, name):
    monkeypatch.setattr(join, "_PARTITION_BYTES", 1 << 12)
    config = _joined(tmp_path)
    local = _run(config, tmp_path / "local")
    with engine(name, tmp_path) as beam:
        far = config.model_copy(update={"beam": beam})
        assert _run(far, tmp_path / "far") == local
    assert _hashes(tmp_path / "far") == _hashes(tmp_path / "local")


@pytest.mark.parametrize("delay", [0, 3])
def test_history_equals_a_loop(tmp_path, monkeypatch, delay):
    monkeypatch.setattr(join, "_PARTITION_BYTES", 1 << 12)
    shown, clicks = _logs(1)
    logs = _write(tmp_path / "shown.jsonl", shown)
    data = {
        "logs": logs,
        "time": "time",
        "actions": [
            {
                "name": "clicks",
                "logs": _write(tmp_path / "clicks.jsonl", clicks),
                "key": "user",
                "time": "time",
            }
        ],
        "history": [
            {
                "name": "clicked",
                "actions": "clicks",
                "key": "user",
                "column": "item",
                "fields": {"seconds": "seconds"},
                "age": "ago",
                "where": 'kind == "long"',
                "max_length": 5,
                "min_delay": delay,
            },
            {
                "name": "shown",
                "key": "user",
                "column": "item",
                "max_length": 50,
                "min_delay": delay,
            },
        ],
    }
    features = [
        {"name": "clicked", "kind": "sequence", "of": "user", "max_length": 5},
        {
            **{"name": "seconds", "kind": "numeric_sequence", "max_length": 5},
            "side_of": "clicked",
        },
    ]
    summary, rows = _run(_config(data, features, tasks=("row",)), tmp_path / "out")
    events, seen = [], set()
    for order, click in enumerate(clicks):
        item = str(click["item"]) if click["kind"] == "long" else None
        seconds = "" if click["seconds"] is None else str(click["seconds"])
        identity = (click["user"], click["time"], item, seconds)
        if identity not in seen:
            seen.add(identity)
            events.append((click["time"], order, click["user"], item, seconds))
    assert summary["actions"]["clicks"]["kept"] == len(events) < 500
    by_row = {int(row["row"]): row for row in rows}
    lengths = []
    for row in shown:
        wanted = [
            (item, seconds, str(row["time"] - time))
            for time, _, user, item, seconds in sorted(e for e in events if e[3])
            if user == row["user"] and time < row["time"] - delay
        ][-5:]
        found = (by_row[row["row"]][name] for name in ("clicked", "seconds", "ago"))
        assert [*zip(*found, strict=True)] == wanted
        lengths.append(len(wanted))
        earlier = [
            (other["time"], other["row"], str(other["item"]))
            for other in shown
            if other["user"] == row["user"] and other["time"] < row["time"] - delay
        ]
        assert by_row[row["row"]]["shown"] == [i for *_, i in sorted(earlier)][-50:]
    assert {0, 2, 5} <= set(lengths)


_KEYS = st.integers(0, 2)
_TIMES = st.one_of(st.integers(0, 6).map(float), st.floats(0, 6, width=32))


@settings(max_examples=300)
@given(
    st.lists(st.tuples(_KEYS, _TIMES), max_size=12),
    st.lists(st.tuples(_KEYS, _TIMES), max_size=12),
    st.sampled_from([0.0, 1.0, 2.5, 100.0]),
    st.integers(1, 4),
    st.sampled_from([None, 0.0, 1.0]),
)
def test_matching_equals_a_loop(shown, actions, number, length, delay):
    keys, times = (
        np.array([row[i] for row in shown], t) for i, t in ((0, int), (1, float))
    )
    of, at = (
        np.array([row[i] for row in actions], t) for i, t in ((0, int), (1, float))
    )
    owner = matching.owners(keys, times, of, at, window=number, min_delay=delay)
    for action, found in zip(actions, owner, strict=True):
        before = [
            (time, i)
            for i, (key, time) in enumerate(shown)
            if key == action[0]
            and (time <= action[1] if delay is None else time < action[1] - delay)
        ]
        last = max(before, default=None)
        wanted = last[1] if last and action[1] - last[0] <= number else -1
        assert found == wanted
    ranges = matching.earlier(keys, times, of, at, length, min_delay=number)
    offsets, where = matching.spread(*ranges)
    for i, (key, time) in enumerate(shown):
        wanted = sorted(
            (then, j)
            for j, (other, then) in enumerate(actions)
            if other == key and then < time - number
        )[-length:]
        assert where[offsets[i] : offsets[i + 1]].tolist() == [j for _, j in wanted]


def test_the_last_impression_before_an_action_gets_it(tmp_path):
    """By hand: two impressions of the pair, windows of 10 seconds, logs end at 120."""
    shown = [
        {"user": "a", "item": 1, "time": 100, "row": 0},
        {"user": "a", "item": 1, "time": 105, "row": 1},
        {"user": "a", "item": 2, "time": 112, "row": 2},
        {"user": "b", "item": 1, "time": 110, "row": 3},
        {"user": None, "item": 1, "time": 110, "row": 4},
        {"user": "c", "item": 1, "time": 101, "row": 5},
    ]
    clicks = [
        {"user": "a", "item": 1, "time": 105, "seconds": 4},  # in the very second
        {"user": "a", "item": 1, "time": 115, "seconds": 5},  # the last of the window
        {"user": "a", "item": 1, "time": 116, "seconds": 9},  # too late
        {"user": "a", "item": 1, "time": 99, "seconds": 9},  # before all
        {"user": "a", "item": 2, "time": 113, "seconds": 2},  # of an open window
        {"user": "b", "item": 1, "time": 120, "seconds": 1},  # window just over
        {"user": "d", "item": 1, "time": 110, "seconds": 9},  # of no impression
    ]
    action = {
        "name": "click",
        "logs": _write_csv(tmp_path / "clicks.csv", clicks),
        "key": ["user", "item"],
        "time": "time",
        "window": "10s",
        "values": {"total": {"column": "seconds", "take": "sum"}},
    }
    data = {"logs": _write_csv(tmp_path / "s.csv", shown), "time": "time"}
    data |= {"split": {"by": "hash", "column": "row", "train": 0.4, "valid": 0.3}}

    def outcome(incomplete, **more):
        config = _config({**data, **more, "actions": [{**action, **incomplete}]})
        name = f"{len(list(tmp_path.iterdir()))}"
        summary, rows = _run(config, tmp_path / name)
        rows = {int(row["row"]): (row["click"], row["total"]) for row in rows}
        return summary, [rows.get(i) for i in range(6)]

    summary, rows = outcome({})
    unlabelled = (None, None)
    assert rows == [(0, None), (1, 9), unlabelled, (1, 1), unlabelled, (0, None)]
    assert summary["actions"]["click"]["unmatched"] == 3
    assert summary["unlabelled"] == {"click": 2}
    assert summary["notes"][1].endswith("7 rows_in; 2 impressions unlabelled")
    summary, rows = outcome({"incomplete": "keep"})
    assert rows == [(0, None), (1, 9), (1, 2), (1, 1), unlabelled, (0, None)]
    summary, rows = outcome({"incomplete": "drop"})
    assert rows == [(0, None), (1, 9), None, (1, 1), unlabelled, (0, None)]
    assert summary["incomplete"] == 1 and summary["rows"] == 5
    assert summary["unlabelled"] == {"click": 1}  # without a key
    # A row that is no such action still shows that the log went on.
    with open(action["logs"][0], "a") as file:
        file.write("z,1,122,0\n")
    _, rows = outcome({"where": 'user != "z"'})
    assert rows[2] == (1, 2)
    # The logs are known to go on for longer than the last row in them.
    _, rows = outcome({}, until="1970-01-01T00:02:02")
    assert rows[2] == (1, 2)
    _, rows = outcome({}, until=119)
    assert rows[3] == unlabelled


@pytest.mark.parametrize("by", ["time", "given"])
def test_joined_rows_are_split_too_and_the_same_each_time(by, tmp_path):
    shown, _ = _logs(3)
    shown.sort(key=lambda row: row["time"])
    logs = {
        name: _write_csv(tmp_path / f"{name}.csv", rows)
        for name, rows in (
            ("train", shown[:200]),
            ("valid", shown[200:250]),
            ("test", shown[250:]),
        )
    }
    data = {
        "logs": logs if by == "given" else sum(logs.values(), []),
        "time": "time",
        "history": [{"name": "h", "key": "user", "column": "item", "max_length": 3}],
        "split": {"by": by, "column": None if by == "given" else "time"},
    }
    config = _config(data, tasks=("row",))
    summary, rows = _run(config, tmp_path / "one")
    if by == "given":
        assert [summary[name] for name in SPLITS] == [200, 50, 50]
    else:
        train = max(int(row["time"]) for row in rows[: summary["train"]])
        assert train < min(int(row["time"]) for row in rows[summary["train"] :])
        assert summary["train"] == pytest.approx(240, abs=10)
    # A validation row's history reaches back into the rows that train.
    assert sum(len(row["h"]) for row in rows[summary["train"] :]) > 100
    _run(config, tmp_path / "two")
    for path in (tmp_path / "one").rglob("*.parquet"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()


def test_bad_rows_of_both_sides_are_dead_letters(tmp_path):
    shown, clicks = _logs(2, impressions=100, actions=100)
    shown[7]["time"] = "soon"
    clicks[3]["user"] = None
    clicks[4]["time"] = None
    clicks[5]["seconds"] = "many"
    clicks[6]["kind"] = "x"
    (tmp_path / "clicks.jsonl").write_text(
        "".join(json.dumps(click) + "\n" for click in clicks) + "{broken\n"
    )
    data = {
        "logs": _write(tmp_path / "shown.jsonl", shown),
        "time": "time",
        "actions": [
            {
                "name": "click",
                "logs": f"{tmp_path}/clicks.jsonl",
                "key": ["user", "item"],
                "time": "time",
                "window": "1m",
                "values": {"total": {"column": "seconds", "take": "sum"}},
            }
        ],
        "labels": {"odd": "item > 1 if row < 50 else item"},
    }
    out = tmp_path / "out"
    summary, rows = _run(_config(data, rate=0.05), out)
    assert summary["dead"] == 1 and summary["rows"] == 99
    assert summary["actions"]["click"]["dead"] == 4
    letters = [
        json.loads(line)
        for file in sorted((out / "dead_letter").iterdir())
        for line in file.read_text().splitlines()
    ]
    assert [(Path(e["source"]).stem, e["line"]) for e in letters] == [
        *(("clicks", line) for line in (101, 4, 5, 6)),
        ("shown", 8),
    ]
    assert letters[1]["reason"] == "column 'user': the join needs a value"
    assert "Received: None" in letters[2]["reason"]
    assert letters[3]["reason"] == "column 'seconds': 'many' is not a number"
    assert "Received: 'soon'" in letters[4]["reason"]
    with pytest.raises(PipelineError, match=r"4 of 101 rows of data\.actions\.0"):
        _run(_config(data, rate=0.03), tmp_path / "stopped")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": None}, "need `time`"),
        (
            {"history": [{"name": "h", "key": "item", "column": "item"}]},
            "share a column",
        ),
        ({"labels": {"click": "item > 1"}}, "two new columns have the same name"),
        (
            {
                "history": [
                    {"name": "h", "key": "user", "column": "i", "actions": "clik"}
                ]
            },
            "must be one of ['click']. Received: 'clik'",
        ),
    ],
)
def test_faults_of_the_config(change, message):
    action = {"name": "click", "logs": "c.jsonl", "key": "user", "time": "t"}
    data = {"logs": ["a.jsonl"], "time": "time", "actions": [{**action, "window": 1}]}
    with pytest.raises(ValueError) as error:
        _config({**data, **change})
    assert message in str(error.value)


def test_columns_that_are_made_elsewhere_or_not_at_all(tmp_path):
    shown, clicks = _logs(0, 20, 20)
    action = {"name": "click", "key": "user", "time": "time"}
    action["logs"] = _write(tmp_path / "clicks.jsonl", clicks)
    data = {"logs": _write(tmp_path / "shown.jsonl", shown), "time": "time"}
    data |= {"actions": [action], "labels": {"a": "item > 1", "b": "a + 1"}}
    with pytest.raises(PipelineError) as error:
        _run(_config(data), tmp_path / "out")
    message = str(error.value)
    assert "no column 'click'. The action 'click' makes it if it has a `win" in message
    assert "data.labels.b: 1 of 1 files have no column 'a'. It is made here" in message


def test_unknown_columns_are_named_with_their_place(tmp_path):
    shown, clicks = _logs(0, 20, 20)
    data = {
        "logs": _write(tmp_path / "shown.jsonl", shown),
        "time": "tiem",
        "actions": [
            {
                "name": "click",
                "logs": _write(tmp_path / "clicks.jsonl", clicks),
                "key": {"user": "usr"},
                "time": "time",
                "window": "1h",
                "values": {"total": "secnds"},
            }
        ],
        "labels": {"late": "totl > 1", "row": "item > 1"},
    }
    with pytest.raises(PipelineError) as error:
        _run(_config(data), tmp_path / "out")
    message = str(error.value)
    assert (
        "data.time: 1 of 1 files have no column 'tiem'. Did you mean 'time'?" in message
    )
    assert "data.actions.0.key: 1 of 1 files have no column 'usr'. Did you" in message
    assert "data.actions.0.values.total: " in message and "'seconds'?" in message
    assert "data.labels.late: " in message and "Did you mean 'total'?" in message
    assert "'row' is to be a new column, and the logs have one" in message


@pytest.mark.skipif(not DESKDROP.is_file(), reason=f"{DESKDROP} is not there")
def test_deskdrop_equals_a_loop(tmp_path):
    """One log of events: VIEW is an impression, the others are what came of it."""
    with zipfile.ZipFile(DESKDROP) as archive:
        archive.extractall(tmp_path)
    log = f"{tmp_path}/users_interactions.csv"
    action = {
        "logs": log,
        "key": ["personId", "contentId"],
        "time": "timestamp",
        "window": "1h",
    }
    data = {
        "logs": log,
        "where": 'eventType == "VIEW"',
        "time": "timestamp",
        "actions": [
            {"name": "like", "where": 'eventType == "LIKE"', **action},
            {"name": "bookmark", "where": 'eventType == "BOOKMARK"', **action},
        ],
        "history": [
            {
                "name": "viewed",
                "key": "personId",
                "column": "contentId",
                "max_length": 10,
                "min_delay": "1m",
            }
        ],
        "labels": {"both": "like == 1 and bookmark == 1"},
        "split": {"by": "hash", "column": "personId"},
    }
    config = _config(data, tasks=("like", "bookmark", "both"), user="personId")
    summary, rows = _run(config, tmp_path / "out")
    import pyarrow.csv

    events = pyarrow.csv.read_csv(log).to_pylist()
    views = [event for event in events if event["eventType"] == "VIEW"]
    end = max(event["timestamp"] for event in events)
    assert summary["rows_in"] == 72_312 and summary["rows"] == len(views) == 61_086
    by_pair, by_user = {}, {}
    for view in views:
        view.update(LIKE=0, BOOKMARK=0)
        pair = view["personId"], view["contentId"]
        by_pair.setdefault(pair, []).append(view)
        by_user.setdefault(view["personId"], []).append(view)
    matched = {"LIKE": 0, "BOOKMARK": 0}
    distinct = dict.fromkeys(
        (e["eventType"], e["personId"], e["contentId"], e["timestamp"]) for e in events
    )
    for kind, *pair, time in distinct:
        before = [v for v in by_pair.get(tuple(pair), ()) if v["timestamp"] <= time]
        if kind in matched and before:
            last = max(before, key=lambda v: v["timestamp"])
            latest = [v for v in before if v["timestamp"] == last["timestamp"]][-1]
            if time - latest["timestamp"] <= 3600:
                matched[kind] += 1
                latest[kind] = 1
    assert summary["actions"]["like"]["matched"] == matched["LIKE"] > 1000
    assert summary["actions"]["bookmark"]["matched"] == matched["BOOKMARK"]
    open_ = sum(view["timestamp"] + 3600 > end for view in views)
    labels = [row["like"] for row in rows]
    assert labels.count(None) == open_
    assert labels.count(1.0) == sum(
        v["LIKE"] for v in views if v["timestamp"] + 3600 <= end
    )
    for mine in by_user.values():
        mine.sort(key=lambda view: view["timestamp"])
    checked = 0
    for row in rows[::97]:
        time = int(row["timestamp"])
        mine = [
            str(v["contentId"])
            for v in by_user[int(row["personId"])]
            if v["timestamp"] < time - 60
        ][-10:]
        checked += len(mine)
        assert row["viewed"] == mine
    assert checked > 1000


def test_a_log_joined_with_itself(tmp_path):
    """Each view is followed by another one of the user, 10 seconds later."""
    views = [
        {"user": f"u{i % 40}", "time": 10 * (i // 40), "liked": i % 2}
        for i in range(400)
    ]
    logs = _write(tmp_path / "views.jsonl", views)
    again = {"name": "again", "logs": logs, "key": "user", "time": "time", "window": 15}

    def rate(name, **more):
        action = {**again, **more, "incomplete": "keep"}
        data = {"logs": logs, "time": "time", "actions": [action]}
        summary, rows = _run(_config(data, tasks=("again",)), tmp_path / name)
        return np.mean([row["again"] for row in rows]), summary["warnings"]

    share, (warning,) = rate("itself")
    assert share == 1.0
    assert "action 'again': 400 of 400 are at the very time" in warning
    share, warnings = rate("later", min_delay=0)
    assert share == 0.9 and not warnings


def test_a_label_made_of_features_alone_is_told(tmp_path):
    rows = [{"user": f"u{i}", "rating": i % 5, "length": i % 7} for i in range(200)]
    labels = {"liked": "rating >= 4", "long": "rating * length > 9"}
    data = {"logs": _write(tmp_path / "log.jsonl", rows), "labels": labels}
    features = [{"name": "stars", "kind": "numeric", "column": "rating"}]
    config = _config(data, features, tasks=("liked", "long"))
    summary, _ = _run(config, tmp_path / "out")
    (warning,) = summary["warnings"]
    assert "data.labels.liked: all that it is made of, rating, are features" in warning
