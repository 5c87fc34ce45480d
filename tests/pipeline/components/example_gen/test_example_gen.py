"""ExampleGen: formats, types, dead letters, splits, and what it says of errors."""

import datetime
import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_config

from pipeline.artifacts.layout import SPLITS
from pipeline.components.example_gen import shards, splits
from pipeline.components.example_gen.component import example_gen
from pipeline.config.reading import Reading
from pipeline.errors import PipelineError
from pipeline.logs import csv, formats, parts
from pipeline.logs import files as sources
from pipeline.logs.values import casting, column_types, times
from pipeline.statistics import sketch


def _config(logs, *, rate=0.0, **data):
    features = [
        "user",
        {"name": "age", "kind": "numeric"},
        {"name": "history", "kind": "sequence", "of": "user"},
    ]
    return make_config(
        {"logs": logs, "max_dead_letter_rate": rate, **data},
        features,
        evaluate={"slices": ["hour"]},
    )


def _rows(count=400):
    """Rows as a JSON service logs them."""
    return [
        {
            "user": i % 50,
            "age": None if i % 7 == 0 else i / 2,
            "history": [str(i), "b"][: i % 3],
            "click": i % 2 == 0,
            "hour": i % 24,
            "note": f"note {i}",
            "time": 1_700_000_000 + i,
        }
        for i in range(count)
    ]


def _csv(rows):
    def field(value):
        if isinstance(value, list):
            return "|".join(value)
        return "" if value is None else str(value)

    lines = [",".join(rows[0])] + [",".join(map(field, r.values())) for r in rows]
    return "\n".join(lines) + "\n"


def _jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def _run(config, folder, inputs=None):
    folder.mkdir()
    summary = example_gen(config, inputs or {}, {"examples": folder})
    tables = {
        name: pa.concat_tables(
            pq.read_table(path, partitioning=None)
            for path in sorted((folder / f"Split-{name}").glob("data-*.parquet"))
        )
        for name in SPLITS
    }
    return summary, tables


def _letters(folder):
    files = sorted((folder / "dead_letter").glob("*.jsonl"))
    return [json.loads(line) for f in files for line in f.read_text().splitlines()]


def _write_logs(folder, kind):
    folder.mkdir()
    rows = _rows()
    for name, part in (("a", rows[:150]), ("b", rows[150:])):
        if kind == "csv":
            (folder / f"{name}.csv").write_text(_csv(part))
        elif kind == "csv.gz":
            (folder / f"{name}.csv.gz").write_bytes(gzip.compress(_csv(part).encode()))
        elif kind == "jsonl":
            (folder / f"{name}.jsonl").write_text(_jsonl(part))
        elif kind == "parquet":
            table = pa.Table.from_pylist(part)
            pq.write_table(table, folder / f"{name}.parquet", row_group_size=40)
        else:
            _write_tfrecord(folder / f"{name}.tfrecord-00000-of-00001.gz", part)


def _write_tfrecord(path, rows):
    import tensorflow as tf

    def feature(value):
        values = value if isinstance(value, list) else [value]
        if values and isinstance(values[0], str):
            strings = [v.encode() for v in values]
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=strings))
        if values and isinstance(values[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        integers = [int(v) for v in values]
        return tf.train.Feature(int64_list=tf.train.Int64List(value=integers))

    compression = "GZIP" if path.suffix == ".gz" else ""
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for row in rows:
            features = {k: feature(v) for k, v in row.items() if v not in (None, [])}
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "parquet", "tfrecord"])
def test_every_format_gives_the_same_examples(kind, tmp_path):
    _write_logs(tmp_path / "logs", kind)
    summary, tables = _run(_config([f"{tmp_path}/logs/*"]), tmp_path / "examples")

    assert summary["rows"] == summary["rows_in"] == 400 and summary["dead"] == 0
    rows = pa.concat_tables(tables.values())
    types = {name: rows.schema.field(name).type for name in rows.schema.names}
    assert types["user"] == pa.string()
    assert types["age"] == types["click"] == pa.float64()
    assert types["history"] == pa.list_(pa.string())
    assert types["hour"] == (pa.string() if "csv" in kind else pa.int64())

    got = sorted(rows.to_pylist(), key=lambda row: str(row["note"]))
    wanted = sorted(_rows(), key=lambda row: str([row["note"]]))
    for row, source in zip(got, wanted, strict=True):
        assert row["user"] == str(source["user"])
        assert row["age"] == source["age"]
        # Neither a CSV nor a tf.Example can tell an empty list from none.
        assert (row["history"] or []) == source["history"]
        assert row["click"] == float(source["click"])
        assert int(row["hour"]) == source["hour"]
        note = row["note"]
        assert note == ([source["note"]] if kind == "tfrecord" else source["note"])


