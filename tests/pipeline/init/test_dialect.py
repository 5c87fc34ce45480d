"""How a log is written is told by its first lines, whatever its name says."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import PipelineError
from pipeline.init.dialect import sniff


def _sniff(path, text):
    path.write_text(text)
    return sniff(str(path)).model_dump(exclude_defaults=True)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_the_one_that_makes_a_table(tmp_path, delimiter):
    rows = [delimiter.join(["a, b", "1", "2"]) for _ in range(20)]
    text = "\n".join([delimiter.join(["user", "click", "n"]), *rows])
    assert _sniff(tmp_path / "log.csv", text) == {"delimiter": delimiter}


def test_what_the_name_tells_is_left_out(tmp_path):
    assert _sniff(tmp_path / "log.csv", "a,b\n1,2\n") == {}
    assert _sniff(tmp_path / "log.tsv", "a\tb\n1\t2\n") == {}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("73,x\n58,y\n", ["column_1", "column_2"]),  # a number in the first line
        ("click,101\n0,7\n1,8\n", None),  # one text above numbers is enough
        ("user,city\na,rome\nb,oslo\n", None),  # all texts, none of which comes again
        ("a,rome\nb,oslo\na,rome\n", ["column_1", "column_2"]),
    ],
)
def test_a_header_is_told_from_a_row(tmp_path, text, columns):
    found = _sniff(tmp_path / "log.csv", text)
    assert found == ({"columns": columns} if columns else {})


def test_spaces_behind_delimiters_are_no_part_of_the_values(tmp_path):
    found = _sniff(tmp_path / "log.data", "73, x, 1\n58, y, 0\n")
    assert found["strip"] and found["format"] == "csv"


def test_the_format_is_told_by_the_content(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "parquet")
    (tmp_path / "jsonl").write_text(json.dumps({"a": 1}) + "\n")
    for format_ in ("parquet", "jsonl"):
        assert sniff(str(tmp_path / format_)).format == format_


def test_a_compressed_log_is_looked_into(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"a;b\n1;2\n"))
    assert sniff(str(path)).delimiter == ";"


TABLE = "user;n;price\n" + "a;1;2.5\nb;2;3.5\n" * 3


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("exported by a tool\n\n" + TABLE, {"skip_lines": 2}),
        ("# a tool\n# 2026\n" + TABLE, {"comment": "#"}),
        ("# a tool\nall rows\n" + TABLE, {"skip_lines": 2}),
        (TABLE.replace("user", "#user"), {}),
        (TABLE.replace(".", ","), {"decimal": ","}),
        (
            TABLE.replace("2.5", "1.234,5").replace("3.5", "7"),
            {"decimal": ",", "thousands": "."},
        ),
        (TABLE.replace("2.5", "1,234.5").replace("3.5", "7"), {"thousands": ","}),
        (TABLE.replace("2.5", "1,2,3").replace("3.5", "7"), {}),  # a list
        (TABLE.replace("a;", r'"say \"a;b\"";'), {"escape": "\\"}),
        (TABLE.replace("a;", r'"{""a"": ""x\""y""}";'), {}),  # doubled quotes
        (TABLE.replace("a;", "C:\\dir;"), {}),
    ],
)
def test_lines_before_the_header_numbers_and_escapes(text, keys, tmp_path):
    found = _sniff(tmp_path / "log.csv", text)
    assert found == {"delimiter": ";", **keys}


def test_a_field_may_be_long(tmp_path):
    text = TABLE.replace("a;", "a" * 140_000 + ";", 1)
    assert _sniff(tmp_path / "log.csv", text) == {"delimiter": ";"}


def test_numbers_with_commas_are_told_from_a_header(tmp_path):
    found = _sniff(tmp_path / "log.csv", "1;2,5\n2;3,5\n")
    assert found["columns"] == ["column_1", "column_2"]
    found = _sniff(tmp_path / "log.csv", "a;b\n2;3,5\n4;7,25\n")
    assert found == {"delimiter": ";", "decimal": ","}


def test_thousands_beside_decimal_points(tmp_path):
    found = _sniff(tmp_path / "log.csv", 'price,views\n2.5,"41,234"\n13.25,7\n')
    assert found == {"thousands": ","}


@pytest.mark.parametrize("price", ["2.5", "2"])
@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ("123,456", {}),
        ("123,456,789", {}),
        ("944", {}),
        ("120,000", {"thousands": ","}),
        ("23,456", {"thousands": ","}),
    ],
)
def test_a_list_of_ids_of_three_digits_is_no_number(tmp_path, price, value, keys):
    text = f'price,seen\n{price},"{value}"\n{price},"555,321"\n'
    assert _sniff(tmp_path / "log.csv", text) == keys


def test_lines_of_different_lengths_are_no_table(tmp_path):
    (tmp_path / "log.txt").write_text("1,0,x:1\n2,1,x:1,y:2,z:3\n3,0,x:1,x:2\n")
    with pytest.raises(PipelineError, match="same number of fields.*3, 4, 5 fields"):
        sniff(str(tmp_path / "log.txt"))


@pytest.mark.parametrize(
    ("amounts", "thousands"),
    [(["1.025", "944", "0"], "."), (["1.025", "0.125"], None), (["944", "5"], None)],
)
def test_points_beside_a_decimal_comma_group_thousands(tmp_path, amounts, thousands):
    lines = "".join(f"2,5;{amount}\n" for amount in amounts)
    (tmp_path / "log.csv").write_text(f"price;amount\n{lines}")
    assert sniff(str(tmp_path / "log.csv")).thousands == thousands


@pytest.mark.parametrize(
    ("fields", "marks"),
    [
        (["8.310", "1.038.520"], {"decimal": ",", "thousands": "."}),
        (["8.310", "670"], {"decimal": ",", "thousands": "."}),
        (["8.311", "9.123"], {}),  # three digits behind the point
        (["8.311", "670"], {}),
        (["0.310", "670"], {}),
        (["8.310", "6.25"], {}),
    ],
)
def test_points_that_group_thousands_are_told_by_themselves(tmp_path, fields, marks):
    text = "price;n\n" + "".join(f"{field};1\n" for field in fields)
    assert _sniff(tmp_path / "log.csv", text) == {"delimiter": ";", **marks}


@pytest.mark.parametrize(
    ("fields", "marks"),
    [
        (["2,34", "13,2", "7"], {"decimal": ","}),
        (["1.234,5", "-13,25", "7,0"], {"decimal": ",", "thousands": "."}),
        (["3,4", "5,6,7", "8"], {}),  # lists
        (["a,b", "c", "d,e"], {}),
    ],
)
def test_a_decimal_comma_is_told_from_a_list(tmp_path, fields, marks):
    text = "price;n\n" + "".join(f"{field};1\n" for field in fields)
    found = _sniff(tmp_path / "log.csv", text)
    assert found == {"delimiter": ";", **marks}


def test_numbers_with_a_point_make_a_comma_no_decimal_one(tmp_path):
    found = _sniff(tmp_path / "log.csv", "seen;n\n3,4;1.5\n5,6;2.5\n")
    assert found == {"delimiter": ";"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"a,b\n1,2\n", mtime=0), r"starts as a \.csv\.gz file"),
        (b"PAR1" + bytes(50), r"starts as a \.parquet file"),
        (
            "a,b\né,1\né,2\n".encode("latin-1"),
            r"2 of its first .* such as line 2.*iconv",
        ),
    ],
    ids=["gzip", "parquet", "latin-1"],
)
def test_what_is_no_csv_is_told_with_what_to_do(tmp_path, content, message):
    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(PipelineError, match=message):
        sniff(str(tmp_path / "log.csv"))
