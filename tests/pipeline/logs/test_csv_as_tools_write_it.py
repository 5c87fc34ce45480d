"""CSVs of spreadsheets, databases and pandas: read, or one message with the key."""

import datetime
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_config

from pipeline.components.example_gen.component import example_gen
from pipeline.config.data import Data
from pipeline.errors import PipelineError
from pipeline.logs import files
from pipeline.logs.values import casting, times
from pipeline.logs.values.casting import Column

FEATURES = ["user", "item", {"name": "price", "kind": "numeric"}]
PLAIN = [["user", "item", "price", "click"]] + [
    [f"u{i}", f"i{i % 7}", f"{i}.5", f"{i % 2}"] for i in range(60)
]


def _text(rows=PLAIN, delimiter=","):
    return "".join(delimiter.join(row) + "\n" for row in rows)


def _with(column, values):
    place = PLAIN[0].index(column)
    rows = [list(row) for row in PLAIN]
    for row, value in zip(rows[1:], values, strict=True):
        row[place] = value
    return rows


def _config(folder, text, **dialect):
    (folder / "log.csv").write_text(text)
    data = {"logs": [f"{folder}/log.csv"], "max_dead_letter_rate": 1, **dialect}
    return make_config(data, FEATURES)


def _read(folder, text, **dialect):
    """The table of all examples of a log."""
    (folder / "out").mkdir()
    config = _config(folder, text, **dialect)
    example_gen(config, {}, {"examples": folder / "out"})
    shards = sorted(folder.glob("out/Split-*/*.parquet"))
    table = pa.concat_tables([pq.read_table(s, partitioning=None) for s in shards])
    return {name: set(table[name].to_pylist()) for name in table.column_names}


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (_text(delimiter=";"), {"delimiter": ";"}),
        (_text(delimiter="\t"), {"delimiter": "\t"}),
        (_text().replace(",item,price", ", item, price"), {"strip": True}),
        ("exported, by a tool\n" + _text(), {"skip_lines": 1}),
        ("a\nb\n" + _text(delimiter="|"), {"delimiter": "|", "skip_lines": 2}),
    ],
)
def test_the_message_names_the_keys_that_mend_it(text, keys, tmp_path):
    with pytest.raises(PipelineError, match="has the columns click, item") as error:
        _read(tmp_path, text)
    for key, value in keys.items():
        assert f"`{key}: {json.dumps(value)}`" in str(error.value)
    assert len(str(error.value).splitlines()) == 2
    (tmp_path / "out").rmdir()
    assert _read(tmp_path, text, **keys)["item"] == {f"i{i}" for i in range(7)}


@pytest.mark.parametrize("start", ["u\n\rs", "u\n" + "s" * 140_000], ids=str.__len__)
def test_a_line_that_is_no_header_is_told(start, tmp_path):
    config = _config(tmp_path, start + _text())
    with pytest.raises(PipelineError, match="no column 'user'"):
        (tmp_path / "out").mkdir()
        example_gen(config, {}, {"examples": tmp_path / "out"})


def test_no_key_gives_a_column_that_is_nowhere(tmp_path):
    config = _config(tmp_path, _text().replace("price", "cost"))
    with pytest.raises(PipelineError, match="no column 'price'") as error:
        (tmp_path / "out").mkdir()
        example_gen(config, {}, {"examples": tmp_path / "out"})
    assert "Columns found: user, item, cost, click" in str(error.value)


def test_comments_before_the_header_are_skipped_and_lines_counted(tmp_path):
    text = "# a\n# b\n" + _text(_with("price", ["none at all", *["1"] * 59]))
    _read(tmp_path, text, comment="#")
    (letter,) = (tmp_path / "out" / "dead_letter").glob("*.jsonl")
    assert json.loads(letter.read_text())["line"] == 4


@pytest.mark.parametrize(
    ("written", "dialect"),
    [
        ("1234,5", {"decimal": ","}),
        ("1.234,5", {"decimal": ",", "thousands": "."}),
        ("1,234.5", {"thousands": ","}),
        (" +1 234,50 ", {"decimal": ",", "thousands": " "}),
    ],
)
def test_points_and_thousands_of_other_countries(written, dialect, tmp_path):
    rows = _with("price", [written] * 60)
    found = _read(tmp_path, _text(rows, ";"), delimiter=";", **dialect)
    assert found["price"] == {1234.5} and "i1" in found["item"]