def test_same_input_same_bytes_and_the_order_of_the_logs(tmp_path):
    _write_logs(tmp_path / "logs", "jsonl")
    config = _config([f"{tmp_path}/logs/b*", f"{tmp_path}/logs/*"])
    _, tables = _run(config, tmp_path / "one")
    _run(config, tmp_path / "two")
    files = sorted(p for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert [p.name for p in files if p.parent.name == "Split-train"] == [
        "data-00000-of-00001.parquet"
    ]
    for path in files:
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()
    for table in tables.values():
        times = table["time"].to_numpy()
        assert np.all(np.diff(times) > 0)  # each file once, "a" before "b"


def test_shards_are_cut_and_numbered(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 100)
    monkeypatch.setattr(parts, "GROUP_BYTES", 1)
    monkeypatch.setattr(formats, "CHUNK_ROWS", 64)
    _write_logs(tmp_path / "logs", "parquet")
    split = {"by": "time", "column": "time"}
    _, tables = _run(_config([f"{tmp_path}/logs/*"], split=split), tmp_path / "out")
    written = sorted((tmp_path / "out" / "Split-train").iterdir())
    assert [file.name[-18:] for file in written] == [
        f"{i}-of-{len(written):05d}.parquet" for i in range(len(written))
    ]
    assert all(pq.read_metadata(file).num_rows <= 100 for file in written)
    times = pa.concat_tables(tables.values())["time"].to_pylist()
    assert times == [row["time"] for row in _rows()]


def test_rows_that_do_not_fit_become_dead_letters(tmp_path):
    lines = _csv(_rows(100)).encode().splitlines()
    lines[5] = b"1,2,3"
    lines[9] = b"9,abc,a|b,1,3,note,17"
    lines[10] = b"9,5,a|b,maybe,3,note,17"
    lines[20] = b"9,5,a,1,3,\xff\xfe,17"
    lines[30] = b",5,a,1,3,no user,17"
    lines[40] = b'9, 5 ,a,1,3,"two\nlines, one field",17'
    lines[41] = b"9,N/A,a,True,3,x,17"
    path = tmp_path / "log.csv"
    path.write_bytes(b"\n".join(lines) + b"\n")

    out = tmp_path / "out"
    summary, tables = _run(_config([str(path)], rate=0.05), out)

    assert summary["dead"] == 5 and summary["rows"] == 95
    assert json.loads((out / "summary.json").read_text())["rows_in"] == 100
    letters = _letters(out)
    assert [letter["line"] for letter in letters] == [6, 10, 11, 21, 31]
    assert {letter["source"] for letter in letters} == {str(path)}
    reasons = [letter["reason"] for letter in letters]
    assert reasons[0] == "3 fields where 7 are named"
    assert reasons[1] == "column 'age': 'abc' is not a number"
    assert reasons[2] == "column 'click': 'maybe' is not a number"
    assert "is not UTF-8" in reasons[3] and "'note'" in reasons[3]
    assert "the split needs a value" in reasons[4]
    assert letters[0]["record"] == "1,2,3"
    assert letters[1]["record"]["history"] == "a|b"
    rows = pa.concat_tables(tables.values()).to_pylist()
    (two,) = [row for row in rows if row["note"].startswith("two")]
    assert two["note"] == "two\nlines, one field" and two["age"] == 5.0
    (missing,) = [row for row in rows if row["note"] == "x"]
    assert missing["age"] is None and missing["click"] == 1.0


def test_dead_letters_of_json_lines(tmp_path):
    rows = [json.dumps(row) for row in _rows(100)]
    rows[3] = rows[3][:-5]
    rows[4] = "[1, 2]"
    rows[5] = json.dumps({**_rows(1)[0], "user": ["a", "b"]})
    rows[6] = json.dumps({**_rows(1)[0], "age": {"years": 3}})
    rows[7] = ""
    rows[8] = json.dumps({**_rows(1)[0], "user": 17.0, "age": "12", "later": [1, "a"]})
    (tmp_path / "log.jsonl").write_text("\n".join(rows))
    _, tables = _run(_config([f"{tmp_path}/*.jsonl"], rate=0.05), tmp_path / "out")
    letters = _letters(tmp_path / "out")
    assert [letter["line"] for letter in letters] == [4, 5, 6, 7]
    assert letters[0]["record"] == rows[3]
    assert "not a JSON object" in letters[1]["reason"]
    assert letters[2]["reason"] == "column 'user': 2 values where one is expected"
    assert "is not a number" in letters[3]["reason"]
    rows = pa.concat_tables(tables.values()).to_pylist()
    (row,) = [row for row in rows if row["later"]]
    assert (row["user"], row["age"], row["later"]) == ("17", 12.0, ["1", "a"])


def test_an_empty_object_is_a_row():
    (chunk,) = formats.read_jsonl(io.BufferedReader(io.BytesIO(b"{}\n\n{}\n")))
    assert chunk.rows.num_rows == 2 and chunk.positions.tolist() == [1, 3]


def test_damaged_tfrecords(tmp_path):
    path = tmp_path / "log.tfrecord"
    _write_tfrecord(path, _rows(100))
    whole = path.read_bytes()
    middle = whole.index(b"note 50")
    path.write_bytes(whole[:middle] + b"N" + whole[middle + 1 :])
    summary, _ = _run(_config([str(path)], rate=0.05), tmp_path / "out")
    assert summary["rows"] == 99
    (letter,) = _letters(tmp_path / "out")
    assert letter["row"] == 51 and "checksum" in letter["reason"]

    path.write_bytes(whole[:-3])
    with pytest.raises(PipelineError, match="log.tfrecord: cannot be read to its end"):
        _run(_config([str(path)], rate=0.05), tmp_path / "cut")


def test_too_many_dead_letters_stop_the_job(tmp_path):
    rows = [{**row, "age": "old"} if i < 3 else row for i, row in enumerate(_rows(100))]
    (tmp_path / "log.csv").write_text(_csv(rows))
    with pytest.raises(PipelineError) as error:
        _run(_config([f"{tmp_path}/*.csv"], rate=0.02), tmp_path / "out")
    message = str(error.value)
    assert "data.max_dead_letter_rate: 3 of 100 rows (3.00%)" in message
    assert f"{tmp_path}/log.csv, line 2: column 'age': 'old' is not a" in message


def test_missing_columns_are_told_all_at_once(tmp_path):
    rows = [{("Age" if k == "age" else k): v for k, v in r.items()} for r in _rows(9)]
    for row in rows:
        del row["click"]
    (tmp_path / "a.csv").write_text(_csv(_rows(9)))
    (tmp_path / "b.csv").write_text(_csv(rows))
    with pytest.raises(PipelineError) as error:
        _run(_config([f"{tmp_path}/*.csv"]), tmp_path / "out")
    message = str(error.value)
    assert "features.1.name: 1 of 2 files have no column 'age'." in message
    assert "tasks.0.name: 1 of 2 files have no column 'click'" in message
    assert f"({tmp_path}/b.csv)" in message and "Columns found: user, " in message


def _write_bad(folder, kind):
    if kind == "nothing":
        return None
    text = _csv(_rows(2000)).encode()
    name, content = {
        "empty": ("log.csv", b""),
        "unknown": ("log.dat", text),
        "cut off": ("log.csv.gz", gzip.compress(text)[:-200]),
        "utf-16": ("log.csv", text.decode().encode("utf-16")),
        "not parquet": ("log.parquet", text),
        "twice": ("log.csv", b"user,user\n1,2\n"),
        "no rows": ("log.csv", text[: text.index(b"\n") + 1]),
        "old Mac": ("log.csv", text.replace(b"\n", b"\r")),
        "xz": ("log.csv.xz", text),
        "gz": ("log.csv", gzip.compress(text)),
        "excel": ("log.xlsx", b"PK\x03\x04"),
        "a list": ("log.json", json.dumps(_rows(9), indent=1).encode()),
        "empty gz": ("log.jsonl.gz", b""),
        "one user": ("log.csv", text[: text.index(b"\n1,") + 1]),
    }[kind]
    return (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nothing", r"data\.logs\.0: no file matches '.*/log\*'"),
        ("empty", r"log\.csv is empty"),
        ("unknown", r"data\.format: cannot tell the format of .*log\.dat"),
        ("cut off", r"log\.csv\.gz: cannot be read to its end as csv"),
        ("utf-16", r"log\.csv: .* not UTF-8 text, but looks like UTF-16"),
        ("gz", r"log\.csv: .* starts as a \.csv\.gz file does"),
        ("excel", r"log\.xlsx: \.xlsx files are not read"),
        ("not parquet", r"log\.parquet: cannot be read to its end as parquet"),
        ("twice", r"log\.csv: .*Received: \['user'\]"),
        ("no rows", r"data\.split: train and valid and test got no rows"),
        ("old Mac", r"log\.csv: cannot be read .*: lines must end with"),
        ("xz", r"log\.csv\.xz: \.xz files are not read. Compress by one of \.gz"),
        ("a list", r"data\.logs: no row can be read in any of 1 files, such as .*json"),
        ("empty gz", r"log\.jsonl\.gz is empty"),
        ("one user", r"data\.split: .* got no rows"),
    ],
)
def test_bad_files(kind, message, tmp_path):
    _write_bad(tmp_path, kind)
    with pytest.raises(PipelineError, match=message):
        _run(_config([f"{tmp_path}/log*"]), tmp_path / "out")


