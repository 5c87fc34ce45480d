"""How a log is written, told by its first bytes: format, delimiter, header."""

import csv
import io
import re
from collections.abc import Sequence

from pipeline.config.data import MISSING_WORDS
from pipeline.config.reading import Reading
from pipeline.errors import PipelineError
from pipeline.logs import files
from pipeline.logs.files import Source

_HEAD_BYTES = 256 << 10
_ROWS = 200
_DELIMITERS = ",\t;|"


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
    rows = _lines(path, head)
    delimiter = _delimiter(path, rows)
    fields = _split(rows, delimiter)
    spaces = [field for row in fields[1:] for field in row[1:] if field]
    strip = bool(spaces) and sum(f[0] == " " for f in spaces) > len(spaces) / 2
    if strip:
        fields = [[field.strip() for field in row] for row in fields]
    usual = "\t" if re.search(r"\.tsv(?=[.-]|$)", path.lower()) else ","
    columns = None
    if not _has_header(fields):
        columns = [f"column_{i + 1}" for i in range(len(fields[0]))]
    return Reading(
        format=given,
        delimiter=None if delimiter == usual else delimiter,
        columns=columns,
        strip=strip,
    )


def _format(head: bytes) -> str:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.lstrip().startswith(b"{"):
        return "jsonl"
    # A TFRecord starts with a length of 8 bytes, most of which are 0.
    return "tfrecord" if head[2:8] == b"\0" * 6 else "csv"


def _lines(path: str, head: bytes) -> list[str]:
    """The first lines of a CSV, without what the end of the head has cut off."""
    text = head.decode("utf-8-sig", errors="replace")
    lines = text.splitlines()
    if len(head) == _HEAD_BYTES and len(lines) > 1:
        lines.pop()
    lines = [line for line in lines[: _ROWS + 1] if line.strip()]
    if not lines:
        raise PipelineError(f"{path}: there is no line in it. Give a log with rows")
    return lines


def _split(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    text = io.StringIO("\n".join(lines))
    return list(csv.reader(text, delimiter=delimiter))


def _delimiter(path: str, lines: Sequence[str]) -> str:
    """The delimiter by which most lines have the same number of fields, above one."""
    best, most = None, 0.0
    for delimiter in _DELIMITERS:
        counts = [len(row) for row in _split(lines, delimiter)]
        usual = max(set(counts), key=counts.count)
        share = counts.count(usual) / len(counts)
        if usual > 1 and share >= 0.9 and usual * share > most:
            best, most = delimiter, usual * share
    if best is None:
        counts = sorted({len(row) for row in _split(lines, ",")})
        raise PipelineError(
            f"{path}: the lines of a CSV must have the same number of fields, with one "
            f"of {', '.join(map(repr, _DELIMITERS))} between them. Received: lines of "
            f"{', '.join(map(str, counts[:5]))} fields by ','. Write the log as CSV, "
            "JSON Lines, Parquet or TFRecord"
        )
    return best


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