def test_only_what_is_a_number_gets_a_point(tmp_path):
    values = ["1,5"] * 20 + ["a,b"] * 20 + ["1,5,2"] * 20
    rows = _with("item", values)
    found = _read(tmp_path, _text(rows, ";"), delimiter=";", decimal=",")
    assert found["item"] == {"1.5", "a,b", "1,5,2"}


def test_decimal_and_thousands_differ():
    with pytest.raises(ValueError, match="`decimal` and `thousands` must differ"):
        Data(logs=["x"], split={"column": "user"}, thousands=".")


def test_quotes_behind_a_backslash(tmp_path):
    rows = _with("item", [r'"say \"a, b\""'] * 60)
    with pytest.raises(PipelineError, match=r'escapes quotes, say so: `escape: "'):
        _read(tmp_path, _text(rows))
    (tmp_path / "out2").mkdir()
    found = _read(tmp_path / "out2", _text(rows), escape="\\")
    assert found["item"] == {'say "a, b"'}


@pytest.mark.parametrize(
    "text", [r"say \"hi\" there", r"\"hi", r"hi \"there", r"say \"hi\" and"]
)
def test_quotes_behind_a_backslash_that_cut_no_row_are_told(text, tmp_path):
    rows = _text(_with("item", [f'"{text}"'] * 60))
    (tmp_path / "out").mkdir()
    summary = example_gen(_config(tmp_path, rows), {}, {"examples": tmp_path / "out"})
    assert summary["rows"] == 60
    (warning,) = summary["warnings"]
    assert warning.startswith("column 'item': quotes stand behind backslashes")
    assert r'`escape: "\\"`' in warning
    (tmp_path / "out2").mkdir()
    config = _config(tmp_path, rows, escape="\\")
    summary = example_gen(config, {}, {"examples": tmp_path / "out2"})
    assert summary["rows"] == 60 and not summary["warnings"]


def test_backslashes_without_quotes_are_not_told_of(tmp_path):
    rows = _text(_with("item", [r"C:\temp", '"a ""b"""'] * 30))
    (tmp_path / "out").mkdir()
    summary = example_gen(_config(tmp_path, rows), {}, {"examples": tmp_path / "out"})
    assert summary["rows"] == 60 and not summary["warnings"]


def test_a_delimiter_that_only_the_rows_end_with(tmp_path):
    head, rows = _text(PLAIN[:1]), _text(PLAIN[1:]).replace("\n", ",\n")
    with pytest.raises(PipelineError, match="ends with a delimiter: name all in `col"):
        _read(tmp_path, head + rows)
    (tmp_path / "2").mkdir()
    columns = [*PLAIN[0], "nothing"]
    found = _read(tmp_path / "2", head + rows, columns=columns, skip_lines=1)
    assert found["price"] == {i + 0.5 for i in range(60)}


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("yes", "data.labels makes one: column == 'yes'"),
        ("F", "data.labels makes one: column == 'F'"),
        ('"0,5"', 'decimal: ","'),
        ('"1,234.5"', 'thousands: ","'),
        ("2024-01-01 00:00:00", "but a time"),
    ],
)
def test_the_first_misfit_stands_where_no_row_is_left(value, hint, tmp_path):
    with pytest.raises(PipelineError, match="test got no rows") as error:
        _read(tmp_path, _text(_with("price", [value] * 60)))
    shown = value.strip('"')
    assert f"log.csv, line 2: column 'price': {shown!r} is not a" in str(error.value)
    assert hint in str(error.value)


