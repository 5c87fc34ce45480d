"""The same values in logs of every format: the same examples, in the same splits."""

import datetime
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from conftest import raw_config

from pipeline import config as config_
from pipeline.artifacts import examples
from pipeline.artifacts.layout import SPLITS
from pipeline.components.example_gen import splits
from pipeline.components.example_gen.component import example_gen
from pipeline.config import ConfigError
from pipeline.errors import PipelineError

ROWS = 60


def _config(tmp_path, features=("user",), tasks=("click",), evaluate=None, **data):
    split = {"by": "hash", "column": "user", "train": 0.5, "valid": 0.25}
    kinds = {"items": {"kind": "sequence", "of": "user"}, "price": {"kind": "numeric"}}
    raw = raw_config(
        {"logs": f"{tmp_path}/log.*", "split": split, **data},
        [{"name": f, **kinds[f]} if f in kinds else f for f in features],
        tasks,
        evaluate=evaluate or {},
    )
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(raw))
    return config_.load(path)


def _run(config, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    summary = example_gen(config, {}, {"examples": out})
    rows = {
        name: [
            r
            for b in examples.read_batches(out / f"Split-{name}")
            for r in b.to_pylist()
        ]
        for name in SPLITS
    }
    return summary, rows


def _frame():
    """User ids with gaps, as pandas has them: floats."""
    users = np.where(np.arange(ROWS) % 10 == 0, np.nan, np.arange(ROWS) % 20)
    return pd.DataFrame(
        {
            "key": np.arange(ROWS),
            "user": users,
            "vip": np.arange(ROWS) % 3 == 0,
            "ratio": (np.arange(ROWS) % 5 / 5).astype(np.float32),
            "click": np.arange(ROWS) % 2,
        }
    )


def _write(frame, path):
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        # Not `to_parquet`, which makes null of NaN, as few other writers do.
        arrays = {name: pa.array(frame[name].to_numpy()) for name in frame}
        pq.write_table(pa.table(arrays), path)
    elif path.suffix == ".jsonl":
        rows = frame.astype({"ratio": str}).astype({"ratio": float}).to_dict("records")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for row in frame.to_dict("records"):
                record = tf.train.Example()
                for name, value in row.items():
                    kind = "float_list" if isinstance(value, float) else "int64_list"
                    feature = record.features.feature[name]
                    if name == "vip":  # of which a tf.Example has none
                        feature.bytes_list.value.append(str(value).encode())
                    elif value == value:
                        getattr(feature, kind).value.append(value)
                writer.write(record.SerializeToString())


@pytest.mark.parametrize("format", ["csv", "parquet", "jsonl", "tfrecord"])
def test_a_data_frame_is_the_same_in_every_format(format, tmp_path):
    _write(_frame(), tmp_path / f"log.{format}")
    split = {"by": "hash", "column": "key", "train": 0.5, "valid": 0.25}
    config = _config(tmp_path, ["key", "user", "vip", "ratio"], split=split)
    summary, rows = _run(config, tmp_path)
    assert summary["dead"] == 0 and not summary["warnings"]
    # The split of one format is that of the others: of the text, whatever the type is.
    of_text = splits.by_share(
        splits.hashed([pa.array([str(i) for i in range(ROWS)])]), 0.5, 0.25
    )
    for i, row in enumerate(_frame().to_dict("records")):
        (found,) = [r for r in rows[SPLITS[of_text[i]]] if r["key"] == str(i)]
        user = row["user"]
        assert found["user"] == (None if np.isnan(user) else str(int(user)))
        assert found["vip"] == ("true" if row["vip"] else "false")
        assert found["ratio"] == ["0", "0.2", "0.4", "0.6", "0.8"][i % 5]
        assert found["click"] == i % 2


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_nan_is_no_value_of_a_split_a_slice_or_a_group(format, tmp_path):
    frame = _frame().assign(group=lambda f: f.user, weight=lambda f: f.user)
    _write(frame, tmp_path / f"log.{format}")
    evaluate = {"slices": ["vip", "ratio"], "group": "group"}
    config = _config(tmp_path, ["key"], evaluate=evaluate, max_dead_letter_rate=0.2)
    summary, rows = _run(config, tmp_path)
    assert summary["dead"] == ROWS // 10  # the split is by user
    split = {"by": "hash", "column": "key", "train": 0.5, "valid": 0.25}
    (tmp_path / "b").mkdir()
    config = _config(tmp_path, ["key"], evaluate=evaluate, split=split)
    _, rows = _run(config, tmp_path / "b")
    groups = [row["group"] for of_split in rows.values() for row in of_split]
    assert len(groups) == ROWS and groups.count(None) == ROWS // 10


def test_keys_of_a_join_and_histories_are_compared_as_texts(tmp_path):
    """Floats with gaps in a CSV, integers in JSON Lines, and a number in each."""
    (tmp_path / "log.csv").write_text(
        "user,time\n" + "".join(f"{i % 20}.0,{i}\n" for i in range(40))
    )
    actions = [{"customer": i % 20, "time": i + 0.5, "item": 7.0} for i in range(40)]
    (tmp_path / "actions.jsonl").write_text(
        "".join(json.dumps(a) + "\n" for a in actions)
    )
    action = {
        "name": "click",
        "logs": f"{tmp_path}/actions.jsonl",
        "key": {"user": "customer"},
        "time": "time",
        "window": 1,
        "incomplete": "keep",
    }
    history = {"name": "items", "actions": "click", "key": "user", "column": "item"}
    config = _config(
        tmp_path, ["user", "items"], time="time", actions=[action], history=[history]
    )
    _, rows = _run(config, tmp_path)
    found = [row for of_split in rows.values() for row in of_split]
    assert [row["click"] for row in found] == [1.0] * 40
    assert sorted(row["items"] == ["7"] for row in found) == [False] * 20 + [True] * 20


def _texts(tmp_path, values, **data):
    rows = "".join(f"{i},{value},0\n" for i, value in enumerate([*values, "x"] * 9))
    (tmp_path / "log.csv").write_text("key,user,click\n" + rows)
    split = {"by": "hash", "column": "key", "train": 0.5, "valid": 0.25}
    summary, rows = _run(_config(tmp_path, split=split, **data), tmp_path)
    found = [row for of_split in rows.values() for row in of_split]
    by_key = {int(row["key"]): row["user"] for row in found}
    return summary, [by_key[i] for i in range(len(values))]


def test_a_column_that_mixes_two_forms_of_a_number_is_warned_of(tmp_path):
    values = ["1", "1.0", "1.10", "NA", "-"]
    summary, found = _texts(tmp_path, values)
    assert found == ["1", "1", "1.10", None, "-"]
    (warning,) = summary["warnings"]
    assert "column 'user': whole numbers are written both as 5 and as 5.0" in warning


def test_a_country_called_na_is_told_from_no_value(tmp_path):
    values = "NA AT BE CH DE DK ES FI FR IT PT ZA".split()
    summary, found = _texts(tmp_path, values)
    assert found == [None, *values[1:]]
    (warning,) = summary["warnings"]
    assert "column 'user': NA counts as no value" in warning
    assert "data.verbatim" in warning


def test_texts_that_count_as_they_are_written(tmp_path):
    values = ["1", "1.0", "True", "NA", ""]
    summary, found = _texts(tmp_path, values, verbatim=["user"])
    assert found == ["1", "1.0", "True", "NA", None] and not summary["warnings"]


def test_which_texts_are_missing_is_said_in_the_config(tmp_path):
    values = ["NA", "null", "-", "?", ""]
    _, found = _texts(tmp_path, values, missing=["-", "NA"])
    assert found == [None, "null", None, "?", None]


def test_conditions_read_columns_as_examples_have_them(tmp_path):
    values = ["True", "TRUE", "true", "False", "NA", ""]
    labels = {"yes": 'user == "True"', "known": "not is_null(user)"}
    rows = "".join(f"{i},{v},0\n" for i, v in enumerate(values * 9))
    (tmp_path / "log.csv").write_text("key,user,click\n" + rows)
    split = {"by": "hash", "column": "key", "train": 0.5, "valid": 0.25}
    _, rows = _run(_config(tmp_path, split=split, labels=labels), tmp_path)
    found = {int(r["key"]): r for of_split in rows.values() for r in of_split}
    assert [found[i]["yes"] for i in range(6)] == [1, 1, 1, 0, None, None]
    assert [found[i]["known"] for i in range(6)] == [1, 1, 1, 1, 0, 0]


def test_a_condition_on_what_is_missing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="data.where: 'NA' stands for no value"):
        _config(tmp_path, where='user in ("NA", "DE")')
    assert _config(tmp_path, where='user in ("NA", "DE")', verbatim=["user"])