@pytest.mark.parametrize("pattern", ["*.csv", "log.csv", "./l*", "../*/log.csv"])
def test_a_relative_path_starts_at_the_working_directory(
    pattern, tmp_path, monkeypatch
):
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "log.csv").write_text(_csv(_rows(60)))
    monkeypatch.chdir(folder)
    summary, _ = _run(_config([pattern]), tmp_path / "out")
    assert (summary["files"], summary["rows"]) == (1, 60)
    (version,) = sources.versions([pattern])
    assert version[0].endswith("log.csv")


def test_a_folder_is_no_log(tmp_path):
    (tmp_path / "day.csv").mkdir()
    with pytest.raises(PipelineError, match=r"day.csv is a folder. Its files are '.*/"):
        _run(_config([f"{tmp_path}/day.csv"]), tmp_path / "out")


@pytest.mark.parametrize("format", ["jsonl", "csv", "tfrecord"])
def test_a_shard_without_rows(format, tmp_path):
    """Beam and Spark write an empty file where a worker had no rows."""
    rows, path, options = _rows(300), tmp_path / f"a.{format}", {}
    if format == "tfrecord":
        _write_tfrecord(path, rows)
    elif format == "jsonl":
        path.write_text(_jsonl(rows))
    else:
        header, body = _csv(rows).split("\n", 1)
        path.write_text(body)
        options = {"columns": header.split(",")}
    (tmp_path / f"b.{format}").write_bytes(b"")
    config = _config([f"{tmp_path}/*.{format}"], **options)
    summary, _ = _run(config, tmp_path / "out")
    assert summary["rows_in"] == summary["rows"] == 300
    empty = f"1 of 2 files are empty, such as {tmp_path}/b.{format}"
    assert summary["warnings"] == [empty]