@pytest.mark.parametrize(
    ("written", "items"),
    [
        ("['i1', 'i2']", ["i1", "i2"]),
        ('["i1", "i2"]', ["i1", "i2"]),
        ("[1, 2.0, nan, None]", ["1", "2", "", ""]),
        ("[1, 2.0, null, true]", ["1", "2", "", "true"]),
        ("""["it's", 'a|b', True]""", ["it's", "a|b", "true"]),
        ("[]", []),
        ("i1|[x", ["i1", "[x"]),
        ("['i1' 'i 2']", ["i1", "i 2"]),
        ("[1 2. 3.5]", ["1", "2", "3.5"]),
        ("[ 1.e-10\n  nan]", ["1e-10", ""]),
        ("[1 2 ... 9]", None),
        ("['i1' 'i2', 'i3']", None),
        ("[['a'], 'b']", None),
        ("[__import__('os')]", None),
        ("[" * 5000 + "]", None),
    ],
)
def test_lists_as_pandas_and_json_write_them(written, items):
    column = Column("x", "list", pa.list_(pa.string()), "|")
    batch = pa.RecordBatch.from_pydict({"x": [b"a|b", written.encode(), None]})
    found, misfits = casting.cast(batch, [column])
    first, second, third = found.column("x").to_pylist()
    assert first == ["a", "b"] and third is None
    if items is None:
        assert "Write the items as in i1|i2" in misfits[1] and len(misfits[1]) < 160
    else:
        assert second == items and not misfits


def test_brackets_of_a_verbatim_column_are_text():
    column = Column("x", "list", pa.list_(pa.string()), "|", missing=None)
    batch = pa.RecordBatch.from_pydict({"x": ["[1]"]})
    assert casting.cast(batch, [column])[0].column("x").to_pylist() == [["[1]"]]


NOON = datetime.datetime(2024, 1, 2, 12, 30, 15, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("2024-01-02 12:30:15 UTC", 0),
        ("2024-01-02 12:30:15.5 UTC", 0.5),
        ("2024-01-02t12:30:15z", 0),
        ("2024-01-02T12:30:15.123456789Z", 0.123456789),
        ("2024-01-02T12:30:15,25", 0.25),
        ("20240102T123015Z", 0),
        ("2024-01-02 14:30:15+0200", 0),
        ("2024-01-02 14:30:15 +02:00", 0),
        ("2024-01-02 07:00:15 -05:30", 0),
        ("2024-01-02 14:30:15+02", 0),
        ("2024-01-02 12:30", -15),
        ("2024-01-02", -12 * 3600 - 30 * 60 - 15),
        ("02/01/2024 12:30:15", np.nan),
        ("2024-13-02", np.nan),
        ("2024-01-02 12:30:15 CET", np.nan),
    ],
)
def test_what_is_read_as_a_time(text, after):
    (found,) = times.seconds(pa.array([text, None]))[:1]
    np.testing.assert_allclose(found, NOON.timestamp() + after, atol=1e-5)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_no_timestamp_is_too_far_or_too_fine(unit):
    numbers = pa.array([0, 2**62, 1_700_000_000_123_456_789, None], pa.int64())
    expected = [0, 2**62, 1_700_000_000_123_456_789]
    found = times.seconds(numbers.cast(pa.timestamp(unit)))
    per_second = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
    np.testing.assert_allclose(found[:3], np.array(expected) / per_second)
    assert np.isnan(found[3])


def test_parquet_types_that_arrow_hardly_reads(tmp_path):
    ids = [bytes([i]) * 16 for i in range(3)]
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array(ids, pa.binary(16)))
    fixed = pa.array([["a", "b"], None, ["c", "d"]], pa.list_(pa.string(), 2))
    views = pa.array(["x", None, "y"]).cast(pa.string_view())
    table = pa.table({"uuid": uuids, "fixed": fixed, "view": views})
    pq.write_table(table, tmp_path / "log.parquet")
    (source,) = files.find([("", f"{tmp_path}/*", None)], make_config().data)
    (chunk,) = files.read(source)
    assert chunk.rows.schema.types == list(files.listed_columns(source).values())
    assert chunk.rows.to_pylist()[1] == {
        "uuid": "01010101-0101-0101-0101-010101010101",
        "fixed": None,
        "view": None,
    }


def test_two_parquet_columns_of_one_name(tmp_path):
    columns = [pa.array(["a"])] * 2
    table = pa.Table.from_arrays(columns, ["x", "x"])
    pq.write_table(table, tmp_path / "log.parquet")
    (source,) = files.find([("", f"{tmp_path}/*", None)], make_config().data)
    with pytest.raises(PipelineError, match=r"a name of its own. Received: \['x'\]"):
        files.listed_columns(source)
