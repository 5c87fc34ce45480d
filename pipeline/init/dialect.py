"""How a log is written, told by its first bytes: format, delimiter, header, numbers."""

import csv
import io
import re
from collections.abc import Sequence

from pipeline.config.data import MISSING_WORDS
from pipeline.config.reading import Reading
from pipeline.errors import PipelineError
from pipeline.logs import files, formats
from pipeline.logs.files import Source

_HEAD_BYTES = 256 << 10
_ROWS = 200
_DELIMITERS = ",\t;|"
_BEFORE = 20  # lines at most before the header
# Numbers as 1234.5, as 1.234,5 and as 1,234.5 or 1,234, which may be either.
_POINT = re.compile(r"[+-]?\d+\.\d{1,2}|[+-]?\d+\.\d{4,}", re.ASCII)
_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?", re.ASCII)
# What a list of ids of three digits, 123,456, has in no row.
_SURELY_THOUSANDS = re.compile(r"[+-]?(\d{1,2},|.*\.|.*,0)", re.ASCII)
# Whole numbers as 1.234 and 944, where another column shows a decimal comma.
_GROUPED = re.compile(r"[+-]?([1-9]\d{0,2}(\.\d{3})*|0)", re.ASCII)
# So few lines that do not fit become dead letters.
_FEW = 1e-3


def sniff(path: str) -> Reading:
    """Tells how a log is written; what its name tells already is left out.

    Args:
        path: A file.

    Raises:
        PipelineError: If it is no log that can be read.
    """
    name_tells = files.format_of(path)
    source = Source(path, name_tells or "csv", 0)
    with files.opened(source) as stream:
        head = stream.read(_HEAD_BYTES)
    format_ = name_tells or _format(head)
    given = None if name_tells else format_
    if format_ != "csv":
        return Reading(format=given)
    _check_bytes(path, head)
    lines = _lines(path, head)
    escape = "\\" if _has_escapes(lines) else None
    delimiter = _delimiter(path, lines, escape)
    before = _before(lines, delimiter, escape)
    are_comments = before > 0 and all(line.startswith("#") for line in lines[:before])
    fields = _split(lines[before:], delimiter, escape)
    spaces = [field for row in fields[1:] for field in row[1:] if field]
    strip = bool(spaces) and sum(f[0] == " " for f in spaces) > len(spaces) / 2
    if strip:
        fields = [[field.strip() for field in row] for row in fields]
    usual = "\t" if re.search(r"\.tsv(?=[.-]|$)", path.lower()) else ","
    points = _points(fields)
    columns = _before_trailing(lines, before, fields, delimiter, escape)
    if columns is None and not _has_header(
        [[_plain(v, **points) for v in row] for row in fields]
    ):
        columns = [f"column_{i + 1}" for i in range(len(fields[0]))]
    return Reading(
        format=given,
        delimiter=None if delimiter == usual else delimiter,
        columns=columns,
        strip=strip,
        escape=escape,
        skip_lines=0 if are_comments else before,
        comment="#" if are_comments else None,
        **points,
    )


def _format(head: bytes) -> str:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.lstrip().startswith(b"{"):
        return "jsonl"
    # A TFRecord starts with a length of 8 bytes, most of which are 0.
    return "tfrecord" if head[2:8] == b"\0" * 6 else "csv"


def _check_bytes(path: str, head: bytes) -> None:
    """Raises a PipelineError for bytes that are no CSV in UTF-8."""
    if fault := formats.no_text(head[:60]):
        raise PipelineError(f"{path}: {fault}")
    lines = head.split(b"\n")
    wrong = [i for i, line in enumerate(lines[:-1], 1) if not _is_utf8(line)]
    if len(wrong) > max(1, _FEW * len(lines)):
        raise PipelineError(
            f"{path}: {len(wrong):,} of its first {len(lines):,} lines are not UTF-8, "
            f"such as line {wrong[0]}. Write it anew, as by: iconv -f LATIN1 -t UTF-8"
        )


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lines(path: str, head: bytes) -> list[str]:
    """The first lines of a CSV, without what the end of the head has cut off."""
    text = head.decode("utf-8-sig", errors="replace")
    lines = text.splitlines()
    if len(head) == _HEAD_BYTES and len(lines) > 1:
        lines.pop()
    lines = lines[: _ROWS + 1]
    if not any(line.strip() for line in lines):
        raise PipelineError(f"{path}: there is no line in it. Give a log with rows")
    return lines


def _has_escapes(lines: Sequence[str]) -> bool:
    """Whether backslashes escape quotes: some stand before one that is not doubled."""
    return any(re.search(r'(?<!\\)\\"(?!")', line) for line in lines)


def _split(
    lines: Sequence[str], delimiter: str, escape: str | None = None
) -> list[list[str]]:
    """The fields of lines; none of a line without a character."""
    lines = [line for line in lines if line.strip()]
    text = io.StringIO("\n".join(lines))
    try:
        return list(csv.reader(text, delimiter=delimiter, escapechar=escape))
    except csv.Error:  # of a field of more than 131,072 characters
        return [line.split(delimiter) for line in lines]