def test_what_left_out_all_rows_is_told(tmp_path):
    (tmp_path / "log.csv").write_text(_csv(_rows(30)))
    config = _config([f"{tmp_path}/*.csv"], where="age > 1000")
    with pytest.raises(PipelineError, match="of 30 rows; `where` left out 30,"):
        _run(config, tmp_path / "out")


def test_split_by_time_keeps_order_and_ties(tmp_path):
    rows = _rows(300)
    for i, row in enumerate(rows):
        row["time"] = 9_900 + (i * 7919 % 300) // 10 * 10  # 30 times, crossing 10,000
    rows[17]["time"] = "soon"
    (tmp_path / "log.csv").write_text(_csv(rows))
    config = _config(
        [f"{tmp_path}/log.csv"], split={"by": "time", "column": "time"}, rate=0.01
    )
    _, tables = _run(config, tmp_path / "out")
    times = {n: t["time"].cast(pa.int64()).to_numpy() for n, t in tables.items()}
    assert times["train"].max() < times["valid"].min()
    assert times["valid"].max() < times["test"].min()
    assert {n: len(t) for n, t in times.items()} == {
        "train": 239,
        "valid": 30,
        "test": 30,
    }
    (letter,) = _letters(tmp_path / "out")
    assert letter["reason"].endswith("an ISO 8601 time. Received: 'soon'")


