"""The head of a CSV: what its columns are called, and how else it may be read."""

import csv
import itertools
import json
from collections.abc import Collection
from typing import BinaryIO

from pipeline.config.reading import Reading

_DELIMITERS = ",;\t|"
_LINES, _LONGEST = 10, 1 << 16  # in which a header is looked for


def skip(stream: BinaryIO, dialect: Reading) -> int:
    """Goes past the lines before the header, or before the rows; returns how many."""
    lines = 0
    while lines < dialect.skip_lines and stream.readline():
        lines += 1
    if dialect.comment:
        mark = dialect.comment.encode()
        while stream.peek(4).removeprefix(b"\xef\xbb\xbf").startswith(mark):
            stream.readline()
            lines += 1
    return lines


def header(stream: BinaryIO, dialect: Reading) -> list[str]:
    """Reads the names of a CSV's columns, from the line where the stream stands."""
    line = stream.readline()
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(
            "the header is not UTF-8 text; iconv -f LATIN1 -t UTF-8 may make it some"
        )
    if "\r" in text.rstrip("\r\n"):
        raise ValueError(
            f"lines must end with \\n or \\r\\n, not \\r. Received: {line[:60]!r}"
        )
    names = _split(text, dialect)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ValueError(
            "the header must name each column, and each only once. Received: "
            f"{twice or line[:60]}. A file without a header needs `data.columns`"
        )
    return names


def advice(stream: BinaryIO, dialect: Reading, wanted: Collection[str]) -> str:
    """How the head of a CSV reads that does not have the columns which are wanted.

    Args:
        stream: The file, from its start.
        dialect: How it was read; the delimiter is known.
        wanted: Names of columns.

    Returns:
        A sentence with the keys of the dialect that give more of the columns, and what
        they give; "" if none do.
    """
    if dialect.columns:
        return ""
    before = skip(stream, dialect)
    lines = list(itertools.islice(iter(lambda: stream.readline(_LONGEST), b""), _LINES))
    best: dict[str, str | int | bool] = {}
    found: set[str] = set()
    delimiters = dict.fromkeys([dialect.delimiter, *_DELIMITERS])
    # The dialect itself comes first, and only what gives more columns counts.
    for further, delimiter, strip in itertools.product(
        range(len(lines)), delimiters, (dialect.strip, True)
    ):
        new = {"delimiter": delimiter, "strip": strip, "skip_lines": before + further}
        text = lines[further].decode("utf-8-sig", "replace")
        names = set(_split(text, dialect.model_copy(update=new)))
        if len(names & set(wanted)) > len(found):
            best, found = new, names & set(wanted)
    known = {"delimiter": dialect.delimiter, "strip": dialect.strip}
    known["skip_lines"] = before
    keys = [f"`{k}: {_yaml(v)}`" for k, v in best.items() if v != known[k]]
    if not keys:
        return ""
    return (
        f"Line {best['skip_lines'] + 1} has the columns {', '.join(sorted(found))} if "
        f"it is read with {' and '.join(keys)}, keys beside `logs`"
    )


def fault(text: str, fields: int, expected: int, dialect: Reading) -> str:
    """What may be behind a row that has another number of fields than the header."""
    if dialect.escape is None and dialect.quote and f"\\{dialect.quote}" in text:
        return r'; if \ escapes quotes, say so: `escape: "\\"`'
    ends = text.rstrip("\r\n").endswith(dialect.delimiter)
    if fields == expected + 1 and ends:
        return (
            "; it ends with a delimiter: name all in `columns`, one for what is behind "
            "it, with `skip_lines: 1` for the header"
        )
    return ""


def _yaml(value: str | int | bool) -> str:
    return json.dumps(value)  # which is YAML, too


def _split(text: str, dialect: Reading) -> list[str]:
    if dialect.quote is None:
        names = text.rstrip("\r\n").split(dialect.delimiter) if text.strip() else []
    else:
        rows = csv.reader(
            [text],
            delimiter=dialect.delimiter,
            quotechar=dialect.quote,
            escapechar=dialect.escape,
        )
        try:
            names = next(rows, [])
        except csv.Error:  # an end of a line within it, or a field that is too long
            names = []
    return [name.strip() for name in names] if dialect.strip else names