def _delimiter(path: str, lines: Sequence[str], escape: str | None) -> str:
    """The delimiter by which most lines have the same number of fields, above one.

    Some lines of other numbers may stand before them.
    """
    best, most = None, 0
    for delimiter in _DELIMITERS:
        counts = [len(row) for row in _split(lines, delimiter, escape)]
        usual = max(set(counts), key=counts.count)
        before = counts.index(usual)
        rows = len(counts) - before
        share = counts.count(usual) / rows
        if before > (_BEFORE if rows > 1 else 0):
            continue
        fields = usual * counts.count(usual)
        if usual > 1 and share >= 0.9 and fields > most:
            best, most = delimiter, fields
    if best is None:
        counts = sorted({len(row) for row in _split(lines, ",", escape)})
        raise PipelineError(
            f"{path}: the lines of a CSV must have the same number of fields, with one "
            f"of {', '.join(map(repr, _DELIMITERS))} between them. Received: lines of "
            f"{', '.join(map(str, counts[:5]))} fields by ','. Write the log as CSV, "
            "JSON Lines, Parquet or TFRecord"
        )
    return best


def _before(lines: Sequence[str], delimiter: str, escape: str | None) -> int:
    """How many lines stand before the first with the usual number of fields."""
    counts = [len(row) for row in _split(lines, delimiter, escape)]
    usual = max(set(counts), key=counts.count)
    kept = [i for i, line in enumerate(lines) if line.strip()]
    # A field with a line break makes one row of several lines.
    return kept[min(counts.index(usual), len(kept) - 1)]


def _before_trailing(
    lines: Sequence[str],
    before: int,
    fields: Sequence[Sequence[str]],
    delimiter: str,
    escape: str | None,
) -> list[str] | None:
    """The names of a header above rows that all end with one more delimiter."""
    above = _split(lines[:before], delimiter, escape)
    usual = len(fields[0])
    if not above or len(above[-1]) != usual - 1:
        return None
    if any(row[-1] for row in fields if len(row) == usual):
        return None
    return [*above[-1], f"column_{usual}"]


def _points(fields: Sequence[Sequence[str]]) -> dict[str, str]:
    """What stands in numbers for the point and between thousands, if not the usual."""
    rows = [row for row in fields[1:] if len(row) == len(fields[0])]
    columns = [[v for v in column if v] for column in zip(*rows, strict=True)]
    has_points = any(c and all(map(_POINT.fullmatch, c)) for c in columns)
    found = [column for column in columns if any("," in value for value in column)]
    grouped_by_commas = [c for c in found if all(map(_THOUSANDS.fullmatch, c))]
    with_commas = [
        column
        for column in found
        if column not in grouped_by_commas and all(map(_COMMA.fullmatch, column))
    ]
    grouped = [c for c in columns if all(map(_GROUPED.fullmatch, c))]
    if not has_points and any(map(_are_surely_grouped, grouped)):
        return {"decimal": ",", "thousands": "."}
    if with_commas and not has_points:
        has_thousands = any("." in v for c in (*with_commas, *grouped) for v in c)
        return {"decimal": ",", **({"thousands": "."} if has_thousands else {})}
    surely = any(_SURELY_THOUSANDS.match(v) for c in grouped_by_commas for v in c)
    return {"thousands": ","} if surely else {}


def _are_surely_grouped(column: Sequence[str]) -> bool:
    """Whether points group thousands: two are in one number, or no zero was left out.

    Of 8.310 and 670, one would else be written as 8.31 or 670.000.
    """
    ends_with_zero = any("." in value and value.endswith("0") for value in column)
    is_short = any("." not in value for value in column)
    return any(v.count(".") > 1 for v in column) or (ends_with_zero and is_short)


def _plain(value: str, decimal: str = ".", thousands: str = "") -> str:
    if (decimal == "," and _COMMA.fullmatch(value)) or (
        thousands == "," and _THOUSANDS.fullmatch(value)
    ):
        return value.replace(thousands, "").replace(decimal, ".")
    return value


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns.

    It does where it has a text above a column of numbers; without any such column,
    where its texts are all different and none of them comes again.
    """
    first, rest = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    if not rest:
        return not any(map(_is_number, first))
    columns = list(zip(*rest, strict=True))
    numbers = [
        i
        for i, column in enumerate(columns)
        if all(_is_number(v) or v in _NO_VALUE for v in column)
        and any(_is_number(v) for v in column)
    ]
    if numbers:
        return not all(_is_number(first[i]) or first[i] in _NO_VALUE for i in numbers)
    again = any(
        name in column for name, column in zip(first, columns, strict=True) if name
    )
    return len(set(first)) == len(first) and not again


_NO_VALUE = {"", "?", *MISSING_WORDS}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.lower() not in ("nan", "inf", "infinity")
