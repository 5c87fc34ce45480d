"""`init` writes a config that runs, for logs of every format."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import small_logs
import tensorflow as tf
from quick_model import eager_steps

from pipeline import config as configs
from pipeline.__main__ import main
from pipeline.datasets import feed


def _init(logs, output, *arguments):
    logs = [logs] if isinstance(logs, str) else logs
    return main(["init", *logs, "--output", str(output), *arguments])


def _example(row):
    def value(x):
        if isinstance(x, str):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[x.encode()]))
        if isinstance(x, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[x]))
        return tf.train.Feature(float_list=tf.train.FloatList(value=[x]))

    features = {name: value(x) for name, x in row.items()}
    return tf.train.Example(features=tf.train.Features(feature=features))


@pytest.fixture(params=["csv", "tsv", "jsonl", "parquet", "tfrecord"])
def log(request, tmp_path):
    """A path of a log of clicks, in each of the formats."""
    path = str(tmp_path / f"log.{request.param}")
    table = pa.table(small_logs.columns())
    rows = table.to_pylist()
    if request.param == "parquet":
        pq.write_table(table, path)
    elif request.param == "jsonl":
        with open(path, "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    elif request.param == "tfrecord":
        with tf.io.TFRecordWriter(path) as file:
            for row in rows:
                file.write(_example(row).SerializeToString())
    else:
        delimiter = "\t" if request.param == "tsv" else ","
        options = pyarrow.csv.WriteOptions(delimiter=delimiter)
        pyarrow.csv.write_csv(table, path, options)
    return path


def test_every_format_gets_the_same_config(log, tmp_path):
    assert _init(log, tmp_path / "shop.yaml") == 0
    config = configs.load(tmp_path / "shop.yaml")
    assert config.name == "shop" and config.data.logs == [log]
    assert [task.name for task in config.tasks] == ["click"]
    assert {f.name: f.kind for f in config.features} == {
        "user_id": "categorical",
        "item_id": "categorical",
        "price": "numeric",
    }
    assert config.data.split.by == "time"
    assert config.evaluate.group == "user_id"


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_fields_of_structs_are_columns(format_, tmp_path):
    path = str(tmp_path / f"log.{format_}")
    rows = pa.table(small_logs.columns()).to_pylist()
    rows = [
        {
            "event": {"time": row["timestamp"], "click": row["click"]},
            "user": {"id": row["user_id"], "geo": {"lat": row["price"]}},
            "item": {"id": row["item_id"], "tags": ["a", row["item_id"]]},
        }
        for row in rows
    ]
    rows[9]["user"] = rows[10]["user"]["geo"] = None
    if format_ == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert _init(path, tmp_path / "shop.yaml") == 0
    config = configs.load(tmp_path / "shop.yaml")
    assert [task.name for task in config.tasks] == ["event.click"]
    assert {f.name: f.kind for f in config.features} == {
        "user.id": "categorical",
        "user.geo.lat": "numeric",
        "item.id": "categorical",
        "item.tags": "sequence",
    }
    assert config.data.split.column == "event.time"
    assert config.evaluate.group == "user.id"
    assert main(["check", str(tmp_path / "shop.yaml")]) == 0


def test_rows_with_numbers_that_no_model_takes_are_left_out(tmp_path):
    path, price = str(tmp_path / "log.csv"), np.arange(2000.0) / 7
    price[[5, 7]], price[9] = (np.inf, -np.inf), np.nan
    pyarrow.csv.write_csv(pa.table(small_logs.columns(price=price)), path)
    assert _init(path, tmp_path / "a.yaml") == 0
    config = configs.load(tmp_path / "a.yaml")
    assert config.data.where == "coalesce(abs(price), 0) < 3e+38"
    assert main(["check", str(tmp_path / "a.yaml")]) == 0


def test_files_that_are_written_in_two_ways_are_no_log(tmp_path, capsys):
    logs = [str(tmp_path / name) for name in ("a.csv", "b.csv", "c.tsv")]
    for log, delimiter in zip(logs, ",;\t", strict=True):
        options = pyarrow.csv.WriteOptions(delimiter=delimiter)
        pyarrow.csv.write_csv(pa.table(small_logs.columns()), log, options)
    assert _init(logs, tmp_path / "a.yaml") == 2
    said = capsys.readouterr().err
    assert "written alike. Received: ';' between the fields of" in said
    assert "b.csv, and ',' in others" in said
    assert _init([logs[0], logs[2]], tmp_path / "a.yaml") == 0  # by their names


@pytest.mark.parametrize(
    ("flag", "column", "message"),
    [
        ("--user", "seen", "an id a row is needed. Column 'seen' holds a list"),
        ("--domain", "price", "at most 1,000 values is needed. Column 'price' has 2,0"),
        ("--time", "hour", "numbers or ISO 8601 times are needed. Column 'hour'"),
        ("--user", "", "there is no column ''"),
    ],
)
def test_columns_that_cannot_be_what_a_flag_says(
    tmp_path, flag, column, message, capsys
):
    path = str(tmp_path / "log.parquet")
    more = {"seen": [["a", "b"]] * 2000, "hour": pa.array([1] * 2000, pa.time64("us"))}
    pq.write_table(pa.table(small_logs.columns(**more)), path)
    assert _init(path, tmp_path / "a.yaml", flag, column) == 2
    assert message in capsys.readouterr().err


def test_names_that_yaml_reads_as_something_else_are_quoted(tmp_path):
    log = str(tmp_path / "it's: a #log of ${HOME}.csv")
    table = pa.table(small_logs.columns(on=["no"] * 1000 + ["y: #"] * 1000))
    pyarrow.csv.write_csv(table, log)
    assert _init(log, tmp_path / "a.yaml", "--workspace", "on: #x") == 0
    config = configs.load(tmp_path / "a.yaml")
    assert config.data.logs == [log] and config.workspace == "on: #x"
    assert "on" in [feature.name for feature in config.features]


def test_files_that_are_called_train_valid_and_test_are_the_splits(tmp_path):
    logs = [str(tmp_path / f"{name}.parquet") for name in ("train", "val", "test")]
    for log in logs:
        pq.write_table(pa.table(small_logs.columns()), log)
    assert _init(logs, tmp_path / "a.yaml") == 0
    config = configs.load(tmp_path / "a.yaml")
    assert config.data.split.by == "given"
    assert config.data.logs == {
        "train": logs[:1],
        "valid": logs[1:2],
        "test": logs[2:],
    }


def test_twice_gives_the_same_text_and_nothing_is_overwritten(log, tmp_path, capsys):
    first, second = tmp_path / "x" / "a.yaml", tmp_path / "y" / "a.yaml"
    assert _init(log, first) == _init(log, second) == 0
    assert first.read_text() == second.read_text()
    first.write_text("mine")
    assert _init(log, first) == 2
    assert "there already" in capsys.readouterr().err
    assert first.read_text() == "mine"
    assert _init(log, first, "--force") == 0
    assert first.read_text() == second.read_text()


def test_a_file_without_a_row_is_passed_over(tmp_path):
    (tmp_path / "a.jsonl").touch()
    rows = pa.table(small_logs.columns()).to_pylist()
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert _init(str(tmp_path / "*.jsonl"), tmp_path / "shop.yaml") == 0


def test_no_logs_are_refused(tmp_path, capsys):
    assert _init(str(tmp_path / "*.csv"), tmp_path / "a.yaml") == 2
    assert "no file matches" in capsys.readouterr().err
    assert not (tmp_path / "a.yaml").exists()


@pytest.fixture
def of_feed(tmp_path):
    """Writes logs of the feed, and the config that `init` makes of them."""

    def write(impressions):
        feed.generate(tmp_path / "logs", impressions=impressions, seed=7)
        output, work = tmp_path / "feed.yaml", str(tmp_path / "work")
        logs = str(tmp_path / "logs" / "*")
        assert _init(logs, output, "--workspace", work) == 0
        return output

    return write


def _version(output):
    """The version that was pushed first."""
    return Path(configs.load(output).push.destination) / "1"


def test_the_feed_is_understood(of_feed, capsys):
    output = of_feed(2000)
    config = configs.load(output)
    assert {task.name: task.space for task in config.tasks} == {
        "click": None,
        "long_view": "played",
        "like": None,
        "follow": None,
        "forward": None,
        "watch_seconds": "played",
    }
    assert config.domain == "tab" and config.data.split.column == "timestamp"
    named = {feature.name for feature in config.features}
    assert {"watched", "user_id", "video_id", "duration"} <= named
    assert not [name for name in named if name.startswith(("p_", "e_"))]
    out = capsys.readouterr().out
    assert f"python -m pipeline run {output}" in out
    assert f"serve --model-base-path {_version(output).parent} --model-name feed" in out
    assert main(["check", str(output)]) == 0


def test_what_is_written_runs_to_a_pushed_model(tmp_path):
    """A column of each kind; the test of the whole feed below takes five times it."""
    click = small_logs.columns()["click"]
    after = small_logs.where(click, np.arange(small_logs.ROWS) % 97 / 10)
    seen = [[f"i{i % 40}", f"i{i % 7}"][: i % 3] for i in range(small_logs.ROWS)]
    log = str(tmp_path / "shop.parquet")
    pq.write_table(pa.table(small_logs.columns(dwell_seconds=after, seen=seen)), log)
    output = tmp_path / "shop.yaml"
    assert _init(log, output, "--workspace", str(tmp_path / "work")) == 0
    config = configs.load(output)
    assert {feature.kind for feature in config.features} == {
        "categorical",
        "numeric",
        "sequence",
    }
    tasks = {task.name: (task.kind, task.space) for task in config.tasks}
    assert tasks["dwell_seconds"] == ("regression", "click")
    assert tasks["click"] == ("binary", None)
    cheap = ["train.epochs=1", "infra.rows=20", "evaluate.importance=null"]
    cheap += ["evaluate.default_rules=[]", "model.architecture=shared_bottom"]
    flags = [flag for change in cheap for flag in ("--set", change)]
    with eager_steps():
        assert main(["run", str(output), *flags]) == 0
    assert _version(output).is_dir()


@pytest.mark.slow
def test_the_feed_runs_to_a_pushed_model_without_an_edit(of_feed):
    output = of_feed(6000)
    assert main(["run", str(output)]) == 0
    assert _version(output).is_dir()


def test_a_log_without_a_row_says_so(tmp_path, capsys):
    (tmp_path / "log.csv").write_text("user,click\n")
    assert _init(str(tmp_path / "log.csv"), tmp_path / "shop.yaml") == 2
    assert "there is no row in it" in capsys.readouterr().err


def test_a_log_of_which_no_row_can_be_read_says_why(tmp_path, capsys):
    (tmp_path / "log.jsonl").write_text("[1]\n[2]\n")
    assert _init(str(tmp_path / "log.jsonl"), tmp_path / "shop.yaml") == 2
    assert "log.jsonl, line 1: not a JSON object" in capsys.readouterr().err


def test_rows_that_end_with_a_delimiter_below_a_header_that_does_not(tmp_path):
    table = pa.table(small_logs.columns())
    pyarrow.csv.write_csv(table, tmp_path / "log.csv")
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    text = "\n".join([header, *(f"{row}," for row in rows)])
    (tmp_path / "log.csv").write_text(text)
    assert _init(str(tmp_path / "log.csv"), tmp_path / "shop.yaml") == 0
    config = configs.load(tmp_path / "shop.yaml")
    assert config.data.columns == [*table.column_names, "column_6"]
    assert config.data.skip_lines == 1
    assert "no header" not in (tmp_path / "shop.yaml").read_text()
    assert [task.name for task in config.tasks] == ["click"]