def test_split_by_times_that_are_texts_or_dates():
    texts = ["2024-01-02", "2024-01-02T00:00:01Z", "2024-01-02T02:00:02+02:00", "x"]
    start = datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc).timestamp()
    wanted = [start, start + 1, start + 2, np.nan]
    np.testing.assert_array_equal(times.seconds(pa.array(texts)), wanted)
    dates = pa.array([datetime.datetime(2024, 1, 2), None])
    np.testing.assert_array_equal(times.seconds(dates), [start, np.nan])
    assert times.seconds(pa.array([10, None])).tolist()[0] == 10


def test_boundaries_are_near_the_shares():
    values = np.random.default_rng(0).uniform(1.70e9, 1.71e9, 100_000)
    parts = [sketch.sketch(part) for part in np.array_split(values, 7)]
    limits = splits.boundaries(sketch.merge(parts), 0.8, 0.1)
    counts = np.bincount(splits.by_time(values, limits), minlength=3)
    np.testing.assert_allclose(counts / 100_000, [0.8, 0.1, 0.1], atol=0.001)


def test_split_by_hash_is_stable_and_near_the_shares():
    users = pa.array([str(i) for i in range(100_000)])
    assigned = splits.by_share(splits.hashed([users]), 0.8, 0.1)
    np.testing.assert_allclose(
        np.bincount(assigned) / 100_000, [0.8, 0.1, 0.1], atol=0.005
    )
    # Fixed: a change would move users between the splits of a running system.
    users = pa.array(["a", "1", "u9", "17", None])  # at .185, .462, .571, .705
    assert splits.by_share(splits.hashed([users]), 0.4, 0.2).tolist() == [
        0,
        1,
        1,
        2,
        -1,
    ]
    numbers = pa.array(range(1000))
    np.testing.assert_array_equal(
        splits.by_share(splits.hashed([numbers]), 0.8, 0.1), assigned[:1000]
    )


def test_marker_files_are_no_logs(tmp_path):
    (tmp_path / "part-0.csv").write_text(_csv(_rows(100)))
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".part-1.csv.crc").write_text("x")
    summary, _ = _run(_config([f"{tmp_path}/*"]), tmp_path / "out")
    assert summary["files"] == 1


