"""Whatever is written to a log comes back from ExampleGen, and no row is lost."""

import collections
import csv
import itertools
import json
import math
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import text_rules
from conftest import make_config, raw_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from representatives import fast

from pipeline.__main__ import main
from pipeline.artifacts.layout import SPLITS
from pipeline.components.example_gen import component as module
from pipeline.config.reading import Reading
from pipeline.logs import files as sources
from pipeline.logs import formats, inspect, parts

_FEATURES = [
    "user",
    "word",
    "big",
    {"name": "number", "kind": "numeric"},
    {"name": "items", "kind": "sequence", "of": "word", "separator": "|"},
]
# Python 3.10 writes no NUL into CSV.
_UNWRITABLE = "\0" if sys.version_info < (3, 11) else ""
# No more than 7 characters, and 8 columns: a line break in a field is then never
# followed by as many delimiters as a row has, which is taken for a quote left open.
_WORDS = st.sampled_from(["NA", "5.0", "True", "1e+08", "007"]) | st.text(
    st.one_of(
        st.sampled_from(list("ab,;|\"'\n\r\t \\ 0-.é\u2028\u4e2d\U0001f600\0")),
        st.characters(exclude_categories=["Cs"]),
    ).filter(lambda character: character not in _UNWRITABLE),
    max_size=7,
)
_ITEMS = _WORDS.map(lambda word: word.replace("|", "/"))
_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "word": st.none() | _WORDS,
            "big": st.none() | st.integers(-(10**30), 10**30) | st.integers(-9, 9),
            "number": st.none() | st.integers(-(10**30), 10**30) | st.floats(),
            "items": st.none() | st.lists(_ITEMS, max_size=4),
            "click": st.none() | st.booleans(),
            "note": st.none() | _WORDS,
            "count": st.none() | st.integers(-(2**63), 2**63 - 1),
        }
    ),
    min_size=1,
    max_size=12,
)


# A tf.Example has no key for what is missing: no column may be missing in all rows.
_FULL = {
    "word": "w",
    "big": 1,
    "number": 0.5,
    "items": ["a"],
    "click": True,
    "note": "n",
    "count": 1,
}


def _write(folder, format, rows):
    path = folder / f"log.{format}"
    if format == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)  # which ends lines by CR LF, and quotes both
            writer.writerow(rows[0])
            for row in rows:
                items = row["items"]
                joined = None if items is None else "|".join(items)
                writer.writerow({**row, "items": joined}.values())
    elif format == "jsonl":
        lines = [json.dumps(row, ensure_ascii=i % 2 == 0) for i, row in enumerate(rows)]
        path.write_text("\n".join(lines), encoding="utf-8", newline="\n")
    elif format == "parquet":
        pq.write_table(_table(rows), path, row_group_size=5)
    else:
        _write_tfrecord(path, rows)


def _table(rows):
    types = {
        "user": pa.string(),
        "word": pa.string(),
        "big": pa.string(),
        "number": pa.float64(),
        "items": pa.list_(pa.string()),
        "click": pa.bool_(),
        "note": pa.string(),
        "count": pa.int64(),
    }
    columns = {name: [row[name] for row in rows] for name in types}
    columns["big"] = [None if v is None else str(v) for v in columns["big"]]
    columns["number"] = [None if v is None else float(v) for v in columns["number"]]
    return pa.table({n: pa.array(v, types[n]) for n, v in columns.items()})


def _write_tfrecord(path, rows):
    import tensorflow as tf

    train = tf.train

    def feature(name, value):
        if name in ("click", "count"):
            return train.Feature(int64_list=train.Int64List(value=[int(value)]))
        values = value if isinstance(value, list) else [str(value)]
        encoded = [text.encode() for text in values]
        return train.Feature(bytes_list=train.BytesList(value=encoded))

    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            features = {k: feature(k, v) for k, v in row.items() if v is not None}
            example = train.Example(features=train.Features(feature=features))
            writer.write(example.SerializeToString())


def _wanted(row, format):
    """What README and docs/data.md promise: empty is null, NaN is null."""
    number = None if row["number"] is None else float(row["number"])
    items = row["items"]
    if format == "csv" and items is not None:
        # A CSV cannot tell [] from [""], nor either from null.
        items = "|".join(items).split("|") if "|".join(items) else None
    items = None if items is None else [text_rules.item(text) for text in items]
    count = row["count"] if format != "csv" else _text(row["count"])
    note = row["note"] or None
    if format == "tfrecord":  # what no config names keeps its type: a list
        note = None if row["note"] is None else [row["note"]]
        count = None if count is None else [count]
    return {
        "user": row["user"],
        "word": text_rules.category(row["word"]),
        "big": _text(row["big"]),
        "number": None if number is None or math.isnan(number) else number,
        "items": items,
        "click": None if row["click"] is None else float(row["click"]),
        "note": note,
        "count": count,
    }


def _text(value):
    return None if value is None else str(value)


@pytest.fixture
def no_runner(monkeypatch):
    """Calls the workers' functions; that Beam does so is tested below."""

    def parallel_map(workers, function, items):
        return [function(i, item) for i, item in enumerate(items)]

    for user in (module, inspect, parts):
        monkeypatch.setattr(user, "parallel_map", parallel_map)