_TIME = datetime.datetime(2026, 1, 1)


@pytest.mark.parametrize(
    ("name", "values", "type_", "message"),
    [
        ("items", [[("a", 1)]], pa.map_(pa.string(), pa.int64()), "a list of numbers"),
        ("items", [[["a"]]], pa.list_(pa.list_(pa.string())), "of lists in lists"),
        ("items", [[{"at": _TIME}]], None, "a list of numbers or texts is needed"),
        ("user", [{"at": _TIME}], None, "a text, a boolean or a time is needed"),
        ("price", [_TIME], None, r"timestamp\[us\], where a number, a boolean"),
        ("time", [_TIME.time()], None, r"time64\[us\], where a number, a date"),
        ("time", [7], pa.duration("s"), r"duration\[s\], where a number, a date"),
        ("time", [{"s": 7}], None, "where a number, a date, a timestamp"),
    ],
)
def test_types_that_hold_nothing_of_use_are_refused_by_name(
    name, values, type_, message, tmp_path
):
    plain = {"user": ["a"], "click": [1], "items": [["a"]], "price": [1.5]}
    table = {**{k: pa.array(v) for k, v in plain.items()}, "time": pa.array([1])}
    table[name] = pa.array(values, type_)
    pq.write_table(pa.table(table), tmp_path / "log.parquet")
    split = {"by": "time", "column": "time"}
    config = _config(tmp_path, ["user", "items", "price"], split=split)
    with pytest.raises(PipelineError, match=f"column '{name}' is .*{message}"):
        _run(config, tmp_path)


def test_times_are_ordered_to_the_nanosecond_of_the_column(tmp_path):
    times = pa.array(np.arange(100) * 1000 + 1, pa.timestamp("ns"))
    table = {"user": ["a"] * 100, "click": [1] * 100, "time": times}
    pq.write_table(pa.table(table), tmp_path / "log.parquet")
    summary, rows = _run(
        _config(tmp_path, split={"by": "time", "column": "time"}), tmp_path
    )
    assert [len(rows[name]) for name in SPLITS] == [80, 10, 10]
    assert max(r["time"] for r in rows["train"]) < min(r["time"] for r in rows["test"])