def test_split_as_given(tmp_path):
    for name, count in (("train", 30), ("valid", 20), ("test", 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.jsonl").write_text(_jsonl(_rows(count)))
    logs = {name: [f"{tmp_path}/{name}/*"] for name in SPLITS}
    summary, _ = _run(_config(logs, split={"by": "given"}), tmp_path / "out")
    assert [summary[name] for name in SPLITS] == [30, 20, 10]

    bundled = _config(None, source="feed", split={"by": "given"})
    again, _ = _run(bundled, tmp_path / "bundled", {"logs": tmp_path})
    assert again == summary

    logs["test"] = [f"{tmp_path}/train/*"]
    with pytest.raises(PipelineError, match=r"log.jsonl is in the split 'train' too"):
        _run(_config(logs, split={"by": "given"}), tmp_path / "again")


def test_types_of_files_are_brought_together(tmp_path):
    """A column that is integers in one file and floats or texts in another."""
    first, second = _rows(60), _rows(60)
    for i, row in enumerate(first):
        row.update(price=i, code=i, only_here=1.5, nothing=None)
    for i, row in enumerate(second):
        row.update(price=i / 4, code=f"c{i}", nothing=None)
    (tmp_path / "a.jsonl").write_text(_jsonl(first))
    (tmp_path / "b.jsonl").write_text(_jsonl(second))
    summary, tables = _run(_config([f"{tmp_path}/*.jsonl"]), tmp_path / "out")
    assert summary["rows"] == 120
    schemas = [table.schema for table in tables.values()]
    assert schemas[0] == schemas[1] == schemas[2]
    assert schemas[0].field("price").type == pa.float64()
    assert schemas[0].field("code").type == pa.string()
    assert schemas[0].field("nothing").type == pa.string()
    rows = pa.concat_tables(tables.values())
    assert rows["only_here"].null_count == 60
    assert {"0", "c0"} <= set(rows["code"].to_pylist())


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([17.0, 0.5, float("nan"), 3e9]), ["17", "0.5", None, "3000000000"]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array(["a", "", None]), ["a", None, None]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"]),
        (pa.array([[1], [], None], pa.list_(pa.int64())), ["1", None, None]),
        (pa.array([{"a": 1}, None]), ['{"a": 1}', None]),
        (pa.array([datetime.date(2024, 1, 2)]), ["2024-01-02"]),
    ],
)
def test_texts_of_values(values, texts):
    batch = pa.RecordBatch.from_arrays([values], ["x"])
    result, misfits = casting.cast(batch, [casting.Column("x", "string", pa.string())])
    assert result["x"].to_pylist() == texts and not misfits


def test_lists_of_every_shape():
    target = casting.Column("x", "list", column_types.STRINGS, "|")
    for values, lists in [
        (pa.array(["a|b", "c", "", None]), [["a", "b"], ["c"], None, None]),
        (pa.array([[1, None], [], None]), [["1", ""], [], None]),
        (pa.array([["z"], ["a"], None, ["b", "c"]])[1:], [["a"], None, ["b", "c"]]),
    ]:
        batch = pa.RecordBatch.from_arrays([values], ["x"])
        result, misfits = casting.cast(batch, [target])
        assert result["x"].to_pylist() == lists and not misfits
    values = pa.array([[b"a"], None, [b"b", b"\xff"]])
    _, misfits = casting.cast(pa.RecordBatch.from_arrays([values], ["x"]), [target])
    assert misfits == {2: "column 'x': b'\\xff' is not UTF-8"}


def _csv_rows(tmp_path, text):
    path = tmp_path / "logs.csv"
    path.write_text(text)
    with path.open("rb") as stream:
        return list(csv.read(stream, Reading(delimiter=",")))


@pytest.mark.parametrize("closed", [True, False])
def test_an_open_quote_does_not_swallow_rows_in_silence(tmp_path, closed):
    lines = [f"a{i},b{i},{i}" for i in range(100)]
    lines[10] = 'a10,"b10,10'
    if closed:
        lines[30] = 'a30,b30",30'
    chunks = _csv_rows(tmp_path, "\n".join(["x,y,z", *lines]) + "\n")
    rows = sum(chunk.rows.num_rows for chunk in chunks)
    lost = [record for chunk in chunks for record in chunk.unparsed]
    assert sum(record.lines for record in lost) + rows in (100, 101)
    assert rows == (79 if closed else 10)
    assert lost[0].position == 12
    assert "is a quote left open?" in lost[0].reason
    if closed:
        assert chunks[0].positions[-1] == 101


def test_lines_are_counted_over_line_breaks_in_fields(tmp_path):
    text = 'x,y,z\n1,"a\nb",2\n3,c,4\nbad\n5,"d, e\n\nf",6\n7,g,8\nworse\n'
    chunks = _csv_rows(tmp_path, text)
    positions = [int(p) for chunk in chunks for p in chunk.positions]
    values = [row for chunk in chunks for row in chunk.rows.column(1).to_pylist()]
    assert positions == [2, 4, 6, 9]
    assert values == [b"a\nb", b"c", b"d, e\n\nf", b"g"]
    assert [(r.position, r.record) for c in chunks for r in c.unparsed] == [
        (5, "bad"),
        (10, "worse"),
    ]