@pytest.mark.parametrize(
    ("format", "cut"),
    [
        ("csv", False),
        ("csv", True),
        ("jsonl", False),
        ("jsonl", True),
        ("parquet", False),
        ("tfrecord", False),
    ],
)
def test_what_is_written_comes_back(format, cut, monkeypatch, no_runner):
    if cut:
        monkeypatch.setattr(parts, "RANGE_BYTES", 64)
        monkeypatch.setattr(formats, "CHUNK_ROWS", 2)

    @settings(
        max_examples=25,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(_ROWS)
    def check(rows):
        rows = [
            {"user": f"r{i}", **{name: row[name] for name in _FULL}}
            for i, row in enumerate([_FULL, *rows])
        ]
        with tempfile.TemporaryDirectory() as name:
            logs = {}
            for split in SPLITS:  # the log thrice: none may be empty
                (Path(name) / split).mkdir()
                _write(Path(name) / split, format, rows)
                logs[split] = [f"{name}/{split}/*"]
            data = {"logs": logs, "format": format, "split": {"by": "given"}}
            config = make_config(data, _FEATURES)
            out = Path(name) / "out"
            out.mkdir()
            summary = module.example_gen(config, {}, {"examples": out})
            assert summary["rows_in"] == summary["rows"] == 3 * len(rows)
            assert summary["dead"] == 0
            for split in SPLITS:
                files = sorted((out / f"Split-{split}").iterdir())
                got = [pq.read_table(f, partitioning=None).to_pylist() for f in files]
                got = list(itertools.chain(*got))
                wanted = [_wanted(row, format) for row in rows]
                for mine, theirs in zip(got, wanted, strict=True):
                    absent = {k: v for k, v in theirs.items() if k not in mine}
                    assert not any(absent.values())  # JSON: a column of nulls
                    assert mine == {k: v for k, v in theirs.items() if k in mine}

    check()


# What a model can take in: other numbers stop the job, or are 0 for TensorFlow.
_FLOATS = (
    st.none()
    | st.just(math.nan)
    | st.floats(width=32, allow_infinity=False, allow_subnormal=False)
)


@pytest.mark.parametrize("format", fast(["csv", "parquet"], ["csv"]))
def test_the_whole_job_keeps_every_row(format):
    """Log -> Beam's own runner -> TFRecord -> decoded: the values that were logged."""

    @settings(
        max_examples=4,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(_ROWS, st.lists(_FLOATS, min_size=13, max_size=13))
    def check(rows, numbers):
        rows = [
            {"user": f"r{i}", **{name: row[name] for name in _FULL}, "number": number}
            for i, (row, number) in enumerate(
                zip([_FULL, *rows], [0.5, *numbers], strict=False)
            )
        ]
        with tempfile.TemporaryDirectory() as name:
            logs = {}
            for split in SPLITS:
                (Path(name) / split).mkdir()
                _write(Path(name) / split, format, rows)
                logs[split] = [f"{name}/{split}/*"]
            data = {"logs": logs, "split": {"by": "given"}}
            raw = raw_config(data, _FEATURES, workspace=f"{name}/work")
            (Path(name) / "config.yaml").write_text(json.dumps(raw))
            plain = ["--set", "features.number.scaling=none"]
            assert main(["preprocess", f"{name}/config.yaml", *plain]) == 0
            wanted = [_wanted(row, format) for row in rows]
            for split in SPLITS:
                found = _decoded(Path(name) / "work", split, wanted)
                assert found == [_seen(row, wanted) for row in wanted]

    check()


def _ids(rows, name):
    """{id: value}, the most frequent first, then by bytes."""
    counts = collections.Counter(row[name] for row in rows if row[name])
    ordered = sorted(counts, key=lambda value: (-counts[value], value.encode()))
    return dict(enumerate(ordered, 1))


def _decoded(workspace, split, rows):
    """The rows of a split that the TFRecords hold, in their order."""
    import tensorflow as tf

    values = {name: _ids(rows, name) for name in ("user", "word", "big")}
    pattern = f"Transform/transformed_examples/*/Split-{split}/*.tfrecord.gz"
    files = sorted(map(str, workspace.glob(pattern)))
    decoded = []
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        row = {}
        for name, value_of in values.items():
            (id_,) = feature[name].int64_list.value
            row[name] = value_of[id_] if id_ else None
        row["items"] = [
            values["word"].get(id_) for id_ in feature["items"].int64_list.value
        ]
        for name in ("number", "click"):
            (row[name],) = feature[name].float_list.value
        row["click"] = None if math.isnan(row["click"]) else row["click"]
        decoded.append(row)
    return decoded


def _seen(row, rows):
    """What a model sees of a row: what has no id, and no number, are nothing."""
    words = {other["word"] for other in rows}
    items = [item if item in words else None for item in row["items"] or []]
    return {
        **{name: row[name] for name in ("user", "word", "big", "click")},
        "items": items + [None] * (20 - len(items)),
        "number": row["number"] or 0.0,
    }


@settings(max_examples=100)
@given(st.binary(max_size=300) | st.text('ab,"\n\r', max_size=60).map(str.encode))
def test_any_bytes_are_rows_or_dead_letters(content):
    """As many as the lines of the CSV that are not empty."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "log.csv"
        path.write_bytes(b"x,y\n" + b"some,text\n" * 8 + content)
        (file,) = sources.find([("", str(path), None)], Reading(quote=None))
        chunks = list(sources.read(file))
    rows = sum(chunk.rows.num_rows for chunk in chunks)
    lost = sum(record.lines for chunk in chunks for record in chunk.unparsed)
    text = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert rows + lost == 8 + sum(bool(line) for line in text.split(b"\n"))
